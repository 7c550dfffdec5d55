/** Rules of the source text that neither the compiler nor the linter knows. */
import {existsSync, readdirSync, readFileSync} from 'node:fs';
import {builtinModules} from 'node:module';
import {dirname, join, normalize} from 'node:path';
import {fileURLToPath} from 'node:url';
import test from 'ava';
import ts from 'typescript';

const root = fileURLToPath(new URL('../../', import.meta.url));

interface Source {
	/** Relative to the project's folder. */
	readonly path: string;
	readonly text: string;
	/** Names of the modules it imports, as written. */
	readonly imports: readonly string[];
	/** The text without comments, so that these may speak of anything. */
	readonly code: string;
}

function withoutComments(text: string): string {
	return ts.transpileModule(text, {compilerOptions: {removeComments: true, target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true}}).outputText;
}

function readSource(path: string): Source {
	const text = readFileSync(join(root, path), 'utf8');
	const imports = ts.preProcessFile(text, true, true).importedFiles.map(({fileName}) => fileName);
	return {path, text, imports, code: withoutComments(text)};
}

function sourcesIn(folder: string): Source[] {
	return readdirSync(join(root, folder), {recursive: true, encoding: 'utf8'})
		.filter(name => name.endsWith('.ts'))
		.map(name => readSource(join(folder, name)));
}

const sources = ['runtime', 'components', 'test'].flatMap(folder => sourcesIn(folder)).filter(({path}) => !path.includes('node_modules'));

/** Folders below components/ that are no components. */
const libraries = new Set(['sessions', 'container', 'front_end', 'libcrypto']);
const componentFolders = readdirSync(join(root, 'components'), {withFileTypes: true})
	.filter(entry => entry.isDirectory() && !libraries.has(entry.name))
	.map(entry => entry.name);

function isTest({path}: Source): boolean {
	return path.endsWith('.test.ts');
}

/** Where an import leads, relative to the project's folder; undefined for packages and builtins. */
function importedPath(source: Source, name: string): string | undefined {
	return name.startsWith('.') ? normalize(join(dirname(source.path), name)) : undefined;
}

/** What a component or a library below components/ may import, besides packages and builtins. */
function allowedFolders({path}: Source): string[] {
	const own = path.split('/').slice(0, 2).join('/');
	const shared = ['components/sessions/', 'components/container/', 'components/front_end/', 'components/libcrypto/', 'runtime/sdk/'];
	return [`${own}/`, ...shared];
}

test('components import their own folder, the contracts, the shared libraries and the SDK', t => {
	const wrong = sources.filter(source => source.path.startsWith('components/') && !isTest(source)).flatMap(source => source.imports
		.map(name => importedPath(source, name))
		.filter(path => path !== undefined && !allowedFolders(source).some(folder => path.startsWith(folder)))
		.map(path => `${source.path} imports ${path}`));
	t.deepEqual(wrong, []);
});

test('the runtime knows no component', t => {
	const wrong = sources.filter(source => source.path.startsWith('runtime/') && !isTest(source)).flatMap(source => source.imports
		.map(name => importedPath(source, name))
		.filter(path => path !== undefined && /^(?:components|test)\//.test(path))
		.map(path => `${source.path} imports ${path}`));
	t.deepEqual(wrong, []);
});

test('every imported package is a dependency of the project', t => {
	const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<'dependencies' | 'devDependencies', Record<string, string>>;
	const isShipped = (source: Source) => !isTest(source) && !source.path.startsWith('test/');
	const wrong = sources.flatMap(source => source.imports
		.filter(name => !name.startsWith('.') && !name.startsWith('node:'))
		.map(name => name.split('/').slice(0, name.startsWith('@') ? 2 : 1).join('/'))
		.filter(name => !(name in manifest.dependencies || (!isShipped(source) && name in manifest.devDependencies)))
		.map(name => builtinModules.includes(name) ? `${source.path}: write node:${name}` : `${source.path} imports ${name}`));
	t.deepEqual(wrong, []);
});

test('shared memory stays in the transport', t => {
	const wrong = sources
		.filter(source => !source.path.startsWith('runtime/transport/') && source.path !== 'test/tidy.test.ts' && !isTest(source))
		.filter(({code}) => /\b(?:SharedArrayBuffer|Atomics)\b/.test(code))
		.map(({path}) => path);
	t.deepEqual(wrong, []);
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
	t.deepEqual(sources.flatMap(source => anyLines(source).map(line => `${source.path}:${line}`)), []);
});

test('files have one noun in kebab-case, component folders are in snake_case', t => {
	const wrongFiles = sources.map(({path}) => path).filter(path => {
		const name = path.split('/').at(-1) ?? '';
		return !/^[a-z\d]+(?:-[a-z\d]+)*(?:\.test)?\.ts$/.test(name) || /(?:^|-)(?:utils?|helpers?|managers?|misc)(?:-|\.)/.test(name);
	});
	t.deepEqual(wrongFiles, []);
	t.deepEqual(componentFolders.filter(name => !/^[a-z][a-z\d]*(?:_[a-z\d]+)*$/.test(name)), []);
});

test('every component has its module and a README', t => {
	const missing = componentFolders.flatMap(name => ['component.ts', 'README.md']
		.map(file => join('components', name, file))
		.filter(path => !existsSync(join(root, path))));
	t.deepEqual(missing, []);
});

test('nothing is left to do', t => {
	const marked = sources.filter(({path, text}) => path !== 'test/tidy.test.ts' && /\b(?:TODO|FIXME)\b/.test(text));
	t.deepEqual(marked.map(({path}) => path), []);
});
