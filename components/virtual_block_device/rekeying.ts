/**
 * Rekeying (format section 7), a range of leaves at a time: everything that the current tree and the kept snapshots
 * hold there is opened with the previous key, sealed with the current one and written to new places. Until the state is
 * secured the old places stay untouched, so a crash falls back to the rekeying VBA that was secured.
 *
 * A block that does not match the label of the node that refers to it gets no new label of its own: nobody can tell
 * what it should hold. It is given up (`lostLabel`), told, and counted, and the rekeying goes on with the others.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import type {Frame, Level, NodeIndex, Pba, Vba} from '../sessions/vocabulary.js';
import {extentsOf} from '../lib/format/extents.js';
import {blockSize} from '../lib/format/geometry.js';
import type {HashTree, Path} from '../lib/tree/hash-tree.js';
import type {WantedBlock} from '../lib/tree/held-blocks.js';
import {isLostLabel, labelLength, lostLabel} from '../lib/format/label.js';
import type {Device, KeptSnapshot} from './device.js';
import {LostBlocks, generationsWith, textOfLost} from './lost-blocks.js';
import type {Placement} from './placement.js';
import {RekeyPlanner, type RekeyedBlock, type RekeyedTree, type RekeyPlan} from './rekey-plan.js';
import type {Range} from './request-queue.js';

/** Blocks that are opened and sealed at once: 1 MiB. */
const transferBlockCount = 256;

/** Held blocks for each lowest block of each tree under way: a level each, with room to spare. */
const framesPerWay = 16;

/** A leaf that does not match its label is read this often before it is given up: a bus or a disk may err once. */
const attemptMax = 3;

/** Losses that are told one by one; more of them are only counted. */
const toldLossMax = 100;

/** New places, and the pool entries behind them, for the blocks of a plan that move. */
type Places = ReadonlyMap<RekeyedBlock, {readonly address: Pba; readonly poolLeaf: Vba}>;

/** The label of each leaf in its new place; `lostLabel` for those that were given up. */
type NewLabels = ReadonlyMap<RekeyedBlock, Uint8Array>;

export interface RekeyStep {
	readonly sealedBlockCount: number;
	/** Blocks given up since the last step that has replied. */
	readonly lostBlockCount: number;
}

/** The trees are ahead of what was replied: the component has to start over from the last secured state. */
class RekeyingInterrupted extends Error {
	override readonly name = 'RekeyingInterrupted';
}

export class Rekeying {
	readonly #device: Device;
	readonly #placement: Placement;
	#lostCount = 0;
	#toldCount = 0;

	constructor(device: Device, placement: Placement) {
		this.#device = device;
		this.#placement = placement;
	}

	/**
	 * Does one step, with no write under way; replies with what became of the blocks. The moved blocks are stored at
	 * once: a later write moves the current tree's block on, and a snapshot that shares it finds it on the medium.
	 * @param limits.untilVba the step takes no leaf from there on
	 * @throws SessionError, and nothing was rekeyed
	 */
	async step(
		snapshots: readonly KeptSnapshot[],
		limits: {readonly blockCount: number; readonly untilVba: Vba},
	): Promise<RekeyStep> {
		const range = this.#nextRange(snapshots, limits);
		let sealedBlockCount = 0;
		if (range.count > 0) {
			sealedBlockCount = await this.#placement.inTurn(async () => this.#move(snapshots, range));
		}

		const lostBlockCount = this.#lostCount;
		this.#lostCount = 0;
		return {sealedBlockCount, lostBlockCount};
	}

	/**
	 * Seals the leaves of the range in new places, and only then changes the trees; replies with the number of leaves.
	 */
	async #move(snapshots: readonly KeptSnapshot[], range: Range): Promise<number> {
		const {trees, lost, plan, places, undo} = await this.#place(snapshots, range);
		let labels: NewLabels;
		try {
			labels = await this.#transfer(plan, places);
			while (!lost.isRestHeld(trees, range)) {
				await lost.load(trees, range);
			}
		} catch (error) {
			await undo();
			throw error;
		}

