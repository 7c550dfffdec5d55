/**
 * Verification of the trees in use, those of the current state and of all kept snapshots side by side, part by part.
 */
import type {KeyId, Vba} from '../sessions/vocabulary.js';
import {extentsOf} from '../lib/format/extents.js';
import {blockSize} from '../lib/format/geometry.js';
import {labelLength} from '../lib/format/label.js';
import {SeenBlocks} from '../lib/tree/seen-blocks.js';
import {
	lowestBlocksFrom,
	nextWritten,
	verifyPart,
	type NamedBlock,
	type Verified,
} from '../lib/tree/tree-verification.js';
import type {Device, KeptSnapshot} from './device.js';

/** Lowest blocks of each tree that one part takes: 1 MiB of data of the current state. Writes wait meanwhile. */
const partBlockCount = 4;

/**
 * Opens blocks of data that have the same key; what they hold is wiped at once. Replies which do not match their
 * labels.
 */
async function mismatchesOf(
	{env, servers}: Device,
	keyId: KeyId,
	blocks: readonly NamedBlock[],
): Promise<readonly number[]> {
	const byteLength = blocks.length * blockSize;
	const lease = await env.leaseWhenFree(2 * byteLength);
	const [sealed, plain] = [lease.bytes.subarray(0, byteLength), lease.bytes.subarray(byteLength, 2 * byteLength)];
	try {
		const addresses = blocks.map(({address}) => address);
		const labels = new Uint8Array(blocks.length * labelLength);
		for (const [i, {label}] of blocks.entries()) {
			labels.set(label, i * labelLength);
		}

		await servers.block.read({extents: extentsOf(addresses), data: sealed});
		const {mismatched} = await servers.crypto.open({
			keyId,
			addresses,
			labels,
			sealed,
			plain: [plain],
			vbas: blocks.map(({vba}) => vba),
			generations: blocks.map(({generation}) => generation),
		});
		return mismatched;
	} finally {
		plain.fill(0);
		lease.release();
	}
}

/** The cipher tells good data from bad, with the key of each block. */
async function verifyData(device: Device, blocks: readonly NamedBlock[]): Promise<number[]> {
	const bad: number[] = [];
	for (const keyId of new Set(blocks.map(({vba}) => device.keyOf(vba)))) {
		const indexes = [...blocks.keys()].filter(index => device.keyOf(blocks[index].vba) === keyId);
		const mismatched = await mismatchesOf(
			device,
			keyId,
			indexes.map(index => blocks[index]),
		);
		bad.push(...mismatched.map(i => indexes[i]));
	}

	return bad;
}

/** With no write under way. */
export async function verifyTrees(
	device: Device,
	{snapshots, firstVba}: {snapshots: readonly KeptSnapshot[]; firstVba: Vba},
): Promise<Verified & {nextVba: Vba | null}> {
	const newestFirst = [...snapshots].sort((a, b) => b.generation - a.generation);
	const trees = [
		{tree: device.tree, name: 'current state'},
		...newestFirst.map(snapshot => ({
			tree: device.snapshotTree(snapshot),
			name: `snapshot ${snapshot.generation}`,
		})),
	];
	const verified: Verified = {checkedBlockCount: 0, damages: []};
	const seen = new SeenBlocks<NamedBlock>();
	for (const {tree, name} of trees) {
		const {checkedBlockCount, damages} = await verifyPart(
			device.held,
			{
				tree,
				name,
				firstLeaves: lowestBlocksFrom(tree, firstVba, partBlockCount),
				isWritten: (frame, index) => device.isWritten(frame, index),
				verifyData: async blocks => verifyData(device, blocks),
			},
			seen,
		);
		verified.checkedBlockCount += checkedBlockCount;
		verified.damages.push(...damages);
	}

	const next = await nextWritten(
		trees.map(({tree}) => tree),
		firstVba + partBlockCount * device.tree.geometry.degree,
	);
	const end = Math.max(...trees.map(({tree}) => tree.geometry.leafCount));
	return {...verified, nextVba: next < end ? next : null};
}
