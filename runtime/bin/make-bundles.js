// Makes the bundles in dist/bundles of the compiled modules: one file for the command line, one for what it knows of the
// components, one for each component's thread; and the engine's code for each. Bundles that are up to date stay.
import {spawn, spawnSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import {once} from 'node:events';
import {existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {basename, dirname, join, relative} from 'node:path';
import {fileURLToPath} from 'node:url';
import {bundleNamed, freshBundle, loadBundle, threadBundleName, threadFile} from '../../dist/runtime/bundle/bundles.js';

const project = fileURLToPath(new URL('../..', import.meta.url));
const compiled = join(project, 'dist');
const components = join(compiled, 'components');
const language = join(project, 'node_modules/zod/v4/locales/en.js');

/** Modules of a folder that are no tests. */
function modulesIn(folder) {
	return readdirSync(folder).filter(name => name.endsWith('.js') && !name.endsWith('.test.js'));
}

const binaries = readdirSync(components).filter(name => existsSync(join(components, name, 'component.js')));
const described = [
	...binaries.map(name => join(components, name, 'component.js')),
	...modulesIn(join(components, 'sessions')).map(name => join(components, 'sessions', name)),
];

/** What each bundle starts with. */
const entries = new Map([
	['command-line', `export {runProgram} from './runtime/cli/closed-program.js';`],
	[
		'catalog',
		[
			...described.map((path, i) => `import * as module${i} from ${JSON.stringify(path)};`),
			`export const modules = {${described.map((path, i) => `${JSON.stringify(relative(compiled, path))}: module${i}`).join(',')}};`,
		].join('\n'),
	],
	...binaries.map(name => [
		threadBundleName(name),
		[
			`import {runThread} from './runtime/host/run-thread.js';`,
			`import component from './components/${name}/component.js';`,
			'export function run() { return runThread(component); }',
		].join('\n'),
	]),
]);

/** Packages that take long to load, and mostly for nothing: they are when something of them is used first. */
const whenUsed = {
	koffi: `
const koffi = Object.create(new Proxy({}, {
	get(_, name) {
		Object.defineProperties(koffi, Object.getOwnPropertyDescriptors(require('koffi')));
		return koffi[name];
	},
}));
export default koffi;
`,
	piscina: `
export function Piscina(options) {
	return new (require('piscina').Piscina)(options);
}
`,
};

/** A module finds its own files as if it were not bundled; of zod goes in what is used, and messages in English. */
const asCompiled = {
	name: 'as-compiled',
	setup(bundling) {
		bundling.onResolve({filter: /^entry:/}, ({path}) => ({path: path.slice('entry:'.length), namespace: 'entry'}));
		bundling.onLoad({filter: /.*/, namespace: 'entry'}, ({path}) => ({
			contents: entries.get(path),
			resolveDir: compiled,
		}));
		bundling.onResolve({filter: /locales\/index\.js$/}, () => ({path: 'languages', namespace: 'language'}));
		bundling.onLoad({filter: /.*/, namespace: 'language'}, () => ({
			contents: `export {default as en} from ${JSON.stringify(language)};`,
			resolveDir: project,
		}));
		bundling.onResolve({filter: /^(?:koffi|piscina)$/}, ({path, kind}) =>
			kind === 'import-statement' ? {path, namespace: 'when-used'} : {external: true},
		);
		bundling.onLoad({filter: /.*/, namespace: 'when-used'}, ({path}) => ({
			contents: whenUsed[path],
			resolveDir: project,
		}));
		bundling.onLoad({filter: /\/dist\/(?:runtime|components)\/.*\.js$/}, ({path}) => ({
			contents: readFileSync(path, 'utf8')
				.replaceAll('import.meta.url', `moduleUrl(${JSON.stringify(relative(compiled, path))})`)
				.replaceAll(/\bimport\((?!['"])/g, 'importUnbundled(')
				.replace(/^import \{ z \} from 'zod';$/m, "import * as z from 'zod';"),
		}));
	},
};

const common = {
	bundle: true,
	platform: 'node',
	format: 'cjs',
	target: 'node20.19',
	supported: {'dynamic-import': false},
	minifySyntax: true,
	legalComments: 'none',
	write: false,
	metafile: true,
	outdir: dirname(threadFile),
	outExtension: {'.js': '.cjs'},
	absWorkingDir: project,
	external: ['typescript'],
	plugins: [asCompiled],
	logLevel: 'error',
};

const moduleUrl =
	'const moduleUrl = path => require("node:url").pathToFileURL(require("node:path").join(__dirname, "..", path)).href;';

const states = new Map();

function stateOf(path) {
	const file = join(compiled, path);
	const {size, mtimeMs} = statSync(file);
	return [size, mtimeMs, createHash('sha256').update(readFileSync(file)).digest('hex')];
}

/** @param paths of modules in dist */
function writeInputs(name, paths) {
	for (const path of paths.filter(path => !states.has(path))) {
		states.set(path, stateOf(path));
	}

	writeFileSync(
		bundleNamed(name).inputsFile,
		JSON.stringify(Object.fromEntries(paths.map(path => [path, states.get(path)]))),
	);
}

function writeBundle(name, text, paths) {
	const {file, inputsFile} = bundleNamed(name);
	const content = createHash('sha256').update(text).digest('hex').slice(0, 32);
	rmSync(inputsFile, {force: true});
	for (const old of readdirSync(dirname(file)).filter(other => other.startsWith(`${basename(file)}.`))) {
		rmSync(join(dirname(file), old));
	}

	writeFileSync(
		file,
		`/* ${content} */ (function (module, exports, require, __filename, __dirname, importUnbundled) {${text}\n})`,
	);
	writeInputs(name, paths);
}

async function makeBundles(build, names) {
	const {outputFiles, metafile} = await build({
		...common,
		entryPoints: names.map(name => ({in: `entry:${name}`, out: name})),
		banner: {js: moduleUrl},
	});
	for (const {path, text} of outputFiles) {
		const {inputs} = metafile.outputs[relative(project, path)];
		writeBundle(
			basename(path, '.cjs'),
			text,
			Object.keys(inputs)
				.filter(input => input.startsWith('dist/'))
				.map(input => relative('dist', input)),
		);
	}

	const {
		outputFiles: [thread],
	} = await build({
		...common,
		supported: {},
		entryPoints: [{in: join(compiled, 'runtime/bundle/thread.js'), out: 'thread'}],
		banner: {js: `${moduleUrl}\nconst importUnbundled = url => import(url);`},
	});
	writeFileSync(threadFile, thread.text);
}

/** A device that is not started and ended by then is no example. */
const startMsMax = 30_000;

/** What runs here has the engine's code kept of each bundle in it. */
const keeping = ['--import', join(project, 'runtime/bin/keep-code.js')];
const program = join(project, 'runtime/bin/runtime.js');

/** Nobody's passphrase. */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CBE_')));

function run(...words) {
	spawnSync(process.execPath, [...keeping, program, ...words], {env, timeout: startMsMax});
}

/** Until it is ready; resolves with what ends it. */
async function startDevice(deploy, state) {
	const device = spawn(process.execPath, [...keeping, program, 'start', deploy, '--state', state], {
		env,
		stdio: ['ignore', 'pipe', 'ignore'],
		timeout: startMsMax,
	});
	const ended = once(device, 'close');
	let said = '';
	for await (const text of device.stdout.setEncoding('utf8')) {
		said += text;
		if (said.includes('[runtime] ready')) {
			break;
		}
	}

	device.stdout.resume();
	return async () => {
		run('stop', '--state', state);
		await ended;
	};
}

/**
 * Has the engine make its code of the bundles: of those of the default assembly with what a device and its commands run
 * from the start to the end, without a mount; of all others with what runs when they are loaded.
 */
async function makeCode(names) {
	for (const name of names) {
		spawnSync(process.execPath, [...keeping, fileURLToPath(import.meta.url), name], {stdio: 'inherit'});
	}

	const folder = mkdtempSync(join(tmpdir(), 'bundles-'));
	const deploy = join(folder, 'deploy.xml');
	const state = join(folder, 'var');
	try {
		const assembly = readFileSync(join(project, 'deploy.xml'), 'utf8');
		writeFileSync(deploy, assembly.replace(/<start name="vfs">[^]*?<\/start>/, ''));
		// The first one makes the container.
		for (let i = 0; i < 2; i++) {
			const stop = await startDevice(deploy, state);
			run('status', '--state', state);
			await stop();
		}
	} finally {
		rmSync(folder, {recursive: true});
	}
}

const [, , loaded] = process.argv;
if (loaded !== undefined) {
	loadBundle(bundleNamed(loaded).file);
} else {
	mkdirSync(dirname(threadFile), {recursive: true});
	const stale = [...entries.keys()].filter(name => freshBundle(name) === undefined);
	// Modules may have been compiled again to what they were.
	for (const name of [...entries.keys()].filter(name => !stale.includes(name))) {
		writeInputs(name, Object.keys(JSON.parse(readFileSync(bundleNamed(name).inputsFile, 'latin1'))));
	}

	if (stale.length > 0 || !existsSync(threadFile)) {
		await import('esbuild').then(
			async ({build}) => {
				await makeBundles(build, stale);
				await makeCode(stale);
			},
			() => {
				process.stderr.write(
					'[build] no bundles, so programs start slower: esbuild is missing, "npm ci" installs it\n',
				);
			},
		);
	}
}
