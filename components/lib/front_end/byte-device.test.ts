import test from 'ava';
import {blockSize} from '../../sessions/block.js';
import {TestEnvironment} from '../../../test/support/test-environment.js';
import {ByteDevice, PartialBlockBuffers} from './byte-device.js';

/** A device in memory that counts the blocks it was asked to clear. */
function memoryDevice(blockCount: number) {
	const image = Buffer.alloc(blockCount * blockSize, 0xff);
	const cleared: number[] = [];
	const at = (
		{extents, data}: {extents: number[]; data: Uint8Array},
		move: (image: Buffer, data: Uint8Array) => void,
	) => {
		let offset = 0;
		for (let i = 0; i < extents.length; i += 2) {
			const length = extents[i + 1] * blockSize;
			move(
				image.subarray(extents[i] * blockSize, extents[i] * blockSize + length),
				data.subarray(offset, offset + length),
			);
			offset += length;
		}
	};
	const device = new ByteDevice(
		{
			read: async request => at(request, (from, to) => to.set(from)),
			write: async request => at(request, (to, from) => to.set(from)),
			clear: async ({extents}) => {
				cleared.push(...extents);
				image.fill(0, extents[0] * blockSize, (extents[0] + extents[1]) * blockSize);
			},
		},
		new PartialBlockBuffers(new TestEnvironment()),
	);
	return {device, image, cleared};
}

for (const [offset, length] of [
	[0, 8192],
	[1, 8191],
	[100, 50],
	[4095, 2],
	[5000, 20_000],
	[4096, 4097],
]) {
	test(`zeroing ${length} bytes at ${offset} changes these and no others`, async t => {
		const {device, image, cleared} = memoryDevice(8);
		const expected = Buffer.alloc(image.length, 0xff).fill(0, offset, offset + length);
		await device.zero(offset, length);
		t.true(image.equals(expected));
		const whole = Math.max(0, Math.floor((offset + length) / blockSize) - Math.ceil(offset / blockSize));
		t.is(cleared[1] ?? 0, whole, 'whole blocks are cleared, not written');
	});
}

test('reads and writes of any alignment', async t => {
	const {device, image} = memoryDevice(8);
	await device.write(4000, Buffer.alloc(9000, 7));
	t.true(image.equals(Buffer.alloc(image.length, 0xff).fill(7, 4000, 13_000)));
	const data = Buffer.alloc(9002);
	await device.read(3999, data);
	t.true(data.equals(Buffer.concat([Buffer.of(0xff), Buffer.alloc(9000, 7), Buffer.of(0xff)])));
});
