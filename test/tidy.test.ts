/** Rules of the source text that neither the compiler nor the linter knows. */
import {existsSync, readdirSync, readFileSync} from 'node:fs';
import {builtinModules} from 'node:module';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import test from 'ava';
import ts from 'typescript';
import {doubledNames, fileCircles, folderCircles, isTest, layerFaults, unusedRules} from './layers.js';
import {readModule, type Module} from './module-imports.js';
import {retiredNamesIn, retiredWordsIn} from './retired-words.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

interface Source extends Module {
	readonly text: string;
	/** The text without comments, so that these may speak of anything. */
	readonly code: string;
}

function withoutComments(text: string): string {
	return ts.transpileModule(text, {
		compilerOptions: {
			removeComments: true,
			target: ts.ScriptTarget.ES2023,
			module: ts.ModuleKind.ESNext,
			verbatimModuleSyntax: true,
		},
	}).outputText;
}

function readSource(path: string): Source {
	const text = readFileSync(join(root, path), 'utf8');
	return {...readModule(path, text), text, code: withoutComments(text)};
}

function sourcesIn(folder: string): Source[] {
	return readdirSync(join(root, folder), {recursive: true, encoding: 'utf8'})
		.filter(name => /\.[jt]s$/.test(name))
		.map(name => readSource(join(folder, name)));
}

const sources = ['runtime', 'components', 'test']
	.flatMap(folder => sourcesIn(folder))
	.filter(({path}) => !path.includes('node_modules'));
const paths = new Set(sources.map(({path}) => path));

/** Folders below components/ that are no components. */
const shelves = new Set(['sessions', 'lib']);
const componentFolders = readdirSync(join(root, 'components'), {withFileTypes: true})
	.filter(entry => entry.isDirectory() && !shelves.has(entry.name))
	.map(entry => entry.name);

test('modules import what their layer may import', t => {
	t.deepEqual(layerFaults(sources, paths), []);
});

test('the table of layers allows nothing that nobody needs', t => {
	t.deepEqual(unusedRules(sources), []);
});

test('files do not import each other in circles, nor do folders', t => {
	t.deepEqual(fileCircles(sources), []);
	t.deepEqual(folderCircles(sources), []);
});

test('no name of a file stands for two things', t => {
	t.deepEqual(doubledNames(sources.map(({path}) => path)), []);
});

/** What is wrong with a module that the project does not have. */
function faultsOf(path: string, text: string): string[] {
	return layerFaults([readModule(path, text)], new Set([...paths, path]));
}

/** All ways to name another module. */
const wordings: Readonly<Record<string, (specifier: string) => string>> = {
	'an import': specifier => `import {x} from '${specifier}'; x();`,
	'an import for its effects': specifier => `import '${specifier}';`,
	'an import of a type': specifier => `import type {X} from '${specifier}'; export type Y = X;`,
	'a re-export': specifier => `export {x} from '${specifier}';`,
	'a re-export of everything': specifier => `export * from '${specifier}';`,
	'a re-export of a type': specifier => `export type {X} from '${specifier}';`,
	'a dynamic import': specifier => `export const x = async () => import('${specifier}');`,
	'a dynamic import of a template': specifier => `export const x = async () => import(\`${specifier}\`);`,
	'the type of an import': specifier => `export type X = import('${specifier}').X;`,
	'an import in the old way': specifier => `import x = require('${specifier}'); x();`,
	'the module of a worker': specifier => `new Worker(new URL('${specifier}', import.meta.url));`,
};

/** Imports that are wrong, by where they stand; in product and in test code. */
const wrongImports: Readonly<Record<string, readonly [from: string, specifier: string]>> = {
	'of a component by another one': ['components/nbd/stray.ts', '../vfs/component.js'],
	'of the runtime by a component': ['components/nbd/stray.ts', '../../runtime/transport/local.js'],
	"of a server's code by the contracts": ['components/sessions/stray.ts', '../lib/anchor/anchor-service.js'],
	'of a shelf by one below it': ['components/lib/format/stray.ts', '../tree/hash-tree.js'],
	'of what holds keys by the device': ['components/superblock_control/stray.ts', '../lib/crypto/key-ring.js'],
	'of a component by the runtime': ['runtime/supervisor/stray.ts', '../../components/nbd/component.js'],
	'of test code by the runtime': ['runtime/supervisor/stray.ts', '../../test/support/runtime-process.js'],
	'of test code by a component': ['components/nbd/stray.ts', '../../test/support/nbd-peer.js'],
	'of an upper layer of the runtime': ['runtime/transport/stray.ts', '../supervisor/supervision.js'],
	'of a test': ['components/lib/sync/stray.ts', './read-write-lock.test.js'],
	'of a component by a test of the runtime': ['runtime/sdk/stray.test.ts', '../../components/nbd/component.js'],
	"of the runtime's insides by a test of a component": [
		'components/nbd/stray.test.ts',
		'../../runtime/supervisor/supervision.js',
	],
	'of the simulator by test support': ['test/support/stray.ts', '../simulator/world.js'],
	'of nothing': ['components/nbd/stray.ts', './not-there.js'],
};

