/**
 * The command line that starts an isolated process: bubblewrap gives it a file system with what it reaches and nothing
 * else, no network, and no other processes to see.
 */
import {spawnSync} from 'node:child_process';
import {existsSync, lstatSync, readdirSync, realpathSync, statSync} from 'node:fs';
import {dirname, join, resolve} from 'node:path';
import {fileURLToPath} from 'node:url';
import type {ReachedFile} from '../sdk/component.js';

/** Where bubblewrap writes the process id, as a descriptor of the started program. */
export const informationDescriptor = 5;

const bubblewrap = 'bwrap';

/** Where the libraries of the system lie; links among them are kept as they are. */
const systemFolders = [
	'/lib',
	'/lib32',
	'/lib64',
	'/usr/lib',
	'/usr/lib32',
	'/usr/lib64',
	'/usr/local/lib',
	'/etc/ld.so.cache',
	'/etc/ssl/openssl.cnf',
	'/usr/lib/ssl',
	'/nix/store',
];

/** Without a slash at its end, so that paths below it are known by it. */
const compiledFolder = resolve(fileURLToPath(new URL('../..', import.meta.url)));

function isRoot(): boolean {
	return process.getuid?.() === 0;
}

/** Namespaces need no rights where a user may make them; who has all rights needs no namespace of users. */
function unshared(): string[] {
	return [
		'--unshare-ipc',
		'--unshare-pid',
		'--unshare-net',
		'--unshare-uts',
		'--unshare-cgroup-try',
		...(isRoot() ? [] : ['--unshare-user']),
	];
}

function system(): string[] {
	return systemFolders.flatMap(path => {
		const found = lstatSync(path, {throwIfNoEntry: false});
		if (found?.isSymbolicLink() && dirname(path) === '/') {
			return ['--symlink', realpathSync(path).slice(1), path];
		}

		return existsSync(path) ? ['--ro-bind', path, path] : [];
	});
}

/** Where packages of modules in a folder are looked for, and what says how these modules are to be read. */
function packageParts(folder: string): string[] {
	const own = [join(folder, 'node_modules'), join(folder, 'package.json')];
	return folder === dirname(folder) ? own : [...own, ...packageParts(dirname(folder))];
}

/** Packages that links in these folders lead to. */
function linkedPackages(folders: readonly string[]): string[] {
	return folders
		.filter(folder => existsSync(folder))
		.flatMap(folder =>
			readdirSync(folder)
				.flatMap(name =>
					name.startsWith('@')
						? readdirSync(join(folder, name)).map(part => join(folder, name, part))
						: [join(folder, name)],
				)
				.filter(path => lstatSync(path).isSymbolicLink() && existsSync(path))
				.map(path => realpathSync(path)),
		);
}

function isBelow(path: string, folder: string): boolean {
	return path === folder || path.startsWith(folder === '/' ? folder : `${folder}/`);
}

/**
 * This program: compiled modules, the packages that they use, and what says how they are to be read. Of packages that
 * are linked into this project, and of the project itself, that is what is read to find modules; of others it is the
 * whole package.
 */
function program(modulePaths: readonly string[]): string[] {
	const project = dirname(compiledFolder);
	const folders = modulePaths.map(path => dirname(path));
	const own = packageParts(project);
	const others = folders.filter(folder => !isBelow(folder, project)).flatMap(folder => packageParts(folder));
	const isPackageFolder = (path: string) => path.endsWith('/node_modules');
	const parts = [
		process.execPath,
		realpathSync(process.execPath),
		compiledFolder,
		...folders,
		...own,
		...others,
		...linkedPackages(own.filter(path => isPackageFolder(path))).map(path => join(path, 'package.json')),
		...linkedPackages(others.filter(path => isPackageFolder(path))).filter(
			path => !isBelow(path, project) && !isBelow(project, path),
		),
	];
	return [...new Set(parts)].filter(path => existsSync(path));
}

function reached(files: readonly ReachedFile[]): string[] {
	return files.flatMap(({path, writable}) => {
		const found = statSync(path, {throwIfNoEntry: false});
		if (!found) {
			return [];
		}

		const isDevice = found.isBlockDevice() || found.isCharacterDevice();
		return [isDevice ? '--dev-bind' : writable ? '--bind' : '--ro-bind', path, path];
	});
}

/** The folders above what is bound: bubblewrap would make them for root alone. */
function above(bindings: readonly string[]): string[] {
	const folders = new Set<string>();
	for (const path of bindings.filter(word => word.startsWith('/'))) {
		for (let folder = dirname(path); folder !== '/'; folder = dirname(folder)) {
			folders.add(folder);
		}
	}

	return [...folders].sort().flatMap(folder => ['--perms', '0755', '--dir', folder]);
}

/** What was found out about bubblewrap; it does not change while the runtime runs. */
let probed: {readonly problem: string | undefined} | undefined;

/** Why processes cannot be confined here; undefined where they can. */
export function confinementProblem(): string | undefined {
	if (!probed) {
		const tried = spawnSync(
			bubblewrap,
			[...unshared(), '--ro-bind', '/', '/', '--proc', '/proc', '--dev', '/dev', '/proc/self/exe', '--version'],
			{encoding: 'utf8', env: {PATH: process.env['PATH'] ?? '/usr/bin:/bin'}},
		);
		const missing = tried.error && 'code' in tried.error && tried.error.code === 'ENOENT';
		probed = {
			problem: missing
				? 'bubblewrap (bwrap) is not installed; install the package "bubblewrap"'
				: tried.error
					? `bubblewrap cannot be started: ${tried.error.message}`
					: tried.status === 0
						? undefined
						: `bubblewrap is refused here (${tried.stderr.trim().split('\n')[0]}); allow this user to make namespaces, or start the runtime as root`,
		};
	}

	return probed.problem;
}

export interface Confined {
	readonly files: readonly ReachedFile[];
	/** Modules of the components. */
	readonly modulePaths: readonly string[];
	/** Of it nothing is seen but `files`, wherever the modules lie. */
	readonly stateDirectory: string;
}

/** Program and arguments that run `node` with these arguments in confinement. */
export function confinedCommand(
	{files, modulePaths, stateDirectory}: Confined,
	nodeArguments: readonly string[],
): {readonly command: string; readonly arguments: readonly string[]} {
	const parts = program(modulePaths);
	const shown = [...system(), ...parts.flatMap(path => ['--ro-bind', path, path])];
	const own = reached(files);
	const state = existsSync(stateDirectory) ? realpathSync(stateDirectory) : stateDirectory;
	const hidden = parts.some(part => isBelow(state, part))
		? ['--tmpfs', state, ...above(own.filter(path => isBelow(path, state)))]
		: [];
	const bindings = [...above([...shown, ...own]), ...shown, ...hidden, ...own];
	return {
		command: bubblewrap,
		arguments: [
			...unshared(),
			'--die-with-parent',
			'--as-pid-1',
			'--new-session',
			'--info-fd',
			String(informationDescriptor),
			// To become another user; that drops them.
			'--cap-drop',
			'ALL',
			...(isRoot() ? ['--cap-add', 'CAP_SETUID', '--cap-add', 'CAP_SETGID'] : []),
			'--dev',
			'/dev',
			...bindings,
			'--proc',
			'/proc',
			'--chdir',
			'/',
			process.execPath,
			...nodeArguments,
		],
	};
}
