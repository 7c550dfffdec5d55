import test from 'ava';
import {ResourcePool} from './resource-pool.js';

const turn = async () =>
	new Promise<void>(resolve => {
		setImmediate(resolve);
	});

test('no resource is used by two jobs at once, and jobs that wait are served in their order', async t => {
	const pool = new ResourcePool(['a', 'b']);
	const inUse = new Set<string>();
	const begun: number[] = [];
	const jobs = Array.from({length: 12}, async (_, i) =>
		pool.use(async resource => {
			t.false(inUse.has(resource));
			inUse.add(resource);
			begun.push(i);
			await turn();
			inUse.delete(resource);
			return i;
		}),
	);
	t.true(pool.isAwaited);
	t.deepEqual(await Promise.all(jobs), begun);
	t.false(pool.isAwaited);
});

test('who comes while a resource is handed to one that waits does not get it as well', async t => {
	const pool = new ResourcePool([1]);
	let useCount = 0;
	let useCountMax = 0;
	const job = async () => {
		useCountMax = Math.max(useCountMax, ++useCount);
		await turn();
		useCount--;
	};
	const first = pool.use(job);
	const second = pool.use(job);
	// In the very turn in which the first one gives it back.
	const third = first.then(async () => pool.use(job));
	await Promise.all([first, second, third]);
	t.is(useCountMax, 1);
});

test('a job that fails gives its resource back', async t => {
	const pool = new ResourcePool([1]);
	await t.throwsAsync(
		pool.use(async () => {
			throw new Error('on purpose');
		}),
	);
	t.is(await pool.use(async resource => resource), 1);
});
