/**
 * What can be known before anything is made is said before anything is made: by `runtime check`, and by every start.
 */
import {spawnSync} from 'node:child_process';
import {existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {projectFolder, runRuntime, withFolder} from '../support/runtime-process.js';

const shipped = readFileSync(join(projectFolder, 'deploy.xml'), 'utf8');

function replaced(text: string, by: string): string {
	const edited = shipped.replace(text, by);
	if (edited === shipped) {
		throw new Error(`deploy.xml has no ${text}`);
	}

	return edited;
}

/** Line and column of `text` in `document`, as an error begins with them. */
function placeOf(document: string, text: string): string {
	const before = document.slice(0, document.indexOf(text)).split('\n');
	return `${before.length}:${before.at(-1)!.length + 1}`;
}

/** @param folder the one of the deployment file; what is made there before */
interface Obstacle {
	readonly title: string;
	readonly from: string;
	readonly to: string;
	readonly variables?: Readonly<Record<string, string>>;
	/** The part of the edited text that the error points at. */
	readonly at: string;
	readonly error: RegExp;
	prepare?(folder: string): void;
	readonly state?: string;
}

const obstacles: readonly Obstacle[] = [
	{
		title: "the image's folder is missing",
		from: 'path="cbe.img"',
		to: 'path="images/cbe.img"',
		at: 'path="images/cbe.img"',
		error: /child "block_file": the image .*\/state\/images\/cbe\.img cannot be made: the folder .*\/state\/images does not exist; make the folder \(mkdir -p\)/,
	},
	{
		title: 'the image is missing and not to be made',
		from: 'path="cbe.img" create="yes"',
		to: 'path="cbe.img"',
		at: 'path="cbe.img"',
		error: /child "block_file": the image .* does not exist; correct the path, or set create="yes"/,
	},
	{
		title: 'a directory is in the place of the image',
		from: 'path="cbe.img"',
		to: 'path="../disk"',
		at: 'path="../disk"',
		error: /child "block_file": the image .*\/disk cannot be used: it is a directory/,
		prepare: folder => void mkdirSync(join(folder, 'disk')),
	},
	{
		title: 'the cache does not fit its quantum',
		from: 'size="48M"',
		to: 'size="480M"',
		at: 'size="480M"',
		error: /child "cache": size="480M" does not fit its RAM quantum, which leaves \d+ MiB for it; make the size smaller or the quantum larger/,
	},
	{
		title: 'the file with keys is missing',
		from: '<unix path="nbd.sock"/>',
		to: '<unix path="nbd.sock"/><tls psk="/nowhere/keys.psk"/>',
		at: 'psk="/nowhere',
		error: /child "nbd": the file \/nowhere\/keys\.psk cannot be read: it does not exist; .*psktool/,
	},
	{
		title: 'the certificate and its key are missing',
		from: '<unix path="nbd.sock"/>',
		to: '<unix path="nbd.sock"/><tls certificate="/nowhere/c" key="/nowhere/k"/>',
		at: 'certificate="/nowhere',
		error: /the file \/nowhere\/c cannot be read: it does not exist[^]*the file \/nowhere\/k cannot be read/,
	},
	{
		title: 'the file with keys holds none',
		from: '<unix path="nbd.sock"/>',
		to: '<unix path="nbd.sock"/><tls psk="../keys.psk"/>',
		at: '<tls psk',
		error: /child "nbd": .*\/keys\.psk has no key; "psktool -u NAME -p .*" adds one/,
		prepare(folder) {
			writeFileSync(join(folder, 'keys.psk'), '# nobody\n', {mode: 0o600});
		},
	},
	{
		title: "the socket's folder is missing",
		from: 'path="nbd.sock"',
		to: 'path="/nowhere/nbd.sock"',
		at: 'path="/nowhere/nbd.sock"',
		error: /child "nbd": the socket \/nowhere\/nbd\.sock cannot be made: the folder \/nowhere does not exist/,
	},
	{
		title: 'a file is in the place of the socket',
		from: 'path="nbd.sock"',
		to: 'path="../file"',
		at: 'path="../file"',
		error: /child "nbd": .*\/file exists and is no socket; move it away/,
		prepare(folder) {
			writeFileSync(join(folder, 'file'), '');
		},
	},
	{
		title: "the socket's path is too long",
		from: 'path="nbd.sock"',
		to: `path="${'n'.repeat(110)}"`,
		at: 'path="nnn',
		error: /child "nbd": the path of the socket .* has \d+ bytes, and the system takes no more than 107; choose a shorter state directory or path/,
	},
	{
		title: 'the passphrase file is missing',
		from: '<config path="trust_anchor"/>',
		to: '<config path="trust_anchor" passphrase_file="/nowhere/p"/>',
		at: 'passphrase_file=',
		error: /child "trust_anchor": the passphrase file \/nowhere\/p cannot be read: it does not exist/,
	},
	{
		title: 'the passphrase is set to nothing',
		from: '<!--',
		to: '<!--',
		at: '<config path="trust_anchor"/>',
		variables: {CBE_PASSPHRASE: ''},
		error: /child "trust_anchor": the environment variable CBE_PASSPHRASE is set, but empty; unset it, or set it to the passphrase/,
	},
	{
		title: "the variable of one's own for the passphrase is set to nothing",
		from: '<config path="trust_anchor"/>',
		to: '<config path="trust_anchor" passphrase_variable="MINE"/>',
		at: 'passphrase_variable=',
		variables: {MINE: ''},
		error: /child "trust_anchor": the environment variable MINE is set, but empty; unset it, or set it to the passphrase/,
	},
	{
		title: 'the passphrase is too long',
		from: '<!--',
		to: '<!--',
		at: '<config path="trust_anchor"/>',
		variables: {CBE_PASSPHRASE: 'x'.repeat(1025)},
		error: /child "trust_anchor": the environment variable CBE_PASSPHRASE holds 1025 bytes; a passphrase has 1 to 1024/,
	},
	{
		title: 'the passphrase file is named by nothing',
		from: '<!--',
		to: '<!--',
		at: '<config path="trust_anchor"/>',
		variables: {CBE_PASSPHRASE_FILE: '', CBE_PASSPHRASE: 'x'},
		error: /child "trust_anchor": the environment variable CBE_PASSPHRASE_FILE is set, but empty; unset it, or set it to the name of a file/,
	},
	{
		title: 'the passphrase file is empty',
		from: '<config path="trust_anchor"/>',
		to: '<config path="trust_anchor" passphrase_file="../p"/>',
		at: 'passphrase_file=',
		error: /child "trust_anchor": the passphrase file .*\/p holds no passphrase: it is empty; write the passphrase there/,
		prepare(folder) {
			writeFileSync(join(folder, 'p'), '', {mode: 0o600});
		},
	},
	{
		title: 'the passphrase file is something else',
		from: '<config path="trust_anchor"/>',
		to: '<config path="trust_anchor" passphrase_file="../p"/>',
		at: 'passphrase_file=',
		error: /child "trust_anchor": the passphrase file .*\/p holds no passphrase: it has 5000 bytes, and a passphrase has 1024 at most/,
		prepare(folder) {
			writeFileSync(join(folder, 'p'), 'x'.repeat(5000), {mode: 0o600});
		},
	},
	{
		title: 'a file is in the place of the trust anchor',
		from: '<config path="trust_anchor"/>',
		to: '<config path="../file"/>',
		at: 'path="../file"',
		error: /child "trust_anchor": the trust anchor's directory .*\/file cannot be used: .* is no folder/,
		prepare(folder) {
			writeFileSync(join(folder, 'file'), '');
		},
	},
	{
		title: 'the state directory lies below a file',
		from: '<!--',
		to: '<!--',
		at: '<?xml',
		state: 'file/state',
		error: /the state directory .*\/file\/state cannot be used: .*(?:is no folder|a file is in its way); choose another one with --state/,
		prepare(folder) {
			writeFileSync(join(folder, 'file'), '');
		},
	},
];

for (const {title, from, to, at, error, prepare, variables, state = 'state'} of obstacles) {
	test(`before anything is made: ${title}`, async t => {
		const document = from === to ? shipped : replaced(from, to);
		await withFolder(async folder => {
			writeFileSync(join(folder, 'my.xml'), document);
			prepare?.(folder);
			const before = readdirSync(folder);
			for (const command of ['check', 'start']) {
				const {code, output} = await runRuntime([command, 'my.xml', '--state', state], {
					directory: folder,
					...(variables && {variables}),
				});
				t.is(code, 2, output);
				t.true(output.startsWith(`my.xml:${placeOf(document, at)}: error: `), output);
				t.regex(output, error);
			}

			t.deepEqual(readdirSync(folder), before);
		});
	});
}

test('a TPM that is missing, and a passphrase file of the command line', async t => {
	await withFolder(async folder => {
		const deploy = join(folder, 'tpm.xml');
		writeFileSync(
			deploy,
			readFileSync(join(projectFolder, 'config/assemblies/tpm2.xml'), 'utf8').replace(
				'tpm="/dev/tpmrm0"',
				'tpm="/nowhere/tpm"',
			),
		);
		const {code, output} = await runRuntime(['check', deploy, '--state', join(folder, 'state')]);
		t.is(code, 2);
		t.regex(
			output,
			/child "trust_anchor": the TPM \/nowhere\/tpm cannot be used: it does not exist; enable the TPM/,
		);
		const recovering = await runRuntime(['check', deploy, '--state', join(folder, 'state')], {
			variables: {CBE_RECOVERY_KEY: ''},
		});
		t.regex(
			recovering.output,
			/child "trust_anchor": the environment variable CBE_RECOVERY_KEY is set, but empty; unset it, or set it to the recovery key/,
		);
		const started = await runRuntime([
			'start',
			'--passphrase-file',
			'/nowhere/p',
			'--state',
			join(folder, 'state'),
		]);
		t.is(started.code, 2);
		t.regex(
			started.output,
			/the passphrase file \/nowhere\/p cannot be read: it does not exist; correct --passphrase-file/,
		);
		t.false(existsSync(join(folder, 'state')));
	});
});

test('what works without is a warning of the check, and no reason not to start', async t => {
	await withFolder(async folder => {
		const {code, output} = await runRuntime(['check', '--state', join(folder, 'state')], {
			variables: {PATH: '/nowhere'},
		});
		t.is(code, 0);
		t.regex(
			output,
			/deploy\.xml:\d+:\d+: warning: child "vfs": no file system can be mounted: (?:the program (?:fusermount3|mount) is missing; install it \(Debian: apt install (?:fuse3|mount)\)|there is no \/dev\/fuse; load the kernel module fuse), or leave mount="…" out: "runtime shell" shows the same tree\n/,
		);
		t.regex(output, /^nbd +nbd /m);
	});
});

test('bubblewrap that is missing', async t => {
	await withFolder(async folder => {
		const {code, output} = await runRuntime(
			['start', 'config/assemblies/hardened.xml', '--state', join(folder, 'state')],
			{variables: {PATH: '/nowhere'}},
		);
		t.is(code, 2);
		t.regex(
			output,
			/child "crypto" cannot run in a process of its own: bubblewrap \(bwrap\) is not installed; install the package "bubblewrap"; or go on without it/,
		);
		t.false(existsSync(join(folder, 'state')));
	});
});

/** Ends with the program, which may have so many files open at once. */
function withOpenFiles(count: number, ...words: string[]) {
	const program = join(projectFolder, 'runtime/bin/runtime.js');
	return spawnSync('sh', ['-c', `ulimit -n ${count} && exec "$@"`, 'sh', process.execPath, program, ...words], {
		cwd: projectFolder,
		encoding: 'utf8',
	});
}

test('too few open files are told before, with the limit that would do', async t => {
	await withFolder(async folder => {
		const state = join(folder, 'state');
		for (const limit of [30, 110]) {
			const {status, stderr} = withOpenFiles(limit, 'start', '--state', state);
			t.true(status === 1 || status === 2, stderr);
			t.regex(
				stderr,
				new RegExp(
					`this process may have ${limit} files open at once; (?:the program alone needs \\d+ to be loaded|9 threads or processes of components need up to \\d+ while they start).*raise the limit: "ulimit -n 4096" in the shell, or LimitNOFILE=`,
				),
			);
			t.notRegex(stderr, /\n\s+at /);
			t.false(existsSync(state));
		}
	});
});
