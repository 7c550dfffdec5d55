/** What users change by editing deploy.xml while it runs, on the real program. */
import {
	appendFileSync,
	chmodSync,
	closeSync,
	mkdirSync,
	openSync,
	readFileSync,
	renameSync,
	statSync,
	symlinkSync,
	writeFileSync,
	writeSync,
} from 'node:fs';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {
	requestControl,
	type DeploymentDifference,
	type RuntimeStatus,
} from '../../runtime/supervisor/control-client.js';
import {NbdPeer} from '../support/nbd-peer.js';
import {projectFolder, runRuntime, RuntimeProcess, withFolder} from '../support/runtime-process.js';

const defaultAssembly = join(projectFolder, 'deploy.xml');

class Running {
	readonly folder: string;
	readonly file: string;
	readonly state: string;
	readonly runtime: RuntimeProcess;

	constructor(folder: string, ...words: readonly string[]) {
		this.folder = folder;
		this.file = join(folder, 'my.xml');
		this.state = join(folder, 'state');
		this.runtime = new RuntimeProcess(['start', this.file, '--state', this.state, ...words]);
	}

	get text(): string {
		return readFileSync(this.file, 'utf8');
	}

	/** The text with words replaced, as a user would in an editor. */
	edited(...replacements: ReadonlyArray<readonly [string, string]>): string {
		let {text} = this;
		for (const [before, after] of replacements) {
			if (!text.includes(before)) {
				throw new Error(`the file has no ${before}`);
			}

			text = text.replace(before, after);
		}

		return text;
	}

	async status(): Promise<RuntimeStatus> {
		return (await requestControl(this.state, {op: 'status'})) as RuntimeStatus;
	}

	async child(name: string) {
		return (await this.status()).children.find(child => child.name === name)!;
	}

	async attach(): Promise<NbdPeer> {
		const peer = await NbdPeer.connect(join(this.state, 'nbd.sock'));
		await peer.attach({structured: false});
		return peer;
	}

	async command(...words: readonly string[]): Promise<{code: number | null; output: string}> {
		return runRuntime([...words, '--state', this.state]);
	}
}

async function withRunning(
	t: ExecutionContext,
	use: (running: Running) => Promise<void>,
	{
		words = [],
		prepare,
	}: {
		words?: readonly string[];
		prepare?: (folder: string) => void;
	} = {},
): Promise<void> {
	await withFolder(async folder => {
		// A small container, which is made in no time.
		writeFileSync(
			join(folder, 'my.xml'),
			readFileSync(defaultAssembly, 'utf8')
				.replaceAll('vbd_leaves="262144"', 'vbd_leaves="4096"')
				.replaceAll('ft_leaves="262144"', 'ft_leaves="2048"'),
		);
		prepare?.(folder);
		const running = new Running(folder, ...words);
		try {
			await running.runtime.printed('[runtime] ready\n');
			await use(running);
		} finally {
			t.is(await running.runtime.stop(), 0, running.runtime.output);
		}
	});
}

const block = Buffer.alloc(4096, 0x5a);

/** Writes through a connection that was there before, and reads it back. */
async function useBlock(t: ExecutionContext, peer: NbdPeer, index: number): Promise<void> {
	t.is(await peer.write(index * 4096, block), 0);
	peer.request({command: 0, offset: index * 4096, length: 4096});
	const reply = await peer.simpleReply();
	t.is(reply.error, 0);
	t.true((await peer.take(4096)).equals(block));
}

test.serial('a file that is saved by a rename is applied, and connections stay', async t => {
	await withRunning(t, async running => {
		const peer = await running.attach();
		await useBlock(t, peer, 1);
		const saved = join(running.folder, 'saved');
		writeFileSync(saved, running.edited(['size="48M"', 'size="32M"'], ['crypto_openssl', 'crypto_noble']));
		renameSync(saved, running.file);
		await running.runtime.printed('[runtime] deployment generation 2 runs; requests waited for');
		await useBlock(t, peer, 2);
		t.like(await running.child('crypto'), {binary: 'crypto_noble', details: {implementation: '@noble/ciphers'}});
		t.is((await running.child('cache')).details.frames, (32 * 2 ** 20) / 4096);
		t.notRegex(running.runtime.output, /went back to its last secured state/);
		const {output} = await running.command('status', '--wide');
		t.regex(
			output,
			/^deployment .*my\.xml: generation 2; last edit applied at \S+: restart crypto \(binary crypto_noble \(was crypto_openssl\)\); .*requests waited for \d+ ms at most$/m,
		);
		peer.socket.destroy();
	});
});

test.serial('a file that is written in place, slowly, is applied once it is whole, without a complaint', async t => {
	await withRunning(t, async running => {
		const text = running.edited([
			'<config path="cbe.img" create="yes"/>',
			'<affinity xpos="0"/><config path="cbe.img" create="yes"/>',
		]);
		const fd = openSync(running.file, 'w');
		for (let at = 0; at < text.length; at += 1000) {
			writeSync(fd, text.slice(at, at + 1000));
			await setTimeout(300);
		}

		closeSync(fd);
		await running.runtime.printed('[runtime] deployment generation 2 runs\n');
		t.is((await running.child('block_file')).cpus, '0');
		t.notRegex(running.runtime.output, /error:/);
	});
});

