import {createHash} from 'node:crypto';
import test from 'ava';
import {WrittenLog} from '../../../test/support/written-log.js';
import {
	LogWalk,
	authenticFlushes,
	changesPerBlock,
	plainFlushes,
	decodeLogEntry,
	newestChanges,
	type LeafChanges,
	type LogEntry,
} from './flush-log.js';
import {blockSize} from './geometry.js';
import {labelLength, labelOf} from './label.js';

const perBlock = changesPerBlock('plain');
const superblockHash = new Uint8Array(32).fill(7);

function changesOf(vbas: number[], mark = 0): LeafChanges {
	return {
		vbas,
		addresses: vbas.map(vba => 1000 + vba + mark * 2 ** 33),
		leaves: vbas.map(vba => (vba % 2 === 0 ? -1 : vba)),
		labels: Uint8Array.from(
			{length: vbas.length * labelLength},
			(_, i) => (i + vbas[Math.floor(i / labelLength)] + mark) % 256,
		),
	};
}

const countingTo = (count: number): number[] => Array.from({length: count}, (_, i) => i);

function blocksOf(data: Buffer): Buffer[] {
	return Array.from({length: data.length / blockSize}, (_, i) => data.subarray(i * blockSize, (i + 1) * blockSize));
}

/** The entries up to the anchored one, undefined where none is it. */
function logLeadingTo(
	anchored: Uint8Array,
	from: Uint8Array,
	blocks: readonly Buffer[],
): readonly LogEntry[] | undefined {
	const walk = new LogWalk(from, anchored);
	for (const block of blocks) {
		if (!walk.take(block)) {
			break;
		}
	}

	return walk.hasArrived ? walk.entries : undefined;
}

function startLog(blockCount = 16): WrittenLog {
	return new WrittenLog({firstPba: 500, blockCount}, superblockHash, 'plain');
}

test('an entry comes back as it was, with large numbers, too', t => {
	const changes = changesOf([3, 2 ** 40, 5], 1);
	const {firstPba, data, hash} = startLog().encode(changes, 2 ** 35);
	t.is(firstPba, 500);
	t.is(data.length, blockSize);
	const entry = decodeLogEntry(data, superblockHash, 0);
	t.deepEqual(entry, {generation: 2 ** 35, changes, hash: labelOf(data)});
	t.deepEqual(hash, labelOf(data));
});

test('many changes fill blocks that follow each other, and further ones go behind them', t => {
	const log = startLog();
	const first = log.encode(changesOf(countingTo(perBlock + 1)), 4);
	t.is(first.data.length, 2 * blockSize);
	log.note(first);
	t.is(log.room, 14 * perBlock);
	const second = log.encode(changesOf([9], 1), 4);
	t.is(second.firstPba, 502);
	const entries = logLeadingTo(second.hash, superblockHash, blocksOf(Buffer.concat([first.data, second.data])));
	t.deepEqual(
		entries?.map(({changes}) => changes.vbas.length),
		[perBlock, 1, 1],
	);
});

test('what was not noted is written again, and a new superblock begins the log anew', t => {
	const log = startLog();
	t.deepEqual(log.encode(changesOf([1]), 4), log.encode(changesOf([1]), 4));
	log.note(log.encode(changesOf([1]), 4));
	log.restart(new Uint8Array(32).fill(8));
	const {firstPba, data} = log.encode(changesOf([2]), 5);
	t.is(firstPba, 500);
	t.truthy(decodeLogEntry(data, new Uint8Array(32).fill(8), 0));
});

test('the log ends where the anchor says, whatever lies behind', t => {
	const log = startLog();
	const first = log.encode(changesOf([1]), 4);
	log.note(first);
	const second = log.encode(changesOf([2]), 4);
	const blocks = [...blocksOf(first.data), ...blocksOf(second.data)];
	t.is(logLeadingTo(first.hash, superblockHash, blocks)?.length, 1);
	t.is(logLeadingTo(second.hash, superblockHash, blocks)?.length, 2);
	t.is(logLeadingTo(second.hash, superblockHash, blocks.slice(0, 1)), undefined);
	t.is(logLeadingTo(second.hash, superblockHash, [...blocks].reverse()), undefined);
	t.is(logLeadingTo(second.hash, new Uint8Array(32), blocks), undefined);
	t.is(logLeadingTo(new Uint8Array(32).fill(1), superblockHash, blocks), undefined);
});

test('one flipped bit anywhere ends the way to the anchor', t => {
	const log = startLog();
	const first = log.encode(changesOf(countingTo(70)), 4);
	log.note(first);
	const second = log.encode(changesOf([2]), 4);
	for (let byte = 0; byte < blockSize; byte += 17) {
		const altered = Buffer.from(first.data);
		altered[byte] ^= 1 << (byte % 8);
		t.is(logLeadingTo(second.hash, superblockHash, [altered, second.data]), undefined, `byte ${byte}`);
	}
});

