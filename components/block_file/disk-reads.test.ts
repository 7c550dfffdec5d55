import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {blockSize} from '../sessions/block.js';
import {DiskReads} from './disk-reads.js';
import {absent, openPageCache, unknown, type PageCache} from './page-cache.js';

const blockCount = 64;

/** Each block is filled with its number. */
function numberedFile(): number {
	const path = join(temporaryDirectory(), 'image');
	fs.writeFileSync(path, Buffer.concat(Array.from({length: blockCount}, (_, i) => Buffer.alloc(blockSize, i))));
	return fs.openSync(path, 'r');
}

const numbered = (...blocks: number[]) => Buffer.concat(blocks.map(block => Buffer.alloc(blockSize, block)));

/** What happens to a file, in order: `ahead`, `wait` of this thread, `hand` to one of the pool. */
type Happening = readonly [kind: 'ahead' | 'wait' | 'hand', block: number];

/** @param waitMs what each wait for the disk takes on the clock of the reads */
function stand({waitMs = 0, knows = true}: {waitMs?: number; knows?: boolean} = {}) {
	const fd = numberedFile();
	const happened: Happening[] = [];
	/** Blocks that the page cache holds. */
	const cached = new Set<number>();
	const real = openPageCache();
	const pageCache: PageCache = {
		read(file, data, offset, length, position) {
			if (!knows) {
				return unknown;
			}

			return cached.has(position / blockSize)
				? real.read(file, data, offset, Math.min(length, blockSize), position)
				: absent;
		},
		readAhead(_file, position) {
			happened.push(['ahead', position / blockSize]);
		},
	};
	const clock = {nowMs: 0, waitMs};
	const reads = new DiskReads({
		pageCache,
		now: () => clock.nowMs,
		fault: (error, position) => new Error(`byte ${position}: ${String(error)}`),
		endFault: position => new Error(`ended at byte ${position}`),
	});
	return {fd, happened, cached, clock, reads};
}

type Stand = ReturnType<typeof stand>;

/** Sees how the host is asked to read, while `job` runs, and lets that take its time. */
async function watched({happened, clock}: Stand, job: () => Promise<void>): Promise<{handedOverMax: number}> {
	const {readSync, read} = fs;
	let handedOver = 0;
	const seen = {handedOverMax: 0};
	Object.assign(fs, {
		readSync(fd: number, data: Uint8Array, offset: number, length: number, position: number) {
			happened.push(['wait', position / blockSize]);
			clock.nowMs += clock.waitMs;
			return readSync(fd, data, offset, length, position);
		},
		read(
			fd: number,
			data: Uint8Array,
			offset: number,
			length: number,
			position: number,
			callback: (...words: unknown[]) => void,
		) {
			happened.push(['hand', position / blockSize]);
			seen.handedOverMax = Math.max(seen.handedOverMax, ++handedOver);
			read(fd, data, offset, length, position, (...words) => {
				handedOver--;
				clock.nowMs += clock.waitMs;
				callback(...words);
			});
		},
	});
	try {
		await job();
	} finally {
		Object.assign(fs, {readSync, read});
	}

	return seen;
}

test.serial('what the page cache holds is read at once', async t => {
	const given = stand();
	given.cached.add(3).add(4).add(9);
	const data = Buffer.alloc(3 * blockSize);
	await watched(given, async () => {
		t.is(given.reads.read(given.fd, [3, 2, 9, 1], data), undefined);
	});
	t.deepEqual(data, numbered(3, 4, 9));
	t.deepEqual(given.happened, []);
	t.is(given.reads.diskCount, 0);
});

test.serial('all that is missing is asked of the disk before this thread waits for any of it', async t => {
	const given = stand();
	given.cached.add(20);
	const [first, second] = [Buffer.alloc(2 * blockSize), Buffer.alloc(blockSize)];
	await watched(given, async () => {
		await Promise.all([
			given.reads.read(given.fd, [7, 1, 40, 1], first),
			given.reads.read(given.fd, [12, 1], second),
		]);
	});
	t.deepEqual(given.happened, [
		['ahead', 7],
		['ahead', 40],
		['ahead', 12],
		['wait', 7],
		['wait', 40],
		['wait', 12],
	]);
	t.deepEqual(first, numbered(7, 40));
	t.deepEqual(second, numbered(12));
});

test.serial('what has come meanwhile is not waited for', async t => {
	const given = stand();
	const data = Array.from({length: 3}, () => Buffer.alloc(blockSize));
	await watched(given, async () => {
		const running = data.map((into, i) => given.reads.read(given.fd, [i + 1, 1], into));
		given.cached.add(2).add(3);
		await running[1];
		await running[2];
		t.deepEqual(
			given.happened.filter(([kind]) => kind === 'wait'),
			[],
		);
		await running[0];
	});
	t.deepEqual(Buffer.concat(data), numbered(1, 2, 3));
});