test.serial('a wrong edit is refused with its errors and changes nothing; one that stays unfinished, too', async t => {
	await withRunning(t, async running => {
		const before = await running.status();
		const good = running.text;
		writeFileSync(
			running.file,
			running.edited(['crypto_openssl', 'crypto_opensll'], ['size="48M"', 'size="many"']),
		);
		await running.runtime.printed(/my\.xml: 2 errors; nothing was changed\n/);
		t.regex(
			running.runtime.output,
			/my\.xml:31:11: error: there is no binary "crypto_opensll"; did you mean "crypto_openssl"\?/,
		);
		t.regex(
			running.runtime.output,
			/my\.xml:\d+:\d+: error: bad value of attribute size="many" of <config> of "cache"/,
		);
		const {deployment, children} = await running.status();
		t.is(deployment?.lastEdit?.result, 'refused');
		t.is(deployment?.generation, 1);
		t.deepEqual(
			children.map(({tid}) => tid),
			before.children.map(({tid}) => tid),
		);
		const diff = await running.command('diff');
		t.is(diff.code, 2);
		t.regex(diff.output, /did you mean "crypto_openssl"/);

		writeFileSync(running.file, good.slice(0, 2000));
		await running.runtime.printed(/error: malformed XML.*\n.*my\.xml: 1 error; nothing was changed\n/);
		writeFileSync(running.file, good);
		await running.runtime.printed('my.xml: nothing in it changes what runs\n');
		t.is((await running.status()).deployment?.lastEdit?.result, 'unchanged');
	});
});

test.serial('diff shows what an edit would do, in words and as JSON', async t => {
	await withRunning(t, async running => {
		const file = join(running.folder, 'other.xml');
		writeFileSync(file, running.edited(['size="48M"', 'size="32M"'], ['path="cbe.img"', 'path="other.img"']));
		const {code, output} = await running.command('diff', file);
		t.is(code, 0);
		t.regex(
			output,
			/^CHILD +CHANGE +WHAT\nblock_file +restart +another <config>\ncache +restart +another <config>\nfree_tree +restart +relies on the state of "cache"\n/,
		);
		t.regex(output, /^There will be other data behind "device" of nbd: its clients are disconnected\.$/m);
		const difference = JSON.parse((await running.command('diff', file, '--json')).output) as DeploymentDifference;
		t.deepEqual(difference.changes[0], {child: 'block_file', action: 'restart', detail: 'another <config>'});
		t.regex((await running.command('diff')).output, /my\.xml changes nothing of what runs\n$/);
		t.is((await running.status()).deployment?.generation, 1);
	});
});

test.serial('swap changes one word of the file, keeps all others, and is done when it returns', async t => {
	await withRunning(t, async running => {
		const before = running.text;
		const mode = 0o640;
		chmodSync(running.file, mode);
		const peer = await running.attach();
		const {code, output} = await running.command('swap', 'crypto', 'crypto_noble');
		t.is(code, 0, output);
		t.regex(
			output,
			/^\[runtime\] applied: restart crypto \(binary crypto_noble \(was crypto_openssl\)\); requests waited for \d+ ms at most\n$/,
		);
		t.is(running.text, before.replace('crypto_openssl', 'crypto_noble'));
		t.is(statSync(running.file).mode & 0o777, mode);
		t.is((await running.child('crypto')).binary, 'crypto_noble');
		await useBlock(t, peer, 3);
		t.regex(
			(await running.command('swap', 'crypto', 'crypto_noble')).output,
			/has the binary crypto_noble already/,
		);
		peer.socket.destroy();
	});
});

test.serial('a swap that cannot be leaves file and runtime as they were', async t => {
	await withRunning(t, async running => {
		const before = running.text;
		const peer = await running.attach();
		for (const [binary, exit, reason] of [
			['crypto_nobel', 2, /there is no binary "crypto_nobel"; did you mean "crypto_noble"\?/],
			['block_ram', 2, /child "crypto" cannot provide "crypto"/],
			[
				'crypto_none',
				1,
				/child "superblock_control" cannot go on with "crypto": .*cipher aes-256-xts .*; the deployment before runs on/,
			],
		] as const) {
			const {code, output} = await running.command('swap', 'crypto', binary);
			t.is(code, exit);
			t.regex(output, reason);
			t.is(running.text, before);
			await useBlock(t, peer, 4);
		}

		t.is((await running.child('crypto')).binary, 'crypto_openssl');
		peer.socket.destroy();
	});
});

