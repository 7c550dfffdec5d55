/**
 * Replaying a flush log: the blocks that it names lie on the medium already. They come out of the pool, what the tree held
 * in their place goes in, and the leaves get their new places and labels.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import type {Vba} from '../container/addresses.js';
import type {LeafChanges} from '../container/flush-log.js';
import type {Path} from '../container/hash-tree.js';
import type {Device} from './device.js';
import type {LeafPlace} from './placement.js';
import type {Writer} from './writer.js';

interface ReplayPlan {
	/** For the free tree: the logged blocks to take out and the tree's blocks to take in for them. */
	readonly items: number[];
	readonly poolLeaves: Vba[];
	/** By leaf, where the log says it lies. */
	readonly places: Map<Vba, LeafPlace>;
}

async function plan({tree, held: {nodes}, currentGeneration}: Device, {vbas, addresses, leaves}: LeafChanges): Promise<ReplayPlan> {
	const items: number[] = [];
	const poolLeaves: Vba[] = [];
	const places = new Map<Vba, LeafPlace>();
	const path: Path = [];
	for (const [i, vba] of vbas.entries()) {
		if (vba >= tree.geometry.leafCount) {
			throw new SessionError('integrity', `the flush log names block ${vba}, the device has ${tree.geometry.leafCount}`);
		}

		while (tree.walk(vba, path)) {
			await tree.load([vba]);
		}

		const index = vba % tree.geometry.degree;
		const address = nodes.address(path[1], index);
		const generation = nodes.generation(path[1], index);
		if (leaves[i] >= 0) {
			// A place without content is held for no snapshot.
			items.push(addresses[i], address, generation === 0 ? currentGeneration : generation, vba);
			poolLeaves.push(leaves[i]);
		} else if (address !== addresses[i] || generation !== 0) {
			throw new SessionError('integrity', `the flush log names PBA ${addresses[i]} as block ${vba}'s own, the tree has PBA ${address} of generation ${generation}`);
		}

		places.set(vba, {address: addresses[i], generation: currentGeneration});
	}

	return {items, poolLeaves, places};
}

/** With no request under way, right after the device was opened. Where it fails, it has to be opened again. */
export async function replay(device: Device, writer: Writer, changes: LeafChanges): Promise<void> {
	const {items, poolLeaves, places} = await plan(device, changes);
	const keyId = device.keyOf(0);
	if (items.length > 0) {
		await device.servers.free_tree.swap({items, leaves: poolLeaves, keyId});
	}

	const leaves = await writer.placement.allocate(changes.vbas.map(vba => ({vba, count: 1})), keyId, places);
	writer.setLeaves(leaves, changes.labels);
	device.changes.noteOther();
}