test('blocks that are no entries are none: zeroes, another version, too many changes, another position', t => {
	const {data} = startLog().encode(changesOf([1]), 4);
	const altered = (change: (block: Buffer) => unknown): Buffer => {
		const copy = Buffer.from(data);
		change(copy);
		return copy;
	};
	for (const block of [
		Buffer.alloc(blockSize),
		altered(copy => copy.writeUInt32LE(3, 8)),
		altered(copy => copy.writeUInt32LE(0, 12)),
		altered(copy => copy.writeUInt32LE(perBlock + 1, 12)),
		altered(copy => copy.writeUInt32LE(0xffff_ffff, 12)),
		altered(copy => copy.writeUInt32LE(1, 24)),
	]) {
		t.is(decodeLogEntry(block, superblockHash, 0), undefined);
	}
});

test('of each block the newest change counts', t => {
	const log = startLog();
	const encoded = [changesOf([8, 3], 1), changesOf([5], 2), changesOf([3], 3)].map(changes => {
		const appended = log.encode(changes, 4);
		log.note(appended);
		return appended;
	});
	const entries = logLeadingTo(
		encoded[2].hash,
		superblockHash,
		encoded.map(({data}) => data),
	);
	const [five, three, eight] = [changesOf([5], 2), changesOf([3], 3), changesOf([8], 1)];
	t.deepEqual(newestChanges(entries ?? []), {
		vbas: [3, 5, 8],
		addresses: [three.addresses[0], five.addresses[0], eight.addresses[0]],
		leaves: [3, 5, -1],
		labels: Uint8Array.from([...three.labels, ...five.labels, ...eight.labels]),
	});
});

const keyAfter = async (hash: Uint8Array): Promise<Uint8Array> =>
	createHash('sha256').update('key').update(hash).digest();

/** Three flushes, the second of two blocks, as a log whose entries carry authenticators. */
async function authenticatedBlocks(): Promise<Array<{hash: Uint8Array; blocks: Buffer[]}>> {
	const log = new WrittenLog({firstPba: 500, blockCount: 16}, superblockHash, 'authenticated');
	log.useKey(await keyAfter(superblockHash));
	const flushes = [];
	for (const vbas of [[1, 2], countingTo(changesPerBlock('authenticated') + 1), [3]]) {
		const appended = log.encode(changesOf(vbas), 4);
		log.note(appended, await keyAfter(appended.hash));
		flushes.push({hash: appended.hash, blocks: blocksOf(appended.data)});
	}

	return flushes;
}

function aheadOf(anchored: Uint8Array, blocks: readonly Buffer[]): LogWalk['ahead'] {
	const walk = new LogWalk(superblockHash, anchored);
	for (const block of blocks) {
		walk.take(block);
	}

	return walk.ahead;
}

test('flushes behind the anchored one are told apart, and only who had the key can have added them', async t => {
	const flushes = await authenticatedBlocks();
	const blocks = flushes.flatMap(flush => flush.blocks);
	const lengths = async (anchored: Uint8Array, all: readonly Buffer[]) => {
		const {whole, isBegun} = await authenticFlushes(anchored, aheadOf(anchored, all), keyAfter);
		return [whole.map(({length}) => length), isBegun];
	};

	t.deepEqual(await lengths(superblockHash, blocks), [[1, 2, 1], false]);
	t.deepEqual(await lengths(flushes[0].hash, blocks), [[2, 1], false]);
	t.deepEqual(await lengths(flushes[2].hash, blocks), [[], false]);
	t.deepEqual(await lengths(superblockHash, blocks.slice(0, 2)), [[1], true]);
	for (const byte of [4, 30, 64, 68, 72, 103, 120, 200]) {
		const forged = Buffer.from(blocks[3]);
		forged[byte] ^= 1;
		t.deepEqual(await lengths(flushes[1].hash, [...blocks.slice(0, 3), forged]), [[], false], `byte ${byte}`);
	}

	const {whole} = await authenticFlushes(
		superblockHash,
		aheadOf(superblockHash, blocks),
		async () => new Uint8Array(32),
	);
	t.deepEqual(whole, []);
});

test('without its key a log that needs one has no room', async t => {
	const log = new WrittenLog({firstPba: 500, blockCount: 2}, superblockHash, 'authenticated');
	t.is(log.room, 0);
	log.useKey(await keyAfter(superblockHash));
	t.is(log.room, 2 * 71);
	log.useKey(undefined);
	t.is(log.room, 0);
});

test('where entries carry no authenticators, one that is not full ends its flush', t => {
	const log = startLog();
	const blocks: Buffer[] = [];
	for (const vbas of [[1], countingTo(perBlock + 1), [3]]) {
		const appended = log.encode(changesOf(vbas), 4);
		log.note(appended);
		blocks.push(...blocksOf(appended.data));
	}

	const {whole, isBegun} = plainFlushes(aheadOf(superblockHash, blocks));
	t.deepEqual([whole.map(({length}) => length), isBegun], [[1, 2, 1], false]);
	t.true(plainFlushes(aheadOf(superblockHash, blocks.slice(0, 2))).isBegun);
});
