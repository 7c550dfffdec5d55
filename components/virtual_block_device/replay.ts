/**
 * Replaying a flush log: the blocks that it names lie on the medium already. They come out of the pool, what the tree
 * held in their place goes in, and the leaves get their new places and labels.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import type {Vba} from '../sessions/vocabulary.js';
import type {LeafChanges} from '../lib/format/flush-log.js';
import type {Path} from '../lib/tree/hash-tree.js';
import {labelLength} from '../lib/format/label.js';
import type {Device} from './device.js';
import type {LeafPlace} from './placement.js';
import type {Writer} from './writer.js';

/** Leaves that are dealt with together: even the smallest cache holds the ways to all of them. */
const portionCount = 32;

/** A part of the changes, by position. */
interface Portion {
	readonly begin: number;
	readonly end: number;
}

function portionsOf({vbas}: LeafChanges): Portion[] {
	return Array.from({length: Math.ceil(vbas.length / portionCount)}, (_, i) => ({
		begin: i * portionCount,
		end: Math.min((i + 1) * portionCount, vbas.length),
	}));
}

/** Exchanges the tree's blocks for the logged ones in the books, as the free tree's `swap` does it. */
async function swapPortion(
	device: Device,
	{vbas, addresses, leaves}: LeafChanges,
	{begin, end}: Portion,
): Promise<void> {
	const {
		tree,
		servers,
		held: {nodes},
		currentGeneration,
	} = device;
	const keyId = device.keyOf(0);
	const items: number[] = [];
	const poolLeaves: Vba[] = [];
	const path: Path = [];
	await tree.load(vbas.slice(begin, end));
	for (let i = begin; i < end; i++) {
		const vba = vbas[i];
		tree.walk(vba, path);
		const index = vba % tree.geometry.degree;
		const address = nodes.address(path[1], index);
		const generation = nodes.generation(path[1], index);
		if (leaves[i] >= 0) {
			// A place without content is held for no snapshot.
			items.push(addresses[i], address, generation === 0 ? currentGeneration : generation, vba);
			poolLeaves.push(leaves[i]);
		} else if (address !== addresses[i] || generation !== 0) {
			throw new SessionError(
				'integrity',
				`the flush log names PBA ${addresses[i]} as block ${vba}'s own, the tree has PBA ${address} of generation ${generation}`,
			);
		}
	}

	if (items.length > 0) {
		await servers.free_tree.swap({items, leaves: poolLeaves, keyId});
	}
}

/** Puts the logged places and labels into the tree. */
async function placePortion(
	device: Device,
	writer: Writer,
	{vbas, addresses, labels}: LeafChanges,
	{begin, end}: Portion,
): Promise<void> {
	const portion = vbas.slice(begin, end);
	const places = new Map<Vba, LeafPlace>(
		portion.map((vba, i) => [vba, {address: addresses[begin + i], generation: device.currentGeneration}]),
	);
	const leaves = await writer.placement.allocate(
		portion.map(vba => ({vba, count: 1})),
		device.keyOf(0),
		{places, relief: true},
	);
	writer.setLeaves(leaves, labels.subarray(begin * labelLength, end * labelLength));
}

/**
 * With no request under way, right after the device was opened. Where it fails, it has to be opened again. Blocks are
 * stored in between, so that the changed ones need little room; nobody knows of them before a superblock is secured.
 */
export async function replay(device: Device, writer: Writer, changes: LeafChanges): Promise<void> {
	const {tree, servers, held} = device;
	const beyond = changes.vbas.find(vba => vba >= tree.geometry.leafCount);
	if (beyond !== undefined) {
		throw new SessionError(
			'integrity',
			`the flush log names block ${beyond}, the device has ${tree.geometry.leafCount}`,
		);
	}

	// All of them before the first place is handed out: none of the logged ones may be.
	for (const portion of portionsOf(changes)) {
		await swapPortion(device, changes, portion);
		await servers.free_tree.store({});
	}

	for (const portion of portionsOf(changes)) {
		await placePortion(device, writer, changes, portion);
		if (held.dirtyCount > held.frameCount / 4) {
			await device.storeTrees();
		}

		await servers.free_tree.store({});
	}

	device.changes.noteOther();
}
