import test from 'ava';
import {startComponent} from '../../test/support/component-stand.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {connectLocal} from '../../runtime/transport/local.js';
import {block, blockSize} from '../sessions/block.js';
import blockTrace from './component.js';
import {summarizeExtents} from './extent-summary.js';

async function traced(every: string) {
	const medium = new MemoryMedium(Buffer.alloc(64 * blockSize));
	const backend = connectLocal(block, medium.handlers, {
		context: {session: 1, client: 'trace'},
		onBug: () => undefined,
	});
	let nowMs = 0;
	// Each look at the clock is 2 ms later.
	const stand = await startComponent(blockTrace, {
		config: {every},
		sessions: {backend},
		environment: {now: () => (nowMs += 2)},
	});
	return {stand, device: stand.client(block)};
}

test('each request is one line with place, size, time and failure', async t => {
	const {stand, device} = await traced('1');
	await device.write({extents: [17, 4, 40, 1], data: Buffer.alloc(5 * blockSize)});
	await device.sync({});
	await t.throwsAsync(device.read({extents: [64, 1], data: Buffer.alloc(blockSize)}), {code: 'out_of_range'});
	const [write, sync, read] = stand.log.map(({text}) => text);
	t.is(write, 'write 5 blocks at 17+4, 40 in 2.000 ms');
	t.is(sync, 'sync in 2.000 ms');
	t.regex(read, /^read 1 block at 64 in 2\.000 ms: .+/);
	t.like(stand.running.status!(), {write_count: 1, read_failed_count: 1, sync_mean_ms: 2, write_max_ms: 2});
});

test('every="N" logs each Nth request, every="0" none, and both count all', async t => {
	for (const [every, lineCount] of [
		['3', 2],
		['0', 0],
	] as const) {
		const {stand, device} = await traced(every);
		for (let i = 0; i < 7; i++) {
			await device.sync({});
		}

		t.is(stand.log.length, lineCount);
		t.is(stand.running.status!().sync_count, 7);
	}
});

test('long lists of extents are cut', t => {
	t.is(summarizeExtents([1, 1, 3, 1, 5, 1, 7, 1, 9, 2, 12, 1]), '7 blocks at 1, 3, 5, 7 and 2 more extents');
});