test.serial('this thread does not stand still for a slow disk', async t => {
	const given = stand({waitMs: 5});
	await watched(given, async () => {
		await given.reads.read(given.fd, [0, 1], Buffer.alloc(blockSize));
	});
	t.deepEqual(given.happened.splice(0), [
		['ahead', 0],
		['wait', 0],
	]);
	const data = Array.from({length: 32}, () => Buffer.alloc(blockSize));
	const {handedOverMax} = await watched(given, async () => {
		await Promise.all(data.map(async (into, i) => given.reads.read(given.fd, [i + 1, 1], into)));
	});
	t.deepEqual(
		given.happened.filter(([kind]) => kind === 'wait'),
		[],
	);
	// One of the pool's four threads is left for others.
	t.is(handedOverMax, 3);
	t.deepEqual(Buffer.concat(data), numbered(...data.map((_, i) => i + 1)));
	await given.reads.idle();
});

test.serial('a disk that has become quick again is waited for by this thread', async t => {
	const given = stand({waitMs: 5});
	const readOne = async () => {
		await given.reads.read(given.fd, [5, 1], Buffer.alloc(blockSize));
	};

	await watched(given, async () => {
		await readOne();
		given.clock.waitMs = 0.1;
		for (let i = 0; i < 16; i++) {
			await readOne();
		}

		given.happened.length = 0;
		await readOne();
	});
	t.deepEqual(given.happened, [['wait', 5]]);
});

test.serial('requests that come one at a time are waited for where they arrive, until two come at once', async t => {
	const given = stand();
	await watched(given, async () => {
		for (let i = 0; i < 8; i++) {
			await given.reads.read(given.fd, [5, 1], Buffer.alloc(blockSize));
		}

		given.happened.length = 0;
		t.is(given.reads.read(given.fd, [6, 1], Buffer.alloc(blockSize)), undefined);
		t.deepEqual(given.happened.splice(0), [['wait', 6]]);
		await given.reads.read(given.fd, [7, 1], Buffer.alloc(blockSize));
		await new Promise(resolve => {
			setImmediate(resolve);
		});
		t.not(given.reads.read(given.fd, [8, 1], Buffer.alloc(blockSize)), undefined);
		await given.reads.idle();
	});
});

test.serial('where the host does not tell what is cached, reads that take long are handed over', async t => {
	const given = stand({knows: false});
	await watched(given, async () => {
		t.is(given.reads.read(given.fd, [1, 1], Buffer.alloc(blockSize)), undefined);
		given.clock.waitMs = 5;
		t.is(given.reads.read(given.fd, [2, 1], Buffer.alloc(blockSize)), undefined);
		given.happened.length = 0;
		const data = Buffer.alloc(3 * blockSize);
		await given.reads.read(given.fd, [10, 1, 20, 2], data);
		t.deepEqual(data, numbered(10, 20, 21));
	});
	t.deepEqual(given.happened, [
		['hand', 10],
		['hand', 20],
	]);
});

test.serial('a request fails with its first failure, after all of its parts have ended; others go on', async t => {
	for (const waitMs of [0, 5]) {
		const given = stand({waitMs});
		await watched(given, async () => {
			await given.reads.read(given.fd, [0, 1], Buffer.alloc(blockSize));
			const data = Buffer.alloc(3 * blockSize);
			const failing = given.reads.read(given.fd, [1, 1, blockCount, 1, 2, 1], data);
			const good = Buffer.alloc(blockSize);
			const other = given.reads.read(given.fd, [3, 1], good);
			await t.throwsAsync(failing!, {message: `ended at byte ${blockCount * blockSize}`});
			await other;
			t.deepEqual(good, numbered(3));
			await given.reads.idle();
		});
	}
});

test.serial("the host's failure is told with its place", async t => {
	const given = stand();
	const unreadable = fs.openSync(join(temporaryDirectory(), 'image'), 'w');
	await t.throwsAsync(given.reads.read(unreadable, [2, 1], Buffer.alloc(blockSize))!, {
		message: /^byte 8192: Error: EBADF/,
	});
	await given.reads.idle();
	fs.closeSync(unreadable);
});

test('the page cache gives what it holds into shared memory, tells the end, and knows what it does not hold', t => {
	const pageCache = openPageCache();
	const fd = numberedFile();
	const data = new Uint8Array(new SharedArrayBuffer(4 * blockSize)).subarray(blockSize);
	t.is(pageCache.read(fd, data, blockSize, 2 * blockSize, 5 * blockSize), 2 * blockSize);
	t.deepEqual(Buffer.from(data), Buffer.concat([Buffer.alloc(blockSize), numbered(5, 6)]));
	t.is(pageCache.read(fd, data, 0, blockSize, blockCount * blockSize), 0);
	pageCache.readAhead(fd, 0, blockSize);
	fs.closeSync(fd);
	const unreadable = fs.openSync(join(temporaryDirectory(), 'image'), 'w');
	t.is(pageCache.read(unreadable, data, 0, blockSize, 0), absent);
	fs.closeSync(unreadable);
	const pipe = fs.openSync('/dev/zero', 'r');
	t.true([blockSize, unknown].includes(pageCache.read(pipe, data, 0, blockSize, 0)));
	fs.closeSync(pipe);
});
