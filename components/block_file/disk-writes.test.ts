import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {blockSize} from '../sessions/block.js';
import {DiskWrites} from './disk-writes.js';

function stand() {
	const path = join(temporaryDirectory(), 'image');
	const fd = fs.openSync(path, 'w+');
	fs.ftruncateSync(fd, 64 * blockSize);
	const clock = {nowMs: 0, writeMs: 0};
	const writes = new DiskWrites({
		now() {
			const {nowMs} = clock;
			clock.nowMs += clock.writeMs;
			return nowMs;
		},
		fault: (error, position) => new Error(`byte ${position}: ${String(error)}`),
		endFault: position => new Error(`ended at byte ${position}`),
	});
	const blockAt = (block: number) => fs.readFileSync(path).subarray(block * blockSize, (block + 1) * blockSize);
	return {fd, path, clock, writes, blockAt};
}

const filled = (...values: number[]) => Buffer.concat(values.map(value => Buffer.alloc(blockSize, value)));

test('quick writes are done when the call returns', t => {
	const {fd, writes, blockAt} = stand();
	t.is(writes.write(fd, [3, 1, 10, 2], filled(1, 2, 3)), undefined);
	t.deepEqual(
		[3, 10, 11].map(block => blockAt(block)[0]),
		[1, 2, 3],
	);
});

test('a host that holds up writers holds up others, until it is quick again', async t => {
	const {fd, clock, writes, blockAt} = stand();
	clock.writeMs = 50;
	// The rest of the request that was held up is handed over already.
	await writes.write(fd, [0, 1, 20, 1], filled(1, 2));
	const all = Array.from({length: 10}, (_, i) => writes.write(fd, [i + 1, 1], filled(i + 3)));
	t.true(all.every(running => running !== undefined));
	await writes.idle();
	for (const running of all) {
		await running;
	}

	t.deepEqual(
		[0, 20, 1, 10].map(block => blockAt(block)[0]),
		[1, 2, 3, 12],
	);
	clock.writeMs = 0;
	for (let i = 0; i < 16; i++) {
		await writes.write(fd, [30, 1], filled(9));
	}

	t.is(writes.write(fd, [31, 1], filled(9)), undefined);
});

test.serial('no more than two threads of the pool write at once', async t => {
	const {fd, clock, writes, blockAt} = stand();
	clock.writeMs = 50;
	t.is(writes.write(fd, [0, 1], filled(1)), undefined);
	const {write} = fs;
	let [now, most] = [0, 0];
	Object.assign(fs, {
		write(...words: [...unknown[], (...results: unknown[]) => void]) {
			const callback = words.pop() as (...results: unknown[]) => void;
			most = Math.max(most, ++now);
			(write as (...all: unknown[]) => void)(...words, (...results: unknown[]) => {
				now--;
				callback(...results);
			});
		},
	});
	try {
		for (let i = 1; i <= 8; i++) {
			void writes.write(fd, [i, 1], filled(i));
		}

		await writes.idle();
	} finally {
		Object.assign(fs, {write});
	}

	t.is(most, 2);
	t.is(blockAt(8)[0], 8);
});

test('a failure is told with its place, either way', async t => {
	const {fd, path, clock, writes} = stand();
	const unwritable = fs.openSync(path, 'r');
	t.throws(() => writes.write(unwritable, [2, 1], filled(1)), {message: /^byte 8192: Error: EBADF/});
	clock.writeMs = 50;
	t.is(writes.write(fd, [0, 1], filled(1)), undefined);
	await t.throwsAsync(writes.write(unwritable, [2, 1], filled(1))!, {message: /^byte 8192: Error: EBADF/});
	await writes.idle();
	fs.closeSync(unwritable);
});