test('a wrong import is found, whichever way it is written', t => {
	for (const [what, [from, specifier]] of Object.entries(wrongImports)) {
		for (const [wording, write] of Object.entries(wordings)) {
			t.is(faultsOf(from, write(specifier)).length, 1, `${wording} ${what}`);
		}
	}
});

test('a folder without a layer is found, and so is what the table allows in vain', t => {
	t.is(faultsOf('components/lib/misc/stray.ts', '').length, 1);
	const fewer = sources.filter(({path}) => !path.startsWith('components/vfs/'));
	t.is(unusedRules(fewer).filter(rule => rule.startsWith('components/vfs ')).length, 4);
});

test('circles are found, also those of types and those of more than two', t => {
	const file = (path: string, text: string) => readModule(path, text);
	const three = [
		file('a/a.ts', "import type {B} from './b.js';"),
		file('a/b.ts', "export * from './c.js';"),
		file('a/c.ts', "import('./a.js');"),
		file('a/d.ts', "import './a.js';"),
	];
	t.deepEqual(fileCircles(three), ['a/a.ts <-> a/b.ts <-> a/c.ts']);
	t.deepEqual(fileCircles([file('a/a.ts', "import './a.js';")]), ['a/a.ts']);
	const apart = [
		file('a/a.ts', "import '../b/b.js';"),
		file('b/b.ts', ''),
		file('b/c.ts', "import '../a/d.js';"),
		file('a/d.ts', ''),
	];
	t.deepEqual(fileCircles(apart), []);
	t.deepEqual(folderCircles(apart), ['a <-> b']);
	// A test beside the code may use what is made of that code.
	const tested = [
		file('a/a.ts', ''),
		file('a/a.test.ts', "import '../b/b.js';"),
		file('b/b.ts', "import '../a/a.js';"),
	];
	t.deepEqual(folderCircles(tested), []);
});

test('names that stand for two things are found', t => {
	const names = ['a/lock.ts', 'b/lock.ts', 'b/lock.test.ts', 'a/main.ts', 'b/main.ts', 'a/secret.ts', 'b/secrets.ts'];
	t.deepEqual(doubledNames(names), ['a/lock.ts, b/lock.ts', 'a/secret.ts, b/secrets.ts']);
});

test('every imported package is a dependency of the project', t => {
	const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
		'dependencies' | 'devDependencies',
		Record<string, string>
	>;
	const isShipped = ({path}: Source) => !isTest(path) && !path.startsWith('test/');
	const wrong = sources.flatMap(source =>
		source.packages
			.filter(name => !name.startsWith('node:'))
			.map(name =>
				name
					.split('/')
					.slice(0, name.startsWith('@') ? 2 : 1)
					.join('/'),
			)
			.filter(
				name => !(name in manifest.dependencies || (!isShipped(source) && name in manifest.devDependencies)),
			)
			.map(name =>
				builtinModules.includes(name) ? `${source.path}: write node:${name}` : `${source.path} imports ${name}`,
			),
	);
	t.deepEqual(wrong, []);
});

test('shared memory stays in the transport and in what threads of one component share', t => {
	const wrong = sources
		.filter(
			({path}) =>
				!path.startsWith('runtime/transport/') &&
				path !== 'runtime/sdk/shared-work.ts' &&
				path !== 'test/tidy.test.ts' &&
				// What it measures is what waking by shared memory costs.
				!path.startsWith('test/bench/wake-up') &&
				!isTest(path),
		)
		.filter(({code}) => /\b(?:SharedArrayBuffer|Atomics)\b/.test(code))
		.map(({path}) => path);
	t.deepEqual(wrong, []);
});

test('one component has threads of its own and shares memory with them', t => {
	const users = sources
		.filter(({path, imports}) => !isTest(path) && imports.includes('runtime/sdk/shared-work.ts'))
		.map(({path}) => dirname(path));
	t.deepEqual([...new Set(users)], ['components/crypto_offload']);
});

