/** Links of documents lead to what is there, every page is reached, and the glossary speaks of names that exist. */
import {existsSync, readdirSync, readFileSync} from 'node:fs';
import {dirname, join, normalize} from 'node:path';
import {fileURLToPath} from 'node:url';
import test from 'ava';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Folders of what is built, installed or kept while something runs, and what Git keeps. */
const passedOver = new Set(['node_modules', 'dist', 'var', 'vm', 'coverage', '.git', '.cache']);

/** Files below a folder whose names end so, relative to the project's folder. */
function listed(folder: string, end: string): string[] {
	return readdirSync(join(root, folder), {withFileTypes: true}).flatMap(entry => {
		const path = join(folder, entry.name);
		return entry.isDirectory()
			? passedOver.has(entry.name)
				? []
				: listed(path, end)
			: entry.name.endsWith(end)
				? [path]
				: [];
	});
}

const documents = listed('', '.md');

/** Without blocks of code, in which nothing is a link or a heading; lines keep their numbers. */
function prose(text: string): string {
	return text.replaceAll(/^```[^]*?^```$/gm, block => block.replaceAll(/[^\n]/g, ''));
}

/** What a heading is called in an address, as Git hosts make it of its text. */
function anchorOf(heading: string): string {
	return heading
		.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
		.trim()
		.toLowerCase()
		.replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
		.replaceAll(/\s/g, '-');
}

function anchorsOf(text: string): Set<string> {
	const anchors = new Set<string>();
	for (const [, heading] of prose(text).matchAll(/^#{1,6} (.*)$/gm)) {
		const anchor = anchorOf(heading);
		let unique = anchor;
		for (let count = 1; anchors.has(unique); count++) {
			unique = `${anchor}-${count}`;
		}

		anchors.add(unique);
	}

	return anchors;
}

const anchors = new Map(documents.map(path => [path, anchorsOf(readFileSync(join(root, path), 'utf8'))]));

interface Link {
	readonly line: number;
	readonly target: string;
}

function linksOf(text: string): Link[] {
	return prose(text)
		.split('\n')
		.flatMap((line, index) => {
			const bare = line.replaceAll(/`[^`]*`/g, code => ' '.repeat(code.length));
			return [...bare.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => ({line: index + 1, target}));
		});
}

/** Why a link of a document leads nowhere; undefined where it leads somewhere. */
function whyDead(document: string, target: string): string | undefined {
	if (/^[a-z]+:/.test(target)) {
		return undefined;
	}

	const [path, anchor] = target.split('#', 2);
	const file = path === '' ? document : normalize(join(dirname(document), path));
	if (file.startsWith('..') || !existsSync(join(root, file))) {
		return `there is no ${file}`;
	}

	if (anchor === undefined) {
		return undefined;
	}

	const known = anchors.get(file);
	return known?.has(anchor) ? undefined : `${file} has no heading "${anchor}"`;
}

test('anchors are made of headings as Git hosts make them', t => {
	t.deepEqual(
		[...anchorsOf('# A *b* `c_d`, e: F-g\n\n```sh\n# no heading\n```\n\n## Twice\n## Twice\n## [Link](x.md) here')],
		['a-b-c_d-e-f-g', 'twice', 'twice-1', 'link-here'],
	);
});

test('dead links are found, and what is code is no link', t => {
	t.deepEqual(linksOf('a [b](c.md#d) and `[e](f)`\n```\n[g](h)\n```\n[i](#j)'), [
		{line: 1, target: 'c.md#d'},
		{line: 5, target: '#j'},
	]);
	t.regex(whyDead('docs/tour.md', '../nothing.md') ?? '', /there is no nothing\.md/);
	t.regex(whyDead('docs/tour.md', '../../elsewhere.md') ?? '', /there is no/);
	t.regex(whyDead('docs/tour.md', '../README.md#nothing') ?? '', /has no heading/);
	t.is(whyDead('docs/tour.md', '../README.md#start'), undefined);
	t.is(whyDead('docs/tour.md', 'https://example.org/x#y'), undefined);
});

test('every link of every document leads to a file or a heading that is there', t => {
	const dead = documents.flatMap(document =>
		linksOf(readFileSync(join(root, document), 'utf8')).flatMap(({line, target}) => {
			const why = whyDead(document, target);
			return why === undefined ? [] : [`${document}:${line}: ${target}: ${why}`];
		}),
	);
	t.deepEqual(dead, []);
	t.true(documents.length > 30);
});

test('every page of docs/ and every README is reached from README.md', t => {
	const reached = new Set<string>();
	const waiting = ['README.md'];
	for (let document = waiting.pop(); document !== undefined; document = waiting.pop()) {
		if (reached.has(document)) {
			continue;
		}

		reached.add(document);
		for (const {target} of linksOf(readFileSync(join(root, document), 'utf8'))) {
			const file = normalize(join(dirname(document), target.split('#', 1)[0]));
			if (documents.includes(file)) {
				waiting.push(file);
			}
		}
	}

	const isPage = (path: string) =>
		path.startsWith('docs/') || /^(?:components|runtime)\/.*README\.md$/.test(path) || !path.includes('/');
	t.deepEqual(
		documents.filter(path => isPage(path) && !reached.has(path)),
		[],
	);
});

test('README.md has at most 150 lines', t => {
	t.true(readFileSync(join(root, 'README.md'), 'utf8').split('\n').length <= 151);
});

test('the names that the glossary explains are names in the code', t => {
	const code = ['runtime', 'components']
		.flatMap(folder => listed(folder, '.ts'))
		.map(path => readFileSync(join(root, path), 'utf8'))
		.join('\n');
	const [, table] = readFileSync(join(root, 'docs/glossary.md'), 'utf8').split('## Names in the code\n');
	const names = [...table.matchAll(/^\|([^|]*)\|/gm)].flatMap(([, cell]) =>
		[...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name),
	);
	t.true(names.length > 0);
	t.deepEqual(
		names.filter(name => !new RegExp(`\\b(?:class|interface|type) ${name}\\b`).test(code)),
		[],
	);
});
