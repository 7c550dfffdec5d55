import test from 'ava';
import {isShared} from './arena.js';
import {LeasePool} from './lease-pool.js';

const mebibyte = 2 ** 20;

test('leases lie apart, in shared memory, and have the length asked for', t => {
	const pool = new LeasePool(mebibyte);
	const [first, second] = [pool.lease(5000), pool.lease(5000)];
	first.bytes.fill(1);
	second.bytes.fill(2);
	t.is(first.bytes.length, 5000);
	t.true(first.bytes.every(byte => byte === 1));
	t.true(isShared(first.bytes.subarray(10)));
	t.false(isShared(Buffer.alloc(10)));
	t.is(pool.usedBytes, 2 * 8192);
});

test('memory given back is used again, and only once', t => {
	const pool = new LeasePool(8192);
	const first = pool.lease(4096);
	first.release();
	first.release();
	t.is(pool.usedBytes, 0);
	const second = pool.lease(4096);
	t.is(second.bytes.byteOffset, first.bytes.byteOffset);
	t.not(pool.lease(4096).bytes.byteOffset, second.bytes.byteOffset);
	t.throws(() => pool.lease(1), {message: /exceed the component's share of 8192/});
});

test('sizes beyond the largest class are served exactly', t => {
	const pool = new LeasePool(49 * mebibyte);
	t.is(pool.lease(48 * mebibyte).bytes.length, 48 * mebibyte);
	t.is(pool.usedBytes, 48 * mebibyte);
});

test('memory of one size class serves another once it is free', t => {
	const pool = new LeasePool(4 * mebibyte);
	const small = Array.from({length: 1024}, () => pool.lease(4096));
	t.throws(() => pool.lease(mebibyte));
	for (const lease of small) {
		lease.release();
	}

	t.is(pool.lease(4 * mebibyte).bytes.length, 4 * mebibyte);
});

test('whoever waits is served in order, large requests included', async t => {
	const pool = new LeasePool(16_384);
	const held = pool.lease(8192);
	const order: string[] = [];
	const large = pool.leaseWhenFree(16_384).then(lease => {
		order.push('large');
		return lease;
	});
	const small = pool.leaseWhenFree(4096).then(lease => {
		order.push('small');
		return lease;
	});
	held.release();
	(await large).release();
	(await small).release();
	t.deepEqual(order, ['large', 'small']);
	t.is(pool.usedBytes, 0);
	await t.throwsAsync(pool.leaseWhenFree(16_385), {message: /whole share of 16384/});
});
