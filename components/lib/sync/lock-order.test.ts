import {readFileSync} from 'node:fs';
import {setImmediate} from 'node:timers/promises';
import test from 'ava';
import {lockOrder, lockWatch, LockOrderError, watchLockOrder} from './lock-order.js';
import {Mutex} from './mutex.js';
import {RangeLock} from './range-lock.js';
import {ReadWriteLock} from './read-write-lock.js';

test.serial('nobody watches until it is asked for', t => {
	t.is(lockWatch, undefined);
	const watch = watchLockOrder();
	t.is(lockWatch, watch);
	t.is(watchLockOrder(), watch);
});

test.serial('locks that are taken from the outermost to the innermost pass', async t => {
	const watch = watchLockOrder();
	const trees = new ReadWriteLock('trees');
	const pool = new Mutex('pool');
	t.is(await trees.exclusively(async () => pool.run(async () => 'done')), 'done');
	t.true(watch.pairs.get('trees > pool')! > 0);
	t.deepEqual(watch.violations, []);
});

/** Ways to take the lock of the trees. */
const waysToTrees: Readonly<Record<string, (lock: ReadWriteLock) => unknown>> = {
	'at once': lock => lock.tryLockShared(),
	shared: async lock => lock.lockShared(),
	'for itself': async lock => lock.lockExclusive(),
	'for a job': async lock => lock.exclusively(async () => undefined),
};

for (const [way, take] of Object.entries(waysToTrees)) {
	test.serial(`a wrong order is found: the lock of the trees ${way}, by who holds the pool`, async t => {
		const watch = watchLockOrder();
		const before = watch.violations.length;
		const pool = new Mutex('pool');
		const trees = new ReadWriteLock('trees');
		await t.throwsAsync(
			pool.run(async () => take(trees)),
			{instanceOf: LockOrderError, message: '"trees" is asked for by who holds "pool"'},
		);
		// The lock was not taken, and the mutex was given back.
		t.false(trees.isClosed);
		t.is(await trees.exclusively(async () => 'free'), 'free');
		t.is(await pool.run(async () => 'free'), 'free');
		t.is(watch.violations.length, before + 1);
	});
}

test.serial('who waits for jobs of a mutex, takes it twice or takes a range inside is found', async t => {
	watchLockOrder();
	const pool = new Mutex('pool');
	const other = new Mutex('pool');
	const ranges = new RangeLock();
	const isFound = {instanceOf: LockOrderError};
	await t.throwsAsync(
		pool.run(async () => pool.idle()),
		isFound,
	);
	await t.throwsAsync(
		pool.run(async () => pool.run(async () => undefined)),
		isFound,
	);
	await t.throwsAsync(
		pool.run(async () => other.lock()),
		isFound,
	);
	await t.throwsAsync(
		pool.run(async () => ranges.take(0, 1, true)),
		isFound,
	);
});

test.serial('an error that somebody catches is remembered', async t => {
	const watch = watchLockOrder();
	const before = watch.violations.length;
	await new Mutex('pool').run(async () => new Mutex('placement').run(async () => undefined).catch(() => undefined));
	t.deepEqual(watch.violations.slice(before), ['"placement" is asked for by who holds "pool"']);
});

test.serial('jobs side by side, and those that outlive the holder, are no holders', async t => {
	const watch = watchLockOrder();
	const before = watch.violations.length;
	const pool = new Mutex('pool');
	const trees = new Mutex('placement');
	await Promise.all([pool.run(async () => setImmediate()), trees.run(async () => setImmediate())]);
	let later: Promise<string> | undefined;
	await pool.run(async () => {
		later = setImmediate().then(async () => trees.run(async () => 'later'));
	});
	t.is(await later, 'later');
	t.is(await pool.run(async () => watch.apart(async () => trees.run(async () => 'apart'))), 'apart');
	t.deepEqual(watch.violations.slice(before), []);
});

test.serial('a lock that is held by hand is held for what runs meanwhile', async t => {
	const watch = watchLockOrder();
	const trees = new ReadWriteLock('trees');
	await trees.lockShared();
	await t.throwsAsync(
		watch.holding('trees', async () => new Mutex('container').run(async () => undefined)),
		{message: '"container" is asked for by who holds "trees"'},
	);
	trees.unlockShared();
});

test('the page about locks has the same order', t => {
	const page = readFileSync(new URL('../../../../docs/locking.md', import.meta.url), 'utf8');
	const [, list] = page.split('## The order\n');
	t.deepEqual(
		[...list.split('\n## ', 1)[0].matchAll(/^\d+\. `([^`]+)`/gm)].map(([, name]) => name),
		[...lockOrder],
	);
});
