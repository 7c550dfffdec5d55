import test from 'ava';
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import type {freeTree} from '../sessions/free-tree.js';
import type {Device} from './device.js';
import {PlaceStock} from './place-stock.js';

const keyId = 7;

/** A free tree that hands out consecutive places, and writes down what it is told. */
function stand() {
	const state = {
		next: 1000,
		/** Places that it still has. */
		room: Number.POSITIVE_INFINITY,
		failure: undefined as SessionError | undefined,
		asked: [] as number[],
		booked: [] as number[][],
		restored: [] as Array<{leaves: readonly number[]; isNext: boolean}>,
		exchanges: 0,
		failures: [] as string[],
	};
	const take = (count: number) => {
		const addresses = Array.from({length: count}, (_, i) => state.next + i);
		state.next += count;
		state.room -= count;
		return {addresses, leaves: addresses.map(address => address - 1000)};
	};
	const orFail = () => {
		if (state.failure) {
			throw state.failure;
		}
	};

	const pool: Partial<Client<typeof freeTree>> = {
		async take_ahead({count}) {
			orFail();
			state.asked.push(count);
			return take(Math.min(count, state.room));
		},
		async book({items, leaves}) {
			orFail();
			for (const [i, leaf] of leaves.entries()) {
				state.booked.push([leaf, ...items.slice(i * 5, i * 5 + 5)]);
			}

			return {};
		},
		async restore({leaves, isNext = false}) {
			state.restored.push({leaves, isNext});
			state.room += leaves.length;
			return {};
		},
		async exchange({items}) {
			state.exchanges++;
			const count = items.length / 3;
			if (count > state.room) {
				throw new SessionError('no_space', 'the pool is empty');
			}

			return take(count);
		},
	};
	const device = {
		servers: {free_tree: pool},
		env: {
			fail(reason: string) {
				state.failures.push(reason);
			},
		},
	} as unknown as Device;
	return {state, stock: new PlaceStock(device)};
}

/** Replaced blocks, as a plan names them. */
function items(count: number, first = 1): number[] {
	return Array.from({length: count}, (_, i) => [first + i, 3, i]).flat();
}

async function settle(): Promise<void> {
	await new Promise(resolve => {
		setImmediate(resolve);
	});
}

async function filled() {
	const made = stand();
	made.stock.take(items(1), keyId);
	await settle();
	return made;
}

test('an empty stock gives nothing, and is filled meanwhile', async t => {
	const {state, stock} = stand();
	t.is(stock.take(items(1), keyId), undefined);
	t.is(stock.take(items(1), keyId), undefined);
	await settle();
	t.deepEqual(state.asked, [16]);
	t.is(stock.count, 16);
	t.deepEqual(stock.take(items(2), keyId), {addresses: [1000, 1001], leaves: [0, 1]});
	t.deepEqual(stock.take(items(1), keyId), {addresses: [1002], leaves: [2]});
	t.is(stock.count, 13);
	t.is(state.exchanges, 0);
});

test('a batch gets all of its places or none', async t => {
	const {stock} = await filled();
	t.is(stock.take(items(17), keyId), undefined);
	t.is(stock.count, 16);
	t.is(stock.take(items(16), keyId)?.leaves.length, 16);
});

test('a large batch leaves the stock alone', async t => {
	const {state, stock} = stand();
	t.is(stock.take(items(200), keyId), undefined);
	await settle();
	t.deepEqual(state.asked, []);
});

test('what was replaced is booked together, once, with its key', async t => {
	const {state, stock} = await filled();
	stock.take(items(2, 50), keyId);
	stock.take(items(1, 60), keyId + 1);
	t.deepEqual(state.booked, []);
	await stock.book();
	t.deepEqual(state.booked, [
		[0, 1000, 50, 3, 0, keyId],
		[1, 1001, 51, 3, 1, keyId],
		[2, 1002, 60, 3, 0, keyId + 1],
	]);
	await stock.book();
	t.is(state.booked.length, 3);
});

test('the stock is filled before it is empty, larger each time, up to a bound', async t => {
	const {state, stock} = await filled();
	for (let write = 0; write < 2000; write++) {
		t.not(stock.take(items(1), keyId), undefined);
		await settle();
	}

	t.is(state.exchanges, 0);
	t.true(Math.max(...state.asked) <= 256);
	t.true(state.asked.length < 30, `${state.asked.length} fillings`);
	t.true(state.booked.length >= 2000 - 256);
});

test('a booking that failed is made again', async t => {
	const {state, stock} = await filled();
	stock.take(items(2), keyId);
	state.failure = new SessionError('device_failed', 'the medium failed');
	await t.throwsAsync(stock.book(), {code: 'device_failed'});
	await t.throwsAsync(stock.giveBack(), {code: 'device_failed'});
	state.failure = undefined;
	await stock.book();
	t.deepEqual(
		state.booked.map(([leaf]) => leaf),
		[0, 1],
	);
});

test('what is given back was not used, and what was used is booked first', async t => {
	const {state, stock} = await filled();
	stock.take(items(4), keyId);
	t.true(await stock.giveBack());
	t.is(state.booked.length, 4);
	t.deepEqual(state.restored, [{leaves: Array.from({length: 12}, (_, i) => 4 + i), isNext: true}]);
	t.is(stock.count, 0);
	t.false(await stock.giveBack());
	t.is(state.restored.length, 1);
});

test('an exchange that finds no room gets what the stock has', async t => {
	const {state, stock} = await filled();
	state.room = 5;
	t.is((await stock.exchange(items(20), keyId, {relief: false})).leaves.length, 20);
	t.is(stock.count, 0);
	state.room = 0;
	await t.throwsAsync(stock.exchange(items(1), keyId, {relief: false}), {code: 'no_space'});
});

test('a place that was used in vain goes back, and is not booked', async t => {
	const {state, stock} = await filled();
	const places = stock.take(items(3), keyId)!;
	await stock.undo({addresses: places.addresses.slice(0, 1), leaves: places.leaves.slice(0, 1)});
	await stock.book();
	t.deepEqual(state.restored, [{leaves: [0], isNext: false}]);
	t.deepEqual(
		state.booked.map(([leaf]) => leaf),
		[1, 2],
	);
});

test('a pool that is short, or fails, is asked again once a state was stored', async t => {
	for (const makeShort of [
		(state: ReturnType<typeof stand>['state']) => {
			state.room = 3;
		},
		(state: ReturnType<typeof stand>['state']) => {
			state.failure = new SessionError('integrity', 'a block of the pool is damaged');
		},
	]) {
		const {state, stock} = stand();
		makeShort(state);
		for (let write = 0; write < 5; write++) {
			stock.take(items(4), keyId);
			await settle();
		}

		t.true(state.asked.length <= 1);
		state.room = 1000;
		state.failure = undefined;
		await stock.giveBack();
		stock.noteStored();
		stock.take(items(4), keyId);
		await settle();
		t.is(stock.count, 16);
		t.deepEqual(state.failures, []);
	}
});

test('forgetting waits for a filling, and forgets it too', async t => {
	const {state, stock} = await filled();
	stock.take(items(12), keyId);
	await stock.forget();
	t.is(state.asked.length, 2);
	t.is(stock.count, 0);
	state.booked.length = 0;
	await stock.book();
	t.deepEqual(state.booked, []);
	t.deepEqual(state.restored, []);
});
