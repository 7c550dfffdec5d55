import test from 'ava';
import {connectLocal} from '../../runtime/transport/local.js';
import {TestEnvironment} from '../../test/support/test-environment.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {PartialBlockBuffers} from '../lib/front_end/byte-device.js';
import {allocationKinds} from '../sessions/allocation.js';
import {block, blockSize} from '../sessions/block.js';
import {deviceFile} from './data-file.js';

const {data, hole} = allocationKinds;

/** A device of 100 blocks of which 10 to 19 hold data, and whose answers are about seven blocks at most. */
async function sparseFile() {
	const medium = new MemoryMedium(Buffer.alloc(100 * blockSize));
	medium.image.fill(1, 10 * blockSize, 20 * blockSize);
	const {handlers} = medium;
	const client = connectLocal(
		block,
		{
			...handlers,
			allocation: (range, context) => handlers.allocation({...range, count: Math.min(7, range.count)}, context),
		},
		{
			context: {session: 1, client: 'vfs'},
			onBug(error) {
				throw error;
			},
		},
	);
	return deviceFile(client, new PartialBlockBuffers(new TestEnvironment()), false, {epoch: 0, isOver: false});
}

test('data and holes are found from any byte on', async t => {
	const file = await sparseFile();
	t.is(await file.seek(0, data), 10 * blockSize);
	t.is(await file.seek(0, hole), 0);
	t.is(await file.seek(5, hole), 5);
	t.is(await file.seek(10 * blockSize - 1, data), 10 * blockSize);
	t.is(await file.seek(12 * blockSize + 7, data), 12 * blockSize + 7);
	t.is(await file.seek(12 * blockSize + 7, hole), 20 * blockSize);
	await file.write(99 * blockSize, Buffer.alloc(blockSize, 2));
	t.is(await file.seek(20 * blockSize, data), 99 * blockSize);
	t.is(await file.seek(99 * blockSize, hole), 100 * blockSize, 'the end is a hole');
});

test('where nothing of the kind comes, there is none', async t => {
	const file = await sparseFile();
	for (const [offset, kind] of [
		[20 * blockSize, data],
		[100 * blockSize, data],
		[100 * blockSize, hole],
		[2 ** 50, hole],
	]) {
		await t.throwsAsync(file.seek(offset, kind), {code: 'ENXIO'}, `${offset} ${kind}`);
	}
});
