/**
 * Bundles: what a program or a thread loads as one file instead of some hundred, with the code that the engine has
 * made of it beside. `npm run build` makes them of the compiled modules. A bundle whose modules were compiled again
 * since is passed over, and each module is loaded from its own file.
 */
import type crypto from 'node:crypto';
import {readFileSync, statSync} from 'node:fs';
import {createRequire} from 'node:module';
import {dirname, join, relative} from 'node:path';
import {fileURLToPath} from 'node:url';
import {Script} from 'node:vm';

const compiledFolder = fileURLToPath(new URL('../..', import.meta.url));
const bundleFolder = join(compiledFolder, 'bundles');

/** What the bundle was made of: size, time of the last change and SHA-256 of each module, by path in `dist`. */
export type BundleInputs = Readonly<Record<string, readonly [size: number, mtimeMs: number, sha256: string]>>;

export interface Bundle {
	readonly file: string;
	readonly inputsFile: string;
}

export function bundleNamed(name: string): Bundle {
	return {file: join(bundleFolder, `${name}.cjs`), inputsFile: join(bundleFolder, `${name}.json`)};
}

/** The name of the bundle for a thread with this component alone. */
export function threadBundleName(binary: string): string {
	return `thread-${binary}`;
}

/** Whether modules are what they were when bundles were made of them, as seen in this turn of the event loop. */
const unchanged = new Map<string, boolean>();

function isSame(name: string, state: BundleInputs[string]): boolean {
	const known = unchanged.get(name);
	if (known !== undefined) {
		return known;
	}

	if (unchanged.size === 0) {
		setImmediate(() => {
			unchanged.clear();
		}).unref();
	}

	const found = isUnchanged(name, state);
	unchanged.set(name, found);
	return found;
}

/** Loads what is not needed but where modules have other times than they had. */
const load = createRequire(import.meta.url);

function sha256Of(path: string): string {
	const {createHash} = load('node:crypto') as Pick<typeof crypto, 'createHash'>;
	return createHash('sha256').update(readFileSync(path)).digest('hex');
}

function isUnchanged(name: string, [size, mtimeMs, sha256]: BundleInputs[string]): boolean {
	const path = join(compiledFolder, name);
	const now = statSync(path, {throwIfNoEntry: false});
	// A copy of the project has other times.
	return now?.size === size && (now.mtimeMs === mtimeMs || sha256Of(path) === sha256);
}

/** The file of a bundle that is made of the modules as they are now; undefined where there is none. */
export function freshBundle(name: string): string | undefined {
	const {file, inputsFile} = bundleNamed(name);
	try {
		const inputs = JSON.parse(readFileSync(inputsFile, 'latin1')) as BundleInputs;
		return Object.entries(inputs).every(([input, state]) => isSame(input, state)) ? file : undefined;
	} catch {
		return undefined;
	}
}

/** The file of a thread's bundle for a component of this project, by its compiled module. */
export function freshThreadBundle(modulePath: string): string | undefined {
	const [folder, binary, module, ...more] = relative(compiledFolder, modulePath).split('/');
	return folder === 'components' && module === 'component.js' && more.length === 0
		? freshBundle(threadBundleName(binary))
		: undefined;
}

/** What runs in a worker thread that gets the file of a bundle with its data. */
export const threadFile = join(bundleFolder, 'thread.cjs');

/** Where the engine's code for a bundle lies. It belongs to one content: it is checked for its length alone. */
export function codeFile(file: string, source: string): string {
	const [, content] = /^\/\* (\w+) \*\//.exec(source) ?? [];
	return `${file}.${content}.code`;
}

function readCode(file: string): Buffer | undefined {
	try {
		return readFileSync(file);
	} catch {
		return undefined;
	}
}

type BundleFunction = (
	module: {readonly exports: object},
	exports: object,
	require: NodeJS.Require,
	file: string,
	folder: string,
	importUnbundled: (url: string) => Promise<unknown>,
) => void;

/** A bundle as a script, and what it exports once it has run. Code of another version of the engine is passed over. */
export function loadBundle(file: string): {readonly script: Script; readonly exports: unknown} {
	// Bundles are ASCII.
	const source = readFileSync(file, 'latin1');
	const script = new Script(source, {
		filename: file,
		cachedData: readCode(codeFile(file, source)),
	});
	const module = {exports: {}};
	const run = script.runInThisContext() as BundleFunction;
	// Modules that no bundle has are imported from here: in a script whose code was made before, Node.js 20 cannot.
	run(module, module.exports, createRequire(file), file, dirname(file), async url => import(url));
	return {script, exports: module.exports};
}

let described: ReadonlyMap<string, Record<string, unknown>> | undefined;

/**
 * What the modules of all components and contracts export, by their paths, for a process that looks at many and runs
 * none; undefined where that has no bundle.
 */
export function bundledModules(): ReadonlyMap<string, Record<string, unknown>> | undefined {
	const file = described ? undefined : freshBundle('catalog');
	if (file !== undefined) {
		const {modules} = loadBundle(file).exports as {modules: Record<string, Record<string, unknown>>};
		described = new Map(Object.entries(modules).map(([path, module]) => [join(compiledFolder, path), module]));
	}

	return described;
}
