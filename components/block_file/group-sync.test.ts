import test from 'ava';
import {GroupSync} from './group-sync.js';

test('requests share a run that has not started, never one that has', async t => {
	const ends: Array<() => void> = [];
	const group = new GroupSync(
		async () =>
			new Promise<void>(resolve => {
				ends.push(resolve);
			}),
	);
	const turns = async () =>
		new Promise(resolve => {
			setImmediate(resolve);
		});
	const first = group.request();
	await turns();
	const later = [group.request(), group.request(), group.request()];
	await turns();
	t.is(ends.length, 1);
	ends[0]();
	await first;
	await turns();
	t.is(ends.length, 2);
	ends[1]();
	await Promise.all(later);
	await group.idle();
	t.is(ends.length, 2);
});

test('a failed run fails those who asked for it and nobody else', async t => {
	let runCount = 0;
	const group = new GroupSync(async () => {
		runCount++;
		if (runCount === 1) {
			throw new Error('first');
		}
	});
	const first = group.request();
	await t.throwsAsync(first, {message: 'first'});
	await t.notThrowsAsync(group.request());
	await group.idle();
});
