/**
 * Who may import whom: one table, and what follows from it. `tidy.test.ts` holds every import of the project to it,
 * those of types alone, of re-exports, of dynamic imports and of workers' modules as well.
 */
import {basename, dirname} from 'node:path';
import type {Module} from './module-imports.js';

/**
 * A folder and the folders that it may import besides itself. `*` stands for letters of one name, `**` for any folders.
 */
type Layer = readonly [folder: string, uses: readonly string[]];

const sdk = 'runtime/sdk';
const contracts = 'components/sessions';

/** From the bottom up: a row uses rows above it alone. */
const layers: readonly Layer[] = [
	// What components see of the runtime: it knows nothing of how sessions travel, who started it and who serves whom.
	[sdk, []],
	['runtime/transport', [sdk]],
	['runtime/process', [sdk, 'runtime/transport']],
	['runtime/isolation', [sdk, 'runtime/process']],
	['runtime/deployment', [sdk]],
	['runtime/host', [sdk, 'runtime/transport', 'runtime/process', 'runtime/isolation']],
	[
		'runtime/supervisor',
		[sdk, 'runtime/transport', 'runtime/process', 'runtime/isolation', 'runtime/deployment', 'runtime/host'],
	],

	// The contracts, and the shelves with what components share.
	[contracts, [sdk]],
	['components/lib/sync', []],
	['components/lib/host', [sdk]],
	['components/lib/format', [sdk, contracts]],
	['components/lib/tree', [sdk, contracts, 'components/lib/format']],
	['components/lib/container', [sdk, contracts, 'components/lib/format']],
	['components/lib/crypto', [sdk, contracts]],
	['components/lib/anchor', [sdk, contracts, 'components/lib/sync', 'components/lib/host', 'components/lib/crypto']],
	['components/lib/front_end', [sdk, contracts, 'components/lib/sync', 'components/lib/format']],

	// Passphrases that are typed leave the command line only in an envelope to the trust anchor: hence lib/crypto.
	[
		'runtime/cli',
		[
			sdk,
			'runtime/transport',
			'runtime/process',
			'runtime/deployment',
			'runtime/supervisor',
			'components/lib/crypto',
		],
	],
	['runtime/bin', ['runtime/cli']],

	// Components never import each other. Keys in clear are for crypto servers and trust anchors; others only seal
	// envelopes.
	['components/block_*', [sdk, contracts, 'components/lib/sync', 'components/lib/host', 'components/lib/format']],
	['components/crypto_*', [sdk, contracts, 'components/lib/crypto']],
	[
		'components/trust_anchor_*',
		[
			sdk,
			contracts,
			'components/lib/sync',
			'components/lib/host',
			'components/lib/format',
			'components/lib/crypto',
			'components/lib/anchor',
		],
	],
	['components/cache', [sdk, contracts, 'components/lib/sync', 'components/lib/format', 'components/lib/container']],
	['components/free_tree', [sdk, contracts, 'components/lib/sync', 'components/lib/format', 'components/lib/tree']],
	[
		'components/virtual_block_device',
		[sdk, contracts, 'components/lib/sync', 'components/lib/format', 'components/lib/tree'],
	],
	[
		'components/superblock_control',
		[sdk, contracts, 'components/lib/sync', 'components/lib/format', 'components/lib/container'],
	],
	[
		'components/cbe_*',
		[sdk, contracts, 'components/lib/format', 'components/lib/container', 'components/lib/crypto'],
	],
	['components/nbd', [sdk, contracts, 'components/lib/format', 'components/lib/front_end']],
	['components/vfs', [sdk, contracts, 'components/lib/crypto', 'components/lib/front_end']],

	// What tests are made of. The product imports none of it.
	['test', []],
	['test/support', ['runtime/*', contracts, 'components/lib/*', 'components/*']],
	['test/support/fixtures', ['runtime/*', 'test/support']],
	['test/simulator', [sdk, 'runtime/transport', contracts, 'components/lib/*', 'components/*', 'test/support']],
	// What the commit protocol is explored in.
	['test/model', ['components/lib/format', 'components/lib/container', 'components/superblock_control']],
	['test/bench', ['runtime/*', contracts, 'components/lib/*', 'components/*', 'test/support']],
	['test/soak', ['runtime/supervisor', 'test/support']],
	['test/words', ['test/support']],
];

/** The same for `*.test.ts` in these folders, which nobody imports. */
const testLayers: readonly Layer[] = [
	['runtime/*', ['runtime/*', contracts, 'test/support', 'test/support/fixtures']],
	['components/lib/*', [sdk, contracts, 'components/lib/*', 'test/support']],
	[
		'components/*',
		[sdk, 'runtime/transport', contracts, 'components/lib/*', 'components/*', 'test/support', 'test/simulator'],
	],
	['test/**', ['runtime/*', contracts, 'components/lib/*', 'components/*', 'test/**']],
	['test', []],
];

/**
 * Names that several files have, since they are one thing: a component's module and its test, and the main module of a
 * program.
 */