test.serial('launchers are watched, and with --no-watch only apply applies', async t => {
	const launcher = (folder: string) => join(folder, 'config/launcher/second.xml');
	const launcherText =
		'<launcher><binary name="nbd"/><resource name="RAM" quantum="96M"/><config readonly="yes"><unix path="second.sock"/></config><route><service name="block"><child name="superblock_control"/></service></route></launcher>';
	const prepare = (folder: string) => {
		mkdirSync(join(folder, 'config/launcher'), {recursive: true});
		writeFileSync(launcher(folder), launcherText);
		const file = join(folder, 'my.xml');
		writeFileSync(
			file,
			readFileSync(file, 'utf8').replace('<start name="nbd">', '<start name="second"/>\n\t<start name="nbd">'),
		);
	};

	await withRunning(
		t,
		async running => {
			writeFileSync(launcher(running.folder), launcherText.replace('96M', '112M'));
			await running.runtime.printed(/restart second \(RAM 112M \(was 96M\)\)\n/);
			await running.runtime.printed('[runtime] deployment generation 2 runs');
			t.regex(running.runtime.output, /generation 2 runs\n/);
		},
		{prepare},
	);
	await withRunning(
		t,
		async running => {
			writeFileSync(launcher(running.folder), launcherText.replace('96M', '112M'));
			await setTimeout(1500);
			t.is((await running.status()).deployment?.generation, 1);
			t.regex((await running.command('status')).output, /generation 1, not watched$/m);
			const {code, output} = await running.command('apply');
			t.is(code, 0);
			t.is(output, '[runtime] applied: restart second (RAM 112M (was 96M))\n');
			appendFileSync(running.file, '<');
			t.is((await running.command('apply')).code, 2);
		},
		{prepare, words: ['--no-watch']},
	);
});

test.serial('a child that cannot start is taken back, and what ran before runs', async t => {
	await withRunning(t, async running => {
		const peer = await running.attach();
		writeFileSync(
			running.file,
			running.edited(
				['size="48M"', 'size="32M"'],
				[
					'<start name="vfs">',
					'<start name="more"><binary name="nbd"/><config><unix path="nbd.sock"/></config><route><service name="block" label="device"><child name="superblock_control"/></service></route></start>\n\t<start name="vfs">',
				],
			),
		);
		await running.runtime.printed(
			/my\.xml could not be applied: child "more" failed to start: another server accepts connections on .*; the deployment before runs on\n/,
		);
		await useBlock(t, peer, 5);
		t.is((await running.child('cache')).details.frames, (48 * 2 ** 20) / 4096);
		t.is((await running.status()).children.length, 9);
		t.notRegex(running.runtime.output, /went back to its last secured state/);
		peer.socket.destroy();
	});
});

test.serial('swap edits the file behind a symbolic link', async t => {
	await withRunning(
		t,
		async running => {
			t.is((await running.command('swap', 'crypto', 'crypto_noble')).code, 0);
			t.regex(readFileSync(join(running.folder, 'real.xml'), 'utf8'), /crypto_noble/);
			t.is(running.text, readFileSync(join(running.folder, 'real.xml'), 'utf8'));
		},
		{
			prepare(folder) {
				renameSync(join(folder, 'my.xml'), join(folder, 'real.xml'));
				symlinkSync('real.xml', join(folder, 'my.xml'));
			},
		},
	);
});

for (const [how, medium, client] of [
	['threads', '', ''],
	['one thread', ' colocate="one"', ' colocate="one"'],
	['processes', ' isolation="process"', ''],
] as const) {
	test.serial(`a server tells its clients apart by the labels of their routes: between ${how}`, async t => {
		const prepare = (folder: string) => {
			const raw = readFileSync(join(projectFolder, 'config/assemblies/raw.xml'), 'utf8');
			writeFileSync(
				join(folder, 'my.xml'),
				raw
					.replace('<start name="block_file"', `<start name="block_file"${medium}`)
					.replace('<start name="nbd"', `<start name="nbd"${client}`)
					.replace('<default ram', '<isolation if_missing="continue"/><default ram')
					.replace(
						'<config path="raw.img" create="yes" size="1G"/>',
						'<config path="raw.img" create="yes" size="1G"><policy label="guest" readonly="yes"/></config>',
					)
					.replace('<child name="block_file"/>', '<child name="block_file" label="guest"/>'),
			);
		};
		await withRunning(
			t,
			async running => {
				const reader = await running.attach();
				t.is(await reader.write(0, block), 1, 'EPERM');
				writeFileSync(running.file, running.edited(['label="guest"/></service>', 'label="owner"/></service>']));
				await running.runtime.printed('[runtime] deployment generation 2 runs');
				t.regex(
					running.runtime.output,
					client === ''
						? /was edited: rewire nbd \(device -> block_file, as owner \(was block_file, as guest\)\)/
						: /was edited: restart /,
				);
				await useBlock(t, await running.attach(), 0);
			},
			{prepare},
		);
	});
}

test('a deployment whose <parent-provides> lacks what a component uses does not run, and says what it lacks', async t => {
	await withFolder(async folder => {
		const file = join(folder, 'my.xml');
		writeFileSync(file, readFileSync(defaultAssembly, 'utf8').replace('<service name="entropy"/>', ''));
		const {code, output} = await runRuntime(['start', file, '--state', join(folder, 'state')]);
		t.is(code, 1);
		t.regex(
			output,
			/it uses the entropy of the runtime, which its deployment file does not give: add <service name="entropy"\/> to <parent-provides>/,
		);
	});
});