test('the contracts hold nothing that runs', t => {
	const contracts = sources.filter(({path}) => path.startsWith('components/sessions/'));
	t.deepEqual(
		contracts.filter(({code}) => /\b(?:class|async|await|new Map|new Set)\b/.test(code)).map(({path}) => path),
		[],
	);
	t.deepEqual([...new Set(contracts.flatMap(({packages}) => packages))], ['zod']);
	t.deepEqual(
		[
			...new Set(
				contracts.flatMap(({imports}) => imports).filter(path => !path.startsWith('components/sessions/')),
			),
		],
		['runtime/sdk/session.ts'],
	);
});

/** Positions of the keyword `any` used as a type. */
function anyLines(source: Source): number[] {
	const file = ts.createSourceFile(source.path, source.text, ts.ScriptTarget.ES2023);
	const lines: number[] = [];
	const visit = (node: ts.Node) => {
		if (node.kind === ts.SyntaxKind.AnyKeyword) {
			lines.push(file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1);
		}

		ts.forEachChild(node, visit);
	};

	visit(file);
	return lines;
}

test('nothing has the type any', t => {
	t.deepEqual(
		sources.flatMap(source => anyLines(source).map(line => `${source.path}:${line}`)),
		[],
	);
});

test('files have one noun in kebab-case, component folders are in snake_case', t => {
	const wrongFiles = sources
		.map(({path}) => path)
		.filter(path => {
			const name = path.split('/').at(-1) ?? '';
			return (
				!/^[a-z\d]+(?:-[a-z\d]+)*(?:\.test)?\.[jt]s$/.test(name) ||
				/(?:^|-)(?:utils?|helpers?|managers?|misc)(?:-|\.)/.test(name)
			);
		});
	t.deepEqual(wrongFiles, []);
	t.deepEqual(
		componentFolders.filter(name => !/^[a-z][a-z\d]*(?:_[a-z\d]+)*$/.test(name)),
		[],
	);
});

test('every component has its module and a README', t => {
	const missing = componentFolders.flatMap(name =>
		['component.ts', 'README.md']
			.map(file => join('components', name, file))
			.filter(path => !existsSync(join(root, path))),
	);
	t.deepEqual(missing, []);
});

test('every shelf has a README', t => {
	const shelfNames = readdirSync(join(root, 'components/lib'), {withFileTypes: true})
		.filter(entry => entry.isDirectory())
		.map(({name}) => join('lib', name));
	const folders = ['sessions', 'lib', ...shelfNames].map(name => join('components', name));
	t.deepEqual(
		folders.filter(folder => !existsSync(join(root, folder, 'README.md'))),
		[],
	);
});

test('nothing is left to do', t => {
	const marked = sources.filter(({path, text}) => path !== 'test/tidy.test.ts' && /\b(?:TODO|FIXME)\b/.test(text));
	t.deepEqual(
		marked.map(({path}) => path),
		[],
	);
});

/** All documents of the project. */
const documents = ['.', 'docs', 'components', 'runtime', 'test', 'config']
	.flatMap(folder =>
		readdirSync(join(root, folder), {recursive: folder !== '.', encoding: 'utf8'}).map(name => join(folder, name)),
	)
	.filter(path => path.endsWith('.md') && !path.includes('node_modules'));

test('words that only this project had do not come back', t => {
	const used = sources
		.filter(({path}) => path !== 'test/retired-words.ts' && path !== 'test/tidy.test.ts')
		.flatMap(({path, text, code}) => [
			...retiredNamesIn(code).map(use => `${path}, without comments, ${use}`),
			...retiredWordsIn(text).map(use => `${path}:${use}`),
			...retiredWordsIn(path).map(use => `${path}, its name: ${use}`),
		]);
	t.deepEqual(used, []);
	t.true(documents.length > 30);
	t.deepEqual(
		documents.flatMap(path => retiredWordsIn(readFileSync(join(root, path), 'utf8')).map(use => `${path}:${use}`)),
		[],
	);
});

test('a retired word is found as a name, in a comment and in a file name, and English is left alone', t => {
	t.deepEqual(retiredNamesIn('const a = 1;\nclass Turn { #gate = new Gate(); }'), ['2: Turn', '2: Gate']);
	t.deepEqual(retiredNamesIn("obey('tell them'); const turn = TurnTable;"), ['1: obey']);
	t.deepEqual(retiredWordsIn('// a securing\n// the Roster of it\n// rosters'), [
		'1: securing',
		'2: Roster',
		'3: roster',
	]);
	t.deepEqual(retiredWordsIn('securingCountMax + this.lastSecurings'), ['1: securing', '1: Securing']);
	t.deepEqual(retiredWordsIn('runtime/supervisor/roster.ts'), ['1: roster']);
});
