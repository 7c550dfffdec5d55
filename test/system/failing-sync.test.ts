/**
 * A sync of the trust anchor's record that fails once, as strace has it: the anchor starts over, and the device goes
 * on.
 */
import {spawn, spawnSync} from 'node:child_process';
import {once} from 'node:events';
import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {NbdPeer} from '../support/nbd-peer.js';
import {projectFolder, startRuntime, withFolder} from '../support/runtime-process.js';

const testWithStrace = spawnSync('strace', ['-e', 'trace=fdatasync', 'true']).status === 0 ? test : test.skip;

/**
 * Has one sync of the file by the process fail, at some time after it resolves; its result resolves once that has
 * happened.
 */
async function failSync(pid: number, path: string): Promise<{readonly happened: Promise<unknown>}> {
	const strace = spawn(
		'strace',
		['-f', '-p', `${pid}`, '-P', path, '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:error=EIO:when=2'],
		{stdio: ['ignore', 'ignore', 'pipe']},
	);
	const ended = once(strace, 'close');
	let output = '';
	await new Promise<void>((resolve, reject) => {
		strace.stderr.setEncoding('utf8').on('data', (text: string) => {
			output += text;
			if (output.includes(`Process ${pid} attached`)) {
				resolve();
			}

			// It counts for each thread anew.
			if (output.includes('(INJECTED)')) {
				strace.kill('SIGINT');
			}
		});
		void ended.then(() => {
			reject(new Error(`strace ended: ${output}`));
		});
	});
	return {happened: ended};
}

testWithStrace('after a failed sync of its record the trust anchor starts over, and no client notices', async t => {
	await withFolder(async folder => {
		const state = join(folder, 'state');
		const deployFile = join(folder, 'deploy.xml');
		const assembly = fs.readFileSync(join(projectFolder, 'deploy.xml'), 'utf8');
		fs.writeFileSync(
			deployFile,
			assembly
				.replace(/<create [^>]*>/, '<create vbd_size="16M" ft_size="16M"/>')
				.replace(/<start name="vfs">.*?<\/start>/s, ''),
		);
		const runtime = await startRuntime(deployFile, state);
		const peer = await NbdPeer.connect(join(state, 'nbd.sock'));
		try {
			await peer.attach();
			const failing = await failSync(runtime.pid, join(state, 'trust_anchor', 'newest_superblock'));
			for (let value = 1; value <= 8; value++) {
				await peer.write(0, Buffer.alloc(4096, value));
				peer.request({command: 3});
				t.is((await peer.simpleReply()).error, 0, runtime.output);
			}

			await failing.happened;
			t.regex(
				runtime.output,
				/child "trust_anchor" died: .*newest_superblock cannot be written \(EIO.*restarting/,
			);
			t.notRegex(runtime.output, /child "superblock_control" died/);
			t.deepEqual(await peer.read(0, 4096), Buffer.alloc(4096, 8));
		} finally {
			peer.socket.destroy();
			t.is(await runtime.stop(), 0, runtime.output);
		}
	});
});
