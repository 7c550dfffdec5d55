/**
 * Growth of a tree by new leaves behind its last one (format section 8). New blocks and new leaves take their places
 * from an allocator of PBAs right behind the container's end; existing blocks on the way are copied on write.
 */
import type {Frame, Generation, Level, NodeIndex, Pba, Vba} from '../../sessions/vocabulary.js';
import {maxLevelLimit} from '../format/geometry.js';
import type {HashTree, Path} from './hash-tree.js';

/** PBAs that an extension adds, handed out in ascending order. */
export class BumpAllocator {
	#next: Pba;
	#left: number;
	readonly #count: number;

	constructor(firstPba: Pba, count: number) {
		this.#next = firstPba;
		this.#left = count;
		this.#count = count;
	}

	get remaining(): number {
		return this.#left;
	}

	get usedCount(): number {
		return this.#count - this.#left;
	}

	allocate(): Pba {
		if (this.#left === 0) {
			throw new Error('the allocator is used up');
		}

		this.#left--;
		return this.#next++;
	}
}

/** An existing block that a growth step changes and that therefore has to be volatile. */
export interface BranchBlock {
	readonly vba: Vba;
	readonly level: Level;
	readonly address: Pba;
	readonly generation: Generation;
}

/** True where a tree has all the leaves that its format allows. */
export function isAtLimit({geometry: {maxLevel, degree, leafCount}}: HashTree): boolean {
	return maxLevel === maxLevelLimit && leafCount === degree ** maxLevel;
}

/** Gives a full tree another root level. Has to be done, and may change nothing, before the branch is prepared. */
export function addLevelIfFull(tree: HashTree, allocator: BumpAllocator, generation: Generation): void {
	const {maxLevel, degree, leafCount} = tree.geometry;
	if (leafCount === degree ** maxLevel) {
		tree.addLevel({address: allocator.allocate(), generation});
	}
}

/** The existing blocks on the way to the next leaf that do not belong to the current generation, lowest first. */
export async function branchToMove(tree: HashTree, currentGeneration: Generation): Promise<BranchBlock[]> {
	const vba = tree.geometry.leafCount;
	const path: Path = [];
	let lowest = tree.walkExisting(vba, path);
	while (typeof lowest !== 'number') {
		await tree.loadExisting(vba);
		lowest = tree.walkExisting(vba, path);
	}

	const blocks: BranchBlock[] = [];
	for (let level = lowest; level <= tree.geometry.maxLevel; level++) {
		const generation = tree.generationAt(path, vba, level);
		if (generation !== currentGeneration) {
			blocks.push({vba, level, address: tree.addressAt(path, vba, level), generation});
		}
	}

	return blocks;
}

/** True where all the existing blocks on the way to a leaf are held. */
export function isBranchHeld(tree: HashTree, vba: Vba): boolean {
	return typeof tree.walkExisting(vba, []) === 'number';
}

/** Moves the blocks of a branch, all held, to their new places; from then on they are changed blocks. */
export function moveBranch(
	tree: HashTree,
	blocks: readonly BranchBlock[],
	places: readonly Pba[],
	generation: Generation,
): void {
	for (const [i, {vba, level}] of blocks.entries()) {
		const path: Path = [];
		tree.walkExisting(vba, path);
		tree.moveBlock(path, vba, level, {address: places[i], generation});
		tree.markDirty(path, vba, level);
	}
}

/**
 * Creates the missing blocks on the way to the next leaf and fills the lowest one up with leaves, as far as the
 * allocator goes. The existing blocks of the branch are held and volatile.
 */
export function addLeaves(
	tree: HashTree,
	allocator: BumpAllocator,
	{generation, setLeaf}: {generation: Generation; setLeaf: (frame: Frame, index: NodeIndex, address: Pba) => void},
): number {
	const vba = tree.geometry.leafCount;
	const path: Path = [];
	let level = tree.walkExisting(vba, path);
	if (typeof level !== 'number') {
		throw new Error('the branch of a growth step is not held');
	}

	tree.markDirty(path, vba, level);
	for (; level > 1 && allocator.remaining > 0; level--) {
		tree.addBlock(path, vba, level - 1, {address: allocator.allocate(), generation});
	}

	if (level > 1) {
		return 0;
	}

	const first = tree.geometry.childIndex(vba, 1);
	const count = Math.min(tree.geometry.degree - first, allocator.remaining);
	for (let i = 0; i < count; i++) {
		setLeaf(path[1], first + i, allocator.allocate());
	}

	tree.addLeaves(count);
	return count;
}
