/** The files that are made of the vocabulary of deployment files. */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {schemaText, wordsTable} from '../../runtime/deployment/published-words.js';
import {projectFolder} from './runtime-process.js';

const tableHead = '| element | attribute | meaning |\n';

/** A document with the table anew: from its head to the first line that is no row. */
function withTable(document: string): string {
	const start = document.indexOf(tableHead);
	const after = document.slice(start).search(/^(?!\|)/m);
	if (start === -1 || after === -1) {
		throw new Error('there is no table of words to replace');
	}

	return document.slice(0, start) + wordsTable() + document.slice(start + after);
}

const readme = 'runtime/deployment/README.md';

/** What each file has to hold, by its path in the project. */
export function publishedFiles(): ReadonlyMap<string, string> {
	return new Map([
		['config/deploy.xsd', schemaText()],
		[readme, withTable(readFileSync(join(projectFolder, readme), 'utf8'))],
	]);
}

/** Writes those that differ; their paths. */
export function publishWords(): string[] {
	const stale = [...publishedFiles()].filter(
		([path, text]) => readFileSync(join(projectFolder, path), 'utf8') !== text,
	);
	for (const [path, text] of stale) {
		writeFileSync(join(projectFolder, path), text);
	}

	return stale.map(([path]) => path);
}
