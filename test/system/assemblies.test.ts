/** Every shipped assembly, started as it is, with a client. CI runs this file on each supported version of Node.js. */
import {readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {availableParallelism} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {runTool, testWith} from '../support/external-tools.js';
import {projectFolder, runRuntime, startRuntime, withFolder} from '../support/runtime-process.js';
import {SoftwareTpm} from '../support/swtpm.js';

const shippedFolder = 'config/assemblies';

/** What an assembly needs beside the client. */
const needs: Readonly<Record<string, readonly string[]>> = {
	[`${shippedFolder}/hardened.xml`]: ['bwrap'],
	[`${shippedFolder}/tpm2.xml`]: ['swtpm'],
	[`${shippedFolder}/vfs.xml`]: ['root', '/dev/fuse', 'fusermount3'],
};

/** Long enough for a container of 1 GiB on a busy machine. */
const timeLimitMs = 240_000;

function socketsIn(stateDirectory: string): string[] {
	return readdirSync(stateDirectory)
		.filter(name => name.endsWith('.sock') && name !== 'runtime.sock')
		.map(name => join(stateDirectory, name));
}

/** Writes, flushes and reads with qemu's client; `value` tells devices apart. */
async function useDevice(t: ExecutionContext, socket: string, value: number): Promise<void> {
	const uri = `nbd+unix:///?socket=${socket}`;
	const wrote = await runTool('qemu-io', [
		'-f',
		'raw',
		uri,
		'-c',
		`write -P ${value} 1M 64k`,
		'-c',
		'flush',
		'-c',
		`read -P ${value} 1M 64k`,
	]);
	t.regex(wrote, /wrote 65536\/65536[\s\S]*read 65536\/65536/);
	t.notRegex(wrote, /verification failed|error/i);
}

const variables = {CBE_PASSPHRASE: 'correct horse battery staple'};

async function useAssembly(t: ExecutionContext, file: string, stateDirectory: string): Promise<void> {
	if (file.endsWith('/tresor.xml')) {
		// Containers of the original are made on purpose only.
		const made = await runRuntime(['run', 'cbe_init', file, '--state', stateDirectory], {variables});
		t.is(made.code, 0, made.output);
	}

	for (let attempt = 1; attempt <= 2; attempt++) {
		if (attempt === 2 && file.endsWith('/ram.xml')) {
			// Memory is gone at the end, its trust anchor is not, and may as well be that of an image.
			const {code, output} = await runRuntime(['start', file, '--state', stateDirectory], {variables});
			t.is(code, 1, output);
			t.regex(
				output,
				/the medium is memory, which is empty at each start, .*: start with a new state directory \(--state DIR\)\. If this trust anchor was ever used with an image, it holds the only keys to it: keep it/,
			);
			t.notRegex(output, /put the image back|remove|cbe_adopt/);
			return;
		}

		const runtime = await startRuntime(file, stateDirectory, {variables});
		const sockets = socketsIn(stateDirectory);
		for (const [index, socket] of sockets.entries()) {
			await useDevice(t, socket, attempt * 16 + index);
		}

		if (sockets.length === 0) {
			t.is(
				await runTool('timeout', ['60', 'head', '-c', '4', join(stateDirectory, 'disk/current/data')]),
				'\0\0\0\0',
			);
		}

		t.is(await runtime.stop(), 0, runtime.output);
		t.notRegex(runtime.output, /died|exceeded its RAM quantum/);
	}
}

/** The shipped tpm2.xml, on the emulator. */
function withTpm(file: string, tpm: SoftwareTpm, folder: string): string {
	const edited = join(folder, 'tpm2.xml');
	writeFileSync(edited, readFileSync(file, 'utf8').replace('tpm="/dev/tpmrm0"', `tpm="${tpm.socketPath}"`));
	return edited;
}

const assemblies = [
	'deploy.xml',
	...readdirSync(join(projectFolder, shippedFolder)).map(name => `${shippedFolder}/${name}`),
];

test('there are assemblies', t => {
	t.true(assemblies.length > 10);
});

for (const assembly of assemblies) {
	const usesCpus = assembly.endsWith('/pinned.xml');
	const requirements = [
		'qemu-io',
		...(needs[assembly] ?? []),
		...(usesCpus && availableParallelism() < 2 ? ['a second CPU'] : []),
	];
	testWith(requirements, `${assembly} starts, serves its clients and stops, anew and again`, async t => {
		t.timeout(timeLimitMs);
		await withFolder(async folder => {
			const file = join(projectFolder, assembly);
			if (!assembly.endsWith('/tpm2.xml')) {
				await useAssembly(t, file, folder);
				return;
			}

			const tpm = await SoftwareTpm.start();
			try {
				await useAssembly(t, withTpm(file, tpm, folder), folder);
			} finally {
				await tpm.stop();
			}
		});
	});
}

for (const assembly of ['deploy.xml', `${shippedFolder}/hardened.xml`]) {
	testWith(
		needs[assembly] ?? [],
		`${assembly} starts with as few open files as it says, and comes back from a crash`,
		async t => {
			await withFolder(async folder => {
				const limited = async (count: number, ...words: string[]) =>
					runRuntime([...words, join(projectFolder, assembly), '--state', join(folder, 'state')], {
						openFilesMax: count,
					});
				// Enough to load the program, which takes most with Node.js 20.
				const {output} = await limited(Number(process.versions.node.split('.')[0]) < 22 ? 130 : 60, 'check');
				const needed = Number(/need up to (\d+) while they start/.exec(output)?.[1]);
				t.true(needed < 300, output);
				t.is((await limited(needed - 1, 'check')).code, 2);
				t.is((await limited(needed, 'check')).code, 0);
				const running = await startRuntime(join(projectFolder, assembly), join(folder, 'state'), {
					openFilesMax: needed,
				});
				t.teardown(async () => running.stop('SIGKILL'));
				t.is((await runRuntime(['restart', 'virtual_block_device', '--state', join(folder, 'state')])).code, 0);
				t.is(await running.stop(), 0, running.output);
				t.notRegex(running.output, /EMFILE|files open/);
			});
		},
	);
}
