import test from 'ava';
import {startComponent} from '../../test/support/component-stand.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {connectLocal} from '../../runtime/transport/local.js';
import {block, blockSize} from '../sessions/block.js';
import blockFault from './component.js';

async function faulty(config: Readonly<Record<string, string>>, environment = {}) {
	const medium = new MemoryMedium(Buffer.alloc(8 * blockSize));
	const backend = connectLocal(block, medium.handlers, {
		context: {session: 1, client: 'fault'},
		onBug: () => undefined,
	});
	const stand = await startComponent(blockFault, {config, sessions: {backend}, environment});
	return {medium, stand, device: stand.client(block)};
}

const request = () => ({extents: [0, 1], data: Buffer.alloc(blockSize, 7)});

test('error strikes every Nth request of one operation, after some, a number of times', async t => {
	const {stand, device} = await faulty({
		action: 'error',
		operation: 'write',
		fail_every: '2',
		after: '3',
		times: '2',
	});
	const outcomes: string[] = [];
	for (let i = 0; i < 11; i++) {
		await device.read(request());
		outcomes.push(
			await device.write(request()).then(
				() => '.',
				() => 'X',
			),
		);
	}

	t.is(outcomes.join(''), '....X.X....');
	t.deepEqual(stand.running.status!(), {faults: 2});
});

test('a failed request does not reach the backend', async t => {
	const {medium, device} = await faulty({action: 'error'});
	await t.throwsAsync(device.write(request()), {code: 'device_failed'});
	t.is(medium.image[0], 0);
});

test('a write may fail after a part of it was written, and for want of room', async t => {
	const {medium, device} = await faulty({action: 'error', operation: 'write', code: 'no_space', written: '6K'});
	await t.throwsAsync(device.write({extents: [5, 1, 2, 3], data: Buffer.alloc(4 * blockSize, 7)}), {
		code: 'no_space',
	});
	const expected = Buffer.alloc(8 * blockSize)
		.fill(7, 5 * blockSize, 6 * blockSize)
		.fill(7, 2 * blockSize, 2 * blockSize + 2048);
	t.true(medium.image.equals(expected));
	await t.throwsAsync(faulty({action: 'corrupt', written: '1K'}), {message: /needs action=/});
});

test("corrupt changes what is read, and what gets written but not the client's buffer", async t => {
	const reading = await faulty({action: 'corrupt', operation: 'read'});
	await reading.device.write(request());
	const data = Buffer.alloc(blockSize);
	await reading.device.read({extents: [0, 1], data});
	t.notDeepEqual(data, request().data);
	t.deepEqual(reading.medium.image.subarray(0, blockSize), request().data);

	const writing = await faulty({action: 'corrupt', operation: 'write'});
	const written = request();
	await writing.device.write(written);
	t.deepEqual(written.data, request().data);
	t.notDeepEqual(writing.medium.image.subarray(0, blockSize), request().data);
});

test('delay waits as long as it says, then serves', async t => {
	const slept: number[] = [];
	const {medium, device} = await faulty(
		{action: 'delay', delay_ms: '250'},
		{sleep: async (milliseconds: number) => void slept.push(milliseconds)},
	);
	await device.write(request());
	t.deepEqual(slept, [250]);
	t.is(medium.image[0], 7);
});

test('throw is a bug, not an answer', async t => {
	const {stand, device} = await faulty({action: 'throw'});
	await t.throwsAsync(device.sync({}), {code: 'session_lost'});
	t.is((stand.bugs[0] as Error).message, 'a fault on purpose');
});
