import test from 'ava';
import {blockSize, nodeSize} from './geometry.js';
import {NodeBlocks, type PoolEntry} from './node-blocks.js';

const large = 2 ** 40 + 12_345;

test('type 1 nodes lie where the format says', t => {
	const nodes = new NodeBlocks(new Uint8Array(2 * blockSize));
	const hash = Uint8Array.from({length: 40}, (_, i) => i + 1);
	nodes.setPlace(1, 3, large, 77);
	nodes.setHash(1, 3, hash, 8);
	const node = Buffer.from(nodes.block(1)).subarray(3 * nodeSize, 4 * nodeSize);
	t.is(node.readBigUInt64LE(0), BigInt(large));
	t.is(node.readBigUInt64LE(8), 77n);
	t.deepEqual(Uint8Array.from(node.subarray(16, 48)), hash.subarray(8));
	t.true(node.subarray(48).every(byte => byte === 0));
	t.is(nodes.address(1, 3), large);
	t.is(nodes.generation(1, 3), 77);
	const copy = new Uint8Array(33);
	nodes.copyHash(1, 3, copy, 1);
	t.deepEqual(copy.subarray(1), nodes.hash(1, 3));
	t.true(nodes.isUnset(0, 3) && nodes.isUnset(1, 2) && nodes.isUnset(1, 4));
	t.false(nodes.isUnset(1, 3));
	nodes.clear(1);
	t.true(nodes.isUnset(1, 3));
});

test('type 2 nodes lie where the format says', t => {
	const nodes = new NodeBlocks(new Uint8Array(blockSize).fill(0xff));
	const entry: PoolEntry = {
		address: large,
		lastVba: large + 1,
		allocGeneration: 5,
		freeGeneration: large + 2,
		lastKeyId: 0xffff_ffff,
		reserved: true,
	};
	nodes.setPoolEntry(0, 63, entry);
	const node = Buffer.from(nodes.memory).subarray(63 * nodeSize);
	t.is(node.readBigUInt64LE(0), BigInt(large));
	t.is(node.readBigUInt64LE(8), BigInt(large + 1));
	t.is(node.readBigUInt64LE(16), 5n);
	t.is(node.readBigUInt64LE(24), BigInt(large + 2));
	t.is(node.readUInt32LE(32), 0xffff_ffff);
	t.is(node[36], 1);
	t.true(node.subarray(37).every(byte => byte === 0));
	t.deepEqual(nodes.poolEntry(0, 63), entry);
	t.is(nodes.poolAllocGeneration(0, 63), 5);
	t.is(nodes.poolFreeGeneration(0, 63), large + 2);
	t.true(nodes.isPoolEntryReserved(0, 63));
});
