/**
 * Inner blocks that a rekeying step has read, more than once, and that do not match the labels in their parents: nobody
 * can say what lies below them. The step goes around them.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import type {Generation, Pba, Vba} from '../sessions/vocabulary.js';
import type {HeldBlocks, WantedBlock} from '../lib/tree/held-blocks.js';
import {isLostLabel} from '../lib/format/label.js';
import type {RekeyedBlock, RekeyedTree, Shared} from './rekey-plan.js';
import type {Range} from './request-queue.js';

/** A block is read this often before it is given up: a bus or a disk may err once. */
const attemptMax = 3;

/** Blocks loaded on one way before the cache counts as too small to hold it. */
const loadMax = 1000;

/** One leaf of each lowest block of a tree in the range. */
function waysOf(
	{
		tree: {
			geometry: {degree, leafCount},
		},
	}: RekeyedTree,
	{vba, count}: Range,
): Vba[] {
	const ways: Vba[] = [];
	for (let first = vba - (vba % degree); first < Math.min(vba + count, leafCount); first += degree) {
		ways.push(first);
	}

	return ways;
}

function isIntegrityError(error: unknown): error is SessionError {
	return error instanceof SessionError && error.code === 'integrity';
}

export class LostBlocks {
	readonly #held: HeldBlocks;
	readonly #found: Array<{readonly address: Pba; readonly label: Uint8Array}> = [];

	constructor(held: HeldBlocks) {
		this.#held = held;
	}

	/** True for a block that does not match this label, or was given up before. */
	has({address, label}: WantedBlock): boolean {
		return (
			isLostLabel(label) ||
			this.#found.some(lost => lost.address === address && Buffer.compare(lost.label, label) === 0)
		);
	}

	/** True where all ways to the range are held, as far as they are not lost. */
	isRestHeld(trees: readonly RekeyedTree[], range: Range): boolean {
		return trees.every(owner => waysOf(owner, range).every(vba => this.#missing(owner, vba) === undefined));
	}

	/** Loads what is missing of the ways to the range; finds out what is lost of them. @throws SessionError */
	async load(trees: readonly RekeyedTree[], range: Range): Promise<void> {
		for (const owner of trees) {
			const ways = waysOf(owner, range);
			try {
				await owner.tree.load(ways.filter(vba => this.#missing(owner, vba) !== undefined));
			} catch (error) {
				if (!isIntegrityError(error)) {
					throw error;
				}

				for (const vba of ways) {
					await this.#follow(owner, vba);
				}
			}
		}
	}

	#missing({tree}: RekeyedTree, vba: Vba): WantedBlock | undefined {
		const wanted = tree.walk(vba, []);
		return wanted && this.has(wanted) ? undefined : wanted;
	}

	/** Loads one way block by block, down to the leaf's or a lost one. */
	async #follow(owner: RekeyedTree, vba: Vba): Promise<void> {
		for (let loads = 0; loads < loadMax; loads++) {
			const wanted = this.#missing(owner, vba);
			if (!wanted) {
				return;
			}

			await this.#loadOrGiveUp(owner, wanted);
		}

		throw new Error('the cache is too small for a rekeying: raise its size');
	}

	async #loadOrGiveUp({tree, generation}: RekeyedTree, wanted: WantedBlock): Promise<void> {
		const block = {...wanted, label: Uint8Array.from(wanted.label)};
		for (let attempt = 1; ; attempt++) {
			try {
				await this.#held.load([block]);
				return;
			} catch (error) {
				// Without the root of the current state there is no device to be rekeyed.
				const isWholeDevice = generation === null && block.level === tree.geometry.maxLevel;
				if (!isIntegrityError(error) || (attempt === attemptMax && isWholeDevice)) {
					throw error;
				}

				if (attempt === attemptMax) {
					this.#found.push(block);
					return;
				}
			}
		}
	}
}

/** The trees that have a block, newest first; null for the current one. Older ones may have it by a block above it. */
export function generationsWith(block: RekeyedBlock, shared: readonly Shared[]): Array<Generation | null> {
	const owners = new Set([block.owner]);
	for (const {owner, block: other} of shared) {
		const {degree} = owner.tree.geometry;
		const isAbove =
			other.level > block.level &&
			other.lowestVba <= block.lowestVba &&
			block.lowestVba < other.lowestVba + degree ** other.level;
		if (other === block || (isAbove && owners.has(other.owner))) {
			owners.add(owner);
		}
	}

	return [...owners].map(({generation}) => generation);
}

/** What became of a block that these trees refer to, null for the current one. */
export function textOfLost(
	{address, level, lowestVba, owner}: RekeyedBlock,
	generations: ReadonlyArray<Generation | null>,
): string {
	const {degree, leafCount} = owner.tree.geometry;
	const last = Math.min(leafCount, lowestVba + degree ** level) - 1;
	const place = level === 0 || last <= lowestVba ? `VBA ${lowestVba}` : `VBAs ${lowestVba} to ${last}`;
	const snapshots = generations.filter(generation => generation !== null);
	const trees = [
		...(snapshots.length < generations.length ? ['the current state'] : []),
		...(snapshots.length > 0 ? [`snapshot${snapshots.length > 1 ? 's' : ''} ${snapshots.join(', ')}`] : []),
	].join(' and ');
	return `the ${level === 0 ? 'data block' : 'block'} at PBA ${address} (level ${level}, ${place} of ${trees}) does not match the hash in its parent; it was not rekeyed and stays unreadable${level === 0 ? '' : ', with all that lies below it'}`;
}
