import {mkdirSync, renameSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {Worker} from 'node:worker_threads';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {DirectoryClaims} from './directory-claims.js';

/**
 * Patient enough for a program that another test of this process starts: until it runs it holds what this process held.
 */
function makeClaims(patienceMs = 300) {
	const log: string[] = [];
	return {claims: new DirectoryClaims({log: text => void log.push(text), patienceMs}), log};
}

test('a directory is held by one component until that gives it back', async t => {
	const path = temporaryDirectory();
	const [{claims: first, log}, {claims: second}] = [makeClaims(), makeClaims()];
	t.is(await first.claim(path), 'held');
	t.is(await first.claim(path), 'held');
	t.is(await second.claim(path), 'in_use');
	first.releaseAll();
	t.is(await second.claim(path), 'held');
	t.is(await first.claim(path), 'in_use');
	second.releaseAll();
	t.deepEqual(log, []);
});

test('what is not there can be claimed once it is', async t => {
	const path = join(temporaryDirectory(), 'later');
	const {claims} = makeClaims();
	t.is(await claims.claim(path), 'missing');
	mkdirSync(path);
	t.is(await claims.claim(path), 'held');
	t.is(await makeClaims().claims.claim(path), 'in_use');
	claims.releaseAll();
});

test('a directory that took the place of the claimed one is claimed instead', async t => {
	const path = join(temporaryDirectory(), 'directory');
	mkdirSync(path);
	const {claims} = makeClaims();
	t.is(await claims.claim(path), 'held');
	renameSync(path, `${path}.old`);
	t.is(await claims.claim(path), 'missing');
	mkdirSync(path);
	t.is(await claims.claim(path), 'held');
	t.is(await makeClaims().claims.claim(path), 'in_use');
	t.is(await makeClaims().claims.claim(`${path}.old`), 'held');
	claims.releaseAll();
});

test('who has just died is waited for', async t => {
	const path = temporaryDirectory();
	const [{claims: first}, {claims: second}] = [makeClaims(), makeClaims(60_000)];
	await first.claim(path);
	const claimed = second.claim(path);
	setTimeout(() => {
		first.releaseAll();
	}, 100);
	t.is(await claimed, 'held');
	second.releaseAll();
});

test('a thread that is ended by force leaves no claim behind', async t => {
	const path = temporaryDirectory();
	const program = `
		const {parentPort, workerData: {module, path}} = require('node:worker_threads');
		import(module).then(async ({DirectoryClaims}) => {
			globalThis.claims = new DirectoryClaims({log: () => undefined});
			parentPort.postMessage(await claims.claim(path));
		});
		setInterval(() => undefined, 1000);`;
	const worker = new Worker(program, {
		eval: true,
		workerData: {module: new URL('directory-claims.js', import.meta.url).href, path},
	});
	t.is(
		await new Promise(resolve => {
			worker.once('message', resolve);
		}),
		'held',
	);
	const {claims} = makeClaims();
	t.is(await claims.claim(path), 'in_use');
	await worker.terminate();
	t.is(await claims.claim(path), 'held');
	claims.releaseAll();
});

test('a file in its place is nothing that others could use', async t => {
	const path = join(temporaryDirectory(), 'file');
	writeFileSync(path, '');
	const {claims, log} = makeClaims();
	t.is(await claims.claim(path), 'held');
	t.deepEqual(log, []);
});

test('what cannot be opened is used without a lock, and the log tells', async t => {
	const path = join(temporaryDirectory(), 'loop');
	symlinkSync(path, path);
	const {claims, log} = makeClaims();
	t.is(await claims.claim(path), 'held');
	t.regex(
		log.join('\n'),
		new RegExp(
			`the directory ${path} cannot be locked: ELOOP.*It is used all the same; see to it that nothing else uses it`,
		),
	);
});