		await this.#complete({plan, places, labels, range});
		return [...labels.values()].filter(label => label !== lostLabel).length;
	}

	/** Carries the step over into the trees. The ways are held. */
	async #complete({
		plan,
		places,
		labels,
		range,
	}: {
		plan: RekeyPlan;
		places: Places;
		labels: NewLabels;
		range: Range;
	}): Promise<void> {
		try {
			this.#report(plan, labels);
			// Trees and keys change in one synchronous step: a read in between would take the wrong key.
			this.#moveInner(plan, places);
			this.#setLeaves(plan, places, labels);
			this.#device.setKeys({...this.#device.keys, rekeyingVba: range.vba + range.count});
			await this.#device.storeTreesFirst();
		} catch (error) {
			throw new RekeyingInterrupted(
				`a rekeying step stopped half-way: ${error instanceof Error ? error.message : String(error)}`,
			);
		}
	}

	/**
	 * The range that the next step takes: lowest blocks as a whole where it may be that many, as far as any tree
	 * reaches.
	 */
	#nextRange(
		snapshots: readonly KeptSnapshot[],
		{blockCount, untilVba}: {readonly blockCount: number; readonly untilVba: Vba},
	): Range {
		const {
			keys: {rekeyingVba: vba},
			tree: {
				geometry: {degree, leafCount},
			},
			held: {frameCount},
		} = this.#device;
		const end = Math.min(untilVba, Math.max(leafCount, ...snapshots.map(snapshot => snapshot.tree.leafCount)));
		// The ways of all trees have to be held together.
		const lowestBlockCount = Math.max(
			1,
			Math.min(Math.floor(blockCount / degree), Math.floor(frameCount / (framesPerWay * (snapshots.length + 1)))),
		);
		// Where the pool is nearly empty less than one lowest block has to do.
		const aligned = vba - (vba % degree) + lowestBlockCount * degree;
		const stop = Math.min(end, blockCount < degree ? vba + blockCount : aligned);
		return {vba, count: Math.max(0, stop - vba)};
	}

	/** Finds new places for leaves and inner blocks of all trees, which follow when the data is there. */
	async #place(
		snapshots: readonly KeptSnapshot[],
		range: Range,
	): Promise<{trees: RekeyedTree[]; lost: LostBlocks; plan: RekeyPlan; places: Places; undo: () => Promise<void>}> {
		if (this.#device.held.isPressed) {
			throw new SessionError('no_space', 'too many inner blocks are changed: the state has to be secured first');
		}

		await this.#separateRoot(snapshots);
		const taken = this.#device.takeUpSnapshots(snapshots);
		const trees: RekeyedTree[] = [
			{tree: this.#device.tree, generation: null},
			...[...taken].sort(([a], [b]) => b - a).map(([generation, tree]) => ({tree, generation})),
		];
		const lost = new LostBlocks(this.#device.held);
		const plan = await this.#planHeld(trees, range, lost);
		return {trees, lost, plan, ...(await this.#findPlaces(plan, range))};
	}

	/** The current tree gets a root block of its own where a snapshot has the same: their records age differently. */
	async #separateRoot(snapshots: readonly KeptSnapshot[]): Promise<void> {
		const {tree} = this.#device;
		if (snapshots.some(snapshot => snapshot.tree.root.address === tree.root.root.address)) {
			await this.#placement.moveRoot(this.#device.keyOf(0));
		}
	}

	async #planHeld(trees: readonly RekeyedTree[], range: Range, lost: LostBlocks): Promise<RekeyPlan> {
		const {held, currentGeneration, placedByRekeying} = this.#device;
		const state = {
			held,
			// A block of an older snapshot moves with every step: its pool entry says how far the rekeying may go
			// before the block is given up, and that is as far as the step that placed it.
			isVolatile: ({generation: snapshot}: RekeyedTree, address: Pba, generation: number) =>
				snapshot === null && (generation === currentGeneration || placedByRekeying.has(address)),
			isLost: (block: WantedBlock) => lost.has(block),
			isEmptied: (frame: Frame, index: NodeIndex) => this.#device.isEmptied(frame, index),
		};
		for (;;) {
			const plan = RekeyPlanner.plan(state, trees, range);
			if (plan) {
				return plan;
			}

			await lost.load(trees, range);
		}
	}

	/**
	 * Asks the free tree for places: exchanged for blocks of the current tree, reserved for those of older snapshots.
	 */
	async #findPlaces(
		{inner, leaves, generations}: RekeyPlan,
		range: Range,
	): Promise<{places: Places; undo: () => Promise<void>}> {
		const {servers, keys} = this.#device;
		const moves = [...leaves, ...inner];
		const current = moves.filter(({owner}) => owner.generation === null);
		const older = moves.filter(({owner}) => owner.generation !== null);
		const exchangeItems = current.flatMap(({address, generation, lowestVba}) => [address, generation, lowestVba]);
		const exchanged =
			current.length > 0
				? // What a step takes comes back with the next superblock, so it may take what is set aside.
					await servers.free_tree.exchange({
						items: exchangeItems,
						keyId: keys.previousKeyId,
						reserved: false,
						relief: true,
					})
				: {addresses: [], leaves: []};
		const undoExchange = async () => void (await servers.free_tree.restore(exchanged));
		let reserved: typeof exchanged;
		try {
			reserved =
				older.length > 0
					? await servers.free_tree.reserve({
							items: older.flatMap(block =>
								this.#reservation(
									{...block, generation: generations.get(block) ?? block.generation},
									range,
								),
							),
						})
					: {addresses: [], leaves: []};
		} catch (error) {
			await undoExchange();
			throw error;
		}

		const places = new Map([
			...current.map(
				(block, i) => [block, {address: exchanged.addresses[i], poolLeaf: exchanged.leaves[i]}] as const,
			),
			...older.map(
				(block, i) => [block, {address: reserved.addresses[i], poolLeaf: reserved.leaves[i]}] as const,
			),
		]);
		return {
			places,
			async undo() {
				await undoExchange();
				await servers.free_tree.restore(reserved);
			},
		};
	}

	/** A pool entry for a block of an older snapshot, as the table in format section 5 says. */
	#reservation({owner, generation, level, lowestVba}: RekeyedBlock, range: Range): number[] {
		const {previousKeyId, currentKeyId} = this.#device.keys;
		const end = range.vba + range.count;
		const {degree, leafCount} = owner.tree.geometry;
		// Behind the last leaf of a smaller snapshot no later step comes by and moves the block once more.
		const coversLater = Math.min(lowestVba + degree ** level, leafCount) > end;
		const freeGeneration = (owner.generation ?? 0) + 1;
		return [generation, freeGeneration, coversLater ? end : lowestVba, coversLater ? previousKeyId : currentKeyId];
	}

	/** Synchronous: no other request sees trees that are moved in part. */
	#moveInner({inner, lostInPlace, generations, shared, ways}: RekeyPlan, places: Places): void {
		const path: Path = [];
		for (const block of inner) {
			const {
				owner: {tree},
				vba,
				level,
				generation,
				isLost,
			} = block;
			const address = addressOf(block, places);
			if (isLost) {
				this.#giveUpInner(block, block, places, path);
			} else {
				walkTo(tree, vba, level, path);
				tree.moveBlock(path, vba, level, {address, generation: generations.get(block) ?? generation});
			}

			this.#device.placedByRekeying.add(address);
		}

		for (const [block, generation] of generations) {
			const {
				owner: {tree},
				vba,
				level,
			} = block;
			if (level > 0 && !places.has(block)) {
				walkTo(tree, vba, level, path);
				tree.moveBlock(path, vba, level, {address: block.address, generation});
			}
		}

		for (const block of lostInPlace) {
			this.#giveUpInner(block, block, places, path);
		}

		for (const {owner, vba, block} of shared) {
			if (block.level === 0) {
				continue;
			} else if (block.isLost) {
				this.#giveUpInner(block, {owner, vba}, places, path);
			} else {
				// What another step of this generation has moved already changes again, and its label with it.
				walkTo(owner.tree, vba, block.level + 1, path);
				owner.tree.share(path, vba, block.level, addressOf(block, places));
			}
		}

		for (const {
			owner: {tree},
			vba,
			lowest,
		} of ways) {
			walkTo(tree, vba, lowest, path);
			tree.markDirty(path, vba, lowest);
		}
	}

	#giveUpInner(
		block: RekeyedBlock,
		{owner: {tree}, vba}: {readonly owner: RekeyedTree; readonly vba: Vba},
		places: Places,
		path: Path,
	): void {
		walkTo(tree, vba, block.level + 1, path);
		tree.giveUp(path, vba, block.level, addressOf(block, places));
	}

	/** Opens, seals and writes the leaves; replies with the new label of each. */
	async #transfer({leaves, generations}: RekeyPlan, places: Places): Promise<NewLabels> {
		// Where there is no content only the place changes.
		const labels = new Map<RekeyedBlock, Uint8Array>(
			leaves.filter(({isEmptied}) => isEmptied).map(leaf => [leaf, leaf.label]),
		);
		const withContent = leaves.filter(({isEmptied}) => !isEmptied);
		if (this.#device.keys.isPreviousKeyLost) {
			return new Map([...labels, ...withContent.map(leaf => [leaf, lostLabel] as const)]);
		}

		for (let first = 0; first < withContent.length; first += transferBlockCount) {
			await this.#transferSome(
				withContent.slice(first, first + transferBlockCount),
				{places, generations},
				labels,
			);
		}

		return labels;
	}

	async #transferSome(
		leaves: readonly RekeyedBlock[],
		{places, generations}: Pick<RekeyPlan, 'generations'> & {readonly places: Places},
		labels: Map<RekeyedBlock, Uint8Array>,
	): Promise<void> {
		const {
			env,
			servers: {crypto},
			keys,
		} = this.#device;
		const byteLength = leaves.length * blockSize;
		const lease = await env.leaseWhenFree(2 * byteLength);
		try {
			const content = lease.bytes.subarray(0, byteLength);
			const plain = lease.bytes.subarray(byteLength, 2 * byteLength);
			const damaged = await this.#open(leaves, {content, plain});
			const addresses = leaves.map(leaf => addressOf(leaf, places));
			// The nodes keep their generations, as a rule, and the blocks stay bound to them.
			const {labels: newLabels} = await crypto.seal({
				keyId: keys.currentKeyId,
				addresses,
				vbas: leaves.map(({vba}) => vba),
				generations: leaves.map(leaf => generations.get(leaf) ?? leaf.generation),
				plain: [plain],
				sealed: content,
			});
			plain.fill(0);
			await this.#device.writeBlocks(addresses, content);
			for (const [i, leaf] of leaves.entries()) {
				labels.set(leaf, damaged.has(i) ? lostLabel : newLabels.slice(i * labelLength, (i + 1) * labelLength));
			}
		} finally {
			lease.release();
		}
	}

	/**
	 * Reads and opens leaves into `plain`; replies which of them, by index, do not match their labels. Those are
	 * zeroed.
	 */
	async #open(
		leaves: readonly RekeyedBlock[],
		room: {content: Uint8Array; plain: Uint8Array},
	): Promise<ReadonlySet<number>> {
		let suspects = await this.#openOnce(leaves, room);
		for (let attempt = 1; attempt < attemptMax && suspects.length > 0; attempt++) {
			const again: number[] = [];
			for (const i of suspects) {
				const part = (bytes: Uint8Array) => bytes.subarray(i * blockSize, (i + 1) * blockSize);
				const mismatched = await this.#openOnce([leaves[i]], {
					content: part(room.content),
					plain: part(room.plain),
				});
				again.push(...mismatched.map(() => i));
			}

			suspects = again;
		}

		for (const i of suspects) {
			room.plain.fill(0, i * blockSize, (i + 1) * blockSize);
		}

		return new Set(suspects);
	}

	async #openOnce(
		leaves: readonly RekeyedBlock[],
		{content, plain}: {content: Uint8Array; plain: Uint8Array},
	): Promise<readonly number[]> {
		const {
			servers: {block, crypto},
			keys,
		} = this.#device;
		const addresses = leaves.map(({address}) => address);
		const labels = new Uint8Array(leaves.length * labelLength);
		for (const [i, {label}] of leaves.entries()) {
			labels.set(label, i * labelLength);
		}

		await block.read({extents: extentsOf(addresses), data: content});
		const {mismatched} = await crypto.open({
			keyId: keys.previousKeyId,
			addresses,
			vbas: leaves.map(({vba}) => vba),
			generations: leaves.map(({generation}) => generation),
			labels,
			sealed: content,
			plain: [plain],
		});
		return mismatched;
	}

	/** Synchronous: nodes of all trees change to the new key together with the rekeying VBA. */
	#setLeaves({generations, shared}: RekeyPlan, places: Places, labels: NewLabels): void {
		const {
			held: {nodes},
		} = this.#device;
		const path: Path = [];
		const setLeaf = ({tree}: RekeyedTree, leaf: RekeyedBlock, label: Uint8Array) => {
			const index = leaf.vba % tree.geometry.degree;
			walkTo(tree, leaf.vba, 1, path);
			nodes.setPlace(path[1], index, addressOf(leaf, places), generations.get(leaf) ?? leaf.generation);
			nodes.setHash(path[1], index, label, 0);
		};
		for (const [leaf, label] of labels) {
			setLeaf(leaf.owner, leaf, label);
		}

		for (const {owner, block} of shared) {
			const label = block.level === 0 ? labels.get(block) : undefined;
			if (label) {
				setLeaf(owner, block, label);
			}
		}
	}

	/** Says what was given up, and counts it. */
	#report({inner, lostInPlace, shared}: RekeyPlan, labels: NewLabels | undefined): void {
		const leaves = [...(labels ?? [])].flatMap(([leaf, label]) => (label === lostLabel ? leaf : []));
		// What was given up before is known.
		const lost = [...inner.filter(({isLost}) => isLost), ...lostInPlace, ...leaves].filter(
			({label}) => !isLostLabel(label),
		);
		this.#lostCount += lost.length;
		// Where the key is lost all of them are, as was said when the device was opened.
		for (const block of this.#device.keys.isPreviousKeyLost ? [] : lost) {
			if (this.#toldCount < toldLossMax) {
				this.#device.env.log(`integrity error: ${textOfLost(block, generationsWith(block, shared))}`, 'error');
			} else if (this.#toldCount === toldLossMax) {
				this.#device.env.log(
					'more blocks that do not match their labels are counted, and not told one by one',
					'error',
				);
			}

			this.#toldCount++;
		}
	}
}

function addressOf(block: RekeyedBlock, places: Places): Pba {
	return places.get(block)?.address ?? block.address;
}

/** Walks down to `lowest`; every block on the way must be held. */
function walkTo(tree: HashTree, vba: Vba, lowest: Level, path: Path): void {
	if (!tree.walkDown(vba, lowest, path)) {
		throw new Error(`a block on the way to VBA ${vba} is not held while the trees are being changed`);
	}
}
