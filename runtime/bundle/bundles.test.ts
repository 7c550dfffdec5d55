import {execFileSync, spawn} from 'node:child_process';
import {once} from 'node:events';
import {appendFileSync, cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, utimesSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';
import test, {type ExecutionContext} from 'ava';
import {projectFolder} from '../../test/support/runtime-process.js';
import {bundleNamed, freshBundle, loadBundle, type BundleInputs} from './bundles.js';

const program = join(projectFolder, 'runtime/bin/runtime.js');
const compiled = fileURLToPath(new URL('../..', import.meta.url));

function folderFor(t: ExecutionContext): string {
	const folder = mkdtempSync(join(tmpdir(), 'bundles-'));
	t.teardown(() => {
		rmSync(folder, {recursive: true, force: true});
	});
	return folder;
}

/** Paths of the project's and its packages' files that were opened, once for each time. */
function opened(folder: string): string[] {
	// One trace for each thread.
	const traces = readdirSync(folder).filter(name => name.startsWith('trace.'));
	const text = traces.map(name => readFileSync(join(folder, name), 'utf8')).join('');
	return [...text.matchAll(/open(?:at)?\(.*?"([^"]+)".* = \d+$/gm)]
		.map(([, path]) => path)
		.filter(path => path.startsWith(projectFolder) && !path.endsWith('package.json') && statSync(path).isFile());
}

function tracing(folder: string): string[] {
	return ['-ff', '-qq', '-e', 'trace=open,openat', '-o', join(folder, 'trace'), process.execPath, program];
}

test.before(() => {
	// Does nothing where they are up to date.
	execFileSync(process.execPath, [join(projectFolder, 'runtime/bin/make-bundles.js')]);
});

test('a command reads a handful of files: its program is one', async t => {
	const folder = folderFor(t);
	const command = spawn('strace', [...tracing(folder), 'status', '--state', '/nonexistent']);
	t.deepEqual(await once(command, 'close'), [1, null]);
	const files = opened(folder);
	t.true(files.some(path => path.endsWith('command-line.cjs')));
	t.true(files.length <= 12, files.join('\n'));
	const byteLength = files.reduce((sum, path) => sum + (path.endsWith('.node') ? 0 : statSync(path).size), 0);
	t.true(byteLength <= 1.6 * 2 ** 20, `${byteLength} bytes`);
});

test('a device reads four files for each thread and a handful for the runtime, not some hundred for each', async t => {
	const folder = folderFor(t);
	const device = spawn('strace', [...tracing(folder), 'start', 'deploy.xml', '--state', join(folder, 'var')], {
		cwd: projectFolder,
	});
	const ended = once(device, 'close');
	let said = '';
	for await (const text of device.stdout.setEncoding('utf8')) {
		said += text as string;
		if (said.includes('[runtime] ready')) {
			break;
		}
	}

	device.stdout.resume();
	execFileSync(process.execPath, [program, 'stop', '--state', join(folder, 'var')]);
	await ended;
	const files = opened(folder);
	const threads = files.filter(path => path.endsWith('/thread.cjs')).length;
	t.is(threads, 9);
	// Native code, once in each thread that uses it, comes with three files of its own.
	const others = files.filter(path => !path.includes('koffi'));
	t.true(others.length <= 4 * threads + 12, others.join('\n'));
});

test('a bundle is used as long as its modules are those that it was made of, whenever they were copied', async t => {
	const folder = folderFor(t);
	const {file, inputsFile} = bundleNamed('thread-cache');
	const inputs = Object.keys(JSON.parse(readFileSync(inputsFile, 'utf8')) as BundleInputs);
	for (const path of [file, inputsFile, join(compiled, 'runtime/bundle/bundles.js')]) {
		cpSync(path, join(folder, path.slice(compiled.length)));
	}

	for (const path of inputs) {
		cpSync(join(compiled, path), join(folder, path));
		utimesSync(join(folder, path), 1, 2);
	}

	cpSync(join(projectFolder, 'package.json'), join(folder, 'package.json'));
	const copy = (await import(pathToFileURL(join(folder, 'runtime/bundle/bundles.js')).href)) as {
		freshBundle: typeof freshBundle;
	};
	t.is(copy.freshBundle('thread-cache'), join(folder, 'bundles/thread-cache.cjs'));
	t.is(copy.freshBundle('thread-nbd'), undefined, 'there is none');
	await new Promise(resolve => setImmediate(resolve));
	appendFileSync(join(folder, inputs[0]), '\n');
	t.is(copy.freshBundle('thread-cache'), undefined);
});

test("the engine's code that lies beside a bundle is used", t => {
	for (const name of ['command-line', 'catalog', 'thread-superblock_control']) {
		const file = freshBundle(name);
		t.is(dirname(file ?? ''), dirname(bundleNamed(name).file));
		const made = execFileSync(
			process.execPath,
			[
				'--input-type=module',
				'-e',
				`import {loadBundle} from ${JSON.stringify(new URL('bundles.js', import.meta.url).href)};
				process.stdout.write(String(loadBundle(process.argv[1]).script.cachedDataRejected));`,
				file!,
			],
			{encoding: 'utf8'},
		);
		t.is(made, 'false', name);
	}

	t.true('modules' in (loadBundle(freshBundle('catalog')!).exports as object));
});
