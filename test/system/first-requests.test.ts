/** What a device that has just been started does with a burst of requests, as mkfs sends one. */
import {join} from 'node:path';
import test from 'ava';
import {NbdPeer} from '../support/nbd-peer.js';
import {projectFolder, startRuntime, withFolder} from '../support/runtime-process.js';

const KiB = 1024;
const MiB = 1024 * KiB;

/** Functions that all threads together optimize meanwhile: 20 to 45 were seen, 140 to 190 where the engine begins as early as it likes. */
const optimizedCountMax = 90;

const [engine] = process.versions.v8.split('.').map(Number);
// Newer engines wait by themselves, and trace in another form.
const testHere = engine < 12 ? test : test.skip;

testHere('the first requests are served before the engine optimizes for them', async t => {
	await withFolder(async folder => {
		const runtime = await startRuntime(join(projectFolder, 'deploy.xml'), folder, {nodeOptions: ['--trace-opt']});
		const peer = await NbdPeer.connect(join(folder, 'nbd.sock'));
		await peer.attach();
		for (let i = 0; i < 32; i++) {
			peer.request({command: 4, offset: i * 32 * MiB, length: 32 * MiB});
			t.is((await peer.simpleReply()).error, 0);
		}

		for (let i = 0; i < 15; i++) {
			t.deepEqual(await peer.read(i * 64 * MiB, 4 * KiB), Buffer.alloc(4 * KiB));
		}

		for (let i = 0; i < 58; i++) {
			t.is(await peer.write(i * 16 * MiB, Buffer.alloc(i < 9 ? 512 * KiB : i % 2 === 0 ? 4 * KiB : 36 * KiB, i + 1)), 0);
		}

		for (let i = 0; i < 3; i++) {
			peer.request({command: 3});
			t.is((await peer.simpleReply()).error, 0);
		}

		peer.socket.destroy();
		t.is(await runtime.stop(), 0);
		const count = runtime.output.split('completed optimizing').length - 1;
		t.true(count > 0, 'the engine traces');
		t.true(count < optimizedCountMax, `${count} functions were optimized`);
	});
});
