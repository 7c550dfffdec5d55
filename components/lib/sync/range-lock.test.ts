import test from 'ava';
import {RangeLock, type LockedRange} from './range-lock.js';

/** Which of the held ranges may go on, as a list of their indices. */
function going(held: readonly LockedRange[]): number[] {
	return held.flatMap((holder, index) => (holder.waitCount === 0 ? [index] : []));
}

test('whole-block writes never wait for each other', t => {
	const lock = new RangeLock();
	t.deepEqual(going([lock.take(0, 4, false), lock.take(2, 6, false), lock.take(0, 4, false)]), [0, 1, 2]);
});

test('a partial write waits for every earlier write of its block, and later ones for it', t => {
	const lock = new RangeLock();
	const held = [
		lock.take(0, 4, false),
		lock.take(3, 4, true),
		lock.take(3, 5, false),
		lock.take(5, 6, true),
		lock.take(3, 4, true),
	];
	t.deepEqual(going(held), [0, 3]);
	lock.release(held[0]);
	t.deepEqual(going(held.slice(1)), [0, 2]);
	lock.release(held[1]);
	t.deepEqual(going([held[2], held[4]]), [0]);
	lock.release(held[2]);
	t.deepEqual(going([held[4]]), [0]);
});

test('ready resolves when the last one in the way has gone', async t => {
	const lock = new RangeLock();
	const earlier = [lock.take(0, 2, false), lock.take(1, 3, false)];
	const partial = lock.take(1, 2, true);
	let isReady = false;
	const ready = lock.ready(partial).then(() => {
		isReady = true;
	});
	lock.release(earlier[0]);
	await Promise.resolve();
	t.false(isReady);
	lock.release(earlier[1]);
	await ready;
	t.true(isReady);
});