const sharedNames = new Set(['component.ts', 'component.test.ts', 'main.ts']);

export function isTest(path: string): boolean {
	return path.endsWith('.test.ts');
}

/** The folder of a module. Tests beside a folder's modules are no part of it. */
function folderOf(path: string): string {
	return isTest(path) ? `${dirname(path)} (tests)` : dirname(path);
}

const expressions = new Map<string, RegExp>();

function matches(pattern: string, folder: string): boolean {
	let expression = expressions.get(pattern);
	if (!expression) {
		expression = new RegExp(`^${pattern.replaceAll(/\*\*?/g, star => (star === '*' ? '[^/]*' : '.*'))}$`);
		expressions.set(pattern, expression);
	}

	return expression.test(folder);
}

function rowOf(path: string): Layer | undefined {
	return (isTest(path) ? testLayers : layers).find(([folder]) => matches(folder, dirname(path)));
}

/** @returns what is wrong with one import; undefined where it is as the table says */
function importFault(from: string, to: string, paths: ReadonlySet<string>): string | undefined {
	const row = rowOf(from);
	if (!paths.has(to)) {
		return `${from} imports ${to}, which is not there`;
	}

	// A suite may run a second time, in another file beside it.
	if (isTest(to) && !(isTest(from) && dirname(from) === dirname(to))) {
		return `${from} imports the test ${to}`;
	}

	if (dirname(from) === dirname(to)) {
		return undefined;
	}

	const used = row?.[1].some(pattern => matches(pattern, dirname(to)));
	const isAbove = isTest(from) || layers.indexOf(rowOf(to)!) < layers.indexOf(row!);
	return used && isAbove ? undefined : `${from} imports ${to}`;
}

/**
 * @returns imports that the table does not allow, and modules that no row speaks of; `paths` are all modules that there
 * are
 */
export function layerFaults(modules: readonly Module[], paths: ReadonlySet<string>): string[] {
	return modules.flatMap(({path, imports}) =>
		rowOf(path)
			? imports.flatMap(to => importFault(path, to, paths) ?? [])
			: `${path} lies in no layer: give its folder a row in test/layers.ts`,
	);
}

/** @returns what the table allows and nobody needs */
export function unusedRules(modules: readonly Module[]): string[] {
	return [...layers, ...testLayers].flatMap(row =>
		row[1]
			.filter(
				pattern =>
					!modules.some(
						({path, imports}) => rowOf(path) === row && imports.some(to => matches(pattern, dirname(to))),
					),
			)
			.map(pattern => `${row[0]} may import ${pattern} and does not`),
	);
}

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/** Sets of nodes each of which leads to all others of its set (Tarjan). */
function circlesOf(graph: Graph): string[][] {
	const order = new Map<string, number>();
	const lowest = new Map<string, number>();
	const open: string[] = [];
	const circles: string[][] = [];
	const visit = (node: string) => {
		order.set(node, order.size);
		lowest.set(node, order.get(node)!);
		open.push(node);
		for (const next of graph.get(node) ?? []) {
			if (!order.has(next)) {
				visit(next);
			}

			if (open.includes(next)) {
				lowest.set(node, Math.min(lowest.get(node)!, lowest.get(next)!));
			}
		}

		if (lowest.get(node) === order.get(node)) {
			const circle = open.splice(open.indexOf(node));
			if (circle.length > 1 || graph.get(node)?.has(node)) {
				circles.push(circle.sort());
			}
		}
	};

	for (const node of graph.keys()) {
		if (!order.has(node)) {
			visit(node);
		}
	}

	return circles;
}

/** @returns groups of files that import each other in a circle */
export function fileCircles(modules: readonly Module[]): string[] {
	return circlesOf(new Map(modules.map(({path, imports}) => [path, new Set(imports)]))).map(circle =>
		circle.join(' <-> '),
	);
}

/** @returns groups of folders that import each other in a circle */
export function folderCircles(modules: readonly Module[]): string[] {
	const graph = new Map<string, Set<string>>();
	for (const {path, imports} of modules) {
		const uses = graph.get(folderOf(path)) ?? new Set<string>();
		graph.set(folderOf(path), uses);
		for (const folder of imports.map(to => folderOf(to)).filter(folder => folder !== folderOf(path))) {
			uses.add(folder);
		}
	}

	return circlesOf(graph).map(circle => circle.join(' <-> '));
}

/** @returns names of files that stand for two things, also where one is only the plural of the other */
export function doubledNames(paths: readonly string[]): string[] {
	const byName = new Map<string, string[]>();
	for (const path of paths.filter(path => !sharedNames.has(basename(path)))) {
		byName.set(basename(path), [...(byName.get(basename(path)) ?? []), path]);
	}

	return [...byName].flatMap(([name, found]) => {
		const plurals = name.endsWith('.ts') ? (byName.get(name.replace(/\.ts$/, 's.ts')) ?? []) : [];
		return found.length + plurals.length > 1 ? [...found, ...plurals].join(', ') : [];
	});
}
