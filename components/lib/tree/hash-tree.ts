/**
 * A hash tree whose inner blocks are held in memory: the way from the root to a leaf, and copy-on-write along it
 * (format sections 3 and 4). All of it is synchronous; what is not held is named so that the caller can load it.
 */
import type {FreshTree, TreeRoot} from '../../sessions/tree-root.js';
import type {Frame, Generation, Level, NodeIndex, Pba, Vba} from '../../sessions/vocabulary.js';
import {isImplied} from '../format/fresh-layout.js';
import {Geometry, nodesPerBlock} from '../format/geometry.js';
import type {HeldBlocks, RootMark, WantedBlock} from './held-blocks.js';
import {lostLabel} from '../format/label.js';
import {labelWordsOf} from '../format/node-blocks.js';

/** Frames on the way to a leaf by level: `path[1]` holds the leaf's node, `path[maxLevel]` is the root block. */
export type Path = Frame[];

/** A walk that was repeated this often and still misses blocks has a cache that is too small for it. */
const loadRoundMax = 1000;

export class HashTree {
	#geometry: Geometry;
	readonly #held: HeldBlocks;
	/** Undefined where every inner block lies on the medium. */
	readonly #fresh: FreshTree | undefined;
	/** Stands for this tree's root node where labels are given out. */
	readonly mark: RootMark;
	#address: Pba;
	#generation: Generation;
	#hash: Uint8Array;
	/** The same for comparisons. */
	#hashWords: Uint32Array;

	constructor(held: HeldBlocks, tree: TreeRoot, mark: RootMark) {
		this.#geometry = new Geometry(tree);
		this.#held = held;
		this.mark = mark;
		this.#fresh = tree.fresh;
		this.#address = tree.root.address;
		this.#generation = tree.root.generation;
		this.#hash = tree.root.hash;
		this.#hashWords = labelWordsOf(tree.root.hash);
	}

	get geometry(): Geometry {
		return this.#geometry;
	}

	/** The tree as its superblock describes it. The hash is right only after everything changed was stored. */
	get root(): TreeRoot {
		const {maxLevel, degree, leafCount} = this.geometry;
		return {
			root: {address: this.#address, generation: this.#generation, hash: this.#hash},
			maxLevel,
			degree,
			leafCount,
			...(this.#fresh && {fresh: this.#fresh}),
		};
	}

	setRootHash(hash: Uint8Array): void {
		this.#hash = hash;
		this.#hashWords = labelWordsOf(hash);
	}

	/** Fills `path` down to level 1 and returns undefined, or returns the first block on the way that is not held. */
	walk(vba: Vba, path: Path): WantedBlock | undefined {
		const {nodes} = this.#held;
		const {geometry} = this;
		let frame = this.#findRoot();
		if (frame === undefined) {
			return this.#wantedRoot();
		}

		path[geometry.maxLevel] = frame;
		for (let level = geometry.maxLevel; level > 1; level--) {
			const index = geometry.childIndex(vba, level);
			const address = nodes.address(frame, index);
			const child = this.#held.findChild(address, frame * nodesPerBlock + index);
			if (child === undefined) {
				return this.#wantedChild(frame, index, vba, level - 1);
			}

			path[level - 1] = child;
			frame = child;
		}

		return undefined;
	}

	#findRoot(): Frame | undefined {
		return this.#held.findRoot(this.#address, this.mark, this.#hashWords);
	}

	/** The block at `level` on the way to `vba`, where it is held; the one above it is in `path`. */
	#findAt(path: Path, vba: Vba, level: Level): Frame | undefined {
		const {maxLevel} = this.geometry;
		if (level === maxLevel) {
			return this.#findRoot();
		}

		const index = this.geometry.childIndex(vba, level + 1);
		return this.#held.findChild(
			this.#held.nodes.address(path[level + 1], index),
			path[level + 1] * nodesPerBlock + index,
		);
	}

	#wantedRoot(): WantedBlock {
		const {maxLevel: level} = this.geometry;
		return this.#wanted({address: this.#address, label: this.#hash, level}, 0);
	}

	/** The block at `level` on the way to `vba`, which the node at `index` of `frame` points to. */
	#wantedChild(frame: Frame, index: NodeIndex, vba: Vba, level: Level): WantedBlock {
		const {nodes} = this.#held;
		return this.#wanted({address: nodes.address(frame, index), label: nodes.hash(frame, index), level}, vba);
	}

	#wanted(block: WantedBlock, vba: Vba): WantedBlock {
		const {degree} = this.geometry;
		return this.#fresh && isImplied(this.#fresh, block.label)
			? {
					...block,
					implied: {
						tree: this.#fresh,
						degree,
						level: block.level,
						position: Math.floor(vba / degree ** block.level),
					},
				}
			: block;
	}

	/**
	 * Fills `path` from the root down as far as blocks may have something written below them. Returns the level of the
	 * first block on the way below which nothing ever was, 0 where there is none, or the first block that is not held.
	 */
	walkWritten(vba: Vba, path: Path): Level | WantedBlock {
		let wanted = this.#wantedRoot();
		for (let level = this.geometry.maxLevel; ; level--) {
			const frame = this.#findAt(path, vba, level);
			// A changed block has its label only once it is stored.
			if (wanted.implied && (frame === undefined || !this.#held.isDirty(frame))) {
				return level;
			}

			if (frame === undefined) {
				return wanted;
			}

			path[level] = frame;
			if (level === 1) {
				return 0;
			}

			const index = this.geometry.childIndex(vba, level);
			wanted = this.#wantedChild(frame, index, vba, level - 1);
		}
	}

	/** The same with all blocks loaded; then use them at once. */
	async loadWritten(vba: Vba, path: Path): Promise<Level> {
		for (let round = 0; round < loadRoundMax; round++) {
			const walked = this.walkWritten(vba, path);
			if (typeof walked === 'number') {
				return walked;
			}

			await this.#held.load([walked]);
		}

		throw new Error('the cache is too small for the requests that are under way: raise its size');
	}

	/** The first leaf behind the block at `level` on the way to `vba`. */
	endOf(vba: Vba, level: Level): Vba {
		const {geometry} = this;
		return Math.min(geometry.leafCount, geometry.lowestVba(vba, level) + geometry.degree ** level);
	}

	/** Fills `path` from the root block down to `lowest`; false where a block on the way is not held. */
	walkDown(vba: Vba, lowest: Level, path: Path): boolean {
		const {maxLevel} = this.geometry;
		for (let level = maxLevel; level >= lowest; level--) {
			const frame = this.#findAt(path, vba, level);
			if (frame === undefined) {
				return false;
			}

			path[level] = frame;
		}

		return true;
	}

	/**
	 * Walks towards a leaf that may not exist yet: fills `path` down to the lowest block that does and returns its
	 * level, or returns the first existing block on the way that is not held.
	 */
	walkExisting(vba: Vba, path: Path): Level | WantedBlock {
		const {nodes} = this.#held;
		const {maxLevel} = this.geometry;
		const root = this.#findRoot();
		if (root === undefined) {
			return this.#wantedRoot();
		}

		path[maxLevel] = root;
		for (let level = maxLevel; level > 1; level--) {
			const index = this.geometry.childIndex(vba, level);
			const address = nodes.address(path[level], index);
			if (address === 0) {
				return level;
			}

			const child = this.#held.findChild(address, path[level] * nodesPerBlock + index);
			if (child === undefined) {
				return this.#wantedChild(path[level], index, vba, level - 1);
			}

			path[level - 1] = child;
		}

		return 1;
	}

	/** Loads the existing blocks on the way to a leaf and returns the lowest one's level; then use them at once. */
	async loadExisting(vba: Vba): Promise<Level> {
		for (let round = 0; round < loadRoundMax; round++) {
			const lowest = this.walkExisting(vba, []);
			if (typeof lowest === 'number') {
				return lowest;
			}

			await this.#held.load([lowest]);
		}

		throw new Error('the cache is too small for the requests that are under way: raise its size');
	}

	/** Puts a new root block at `place` above a full tree; the old root becomes its first child. */
	addLevel(place: {address: Pba; generation: Generation}): void {
		const {maxLevel, degree, leafCount} = this.geometry;
		const frame = this.#held.create(place.address);
		this.#held.nodes.setPlace(frame, 0, this.#address, this.#generation);
		this.#held.nodes.setHash(frame, 0, this.#hash, 0);
		const child = this.#findRoot();
		if (child !== undefined && this.#held.isDirty(child)) {
			this.#held.reparent(child, frame * nodesPerBlock);
		}

		this.#geometry = new Geometry({maxLevel: maxLevel + 1, degree, leafCount});
		this.#address = place.address;
		this.#generation = place.generation;
		this.#held.markDirty(frame, maxLevel + 1, this.mark);
	}

	/** Puts a new, empty block at `level` on the way to `vba`, below the volatile block `path[level + 1]`. */
	addBlock(path: Path, vba: Vba, level: Level, place: {address: Pba; generation: Generation}): void {
		const frame = this.#held.create(place.address);
		path[level] = frame;
		const index = this.geometry.childIndex(vba, level + 1);
		this.#held.nodes.setPlace(path[level + 1], index, place.address, place.generation);
		this.#held.markDirty(frame, level, path[level + 1] * nodesPerBlock + index);
	}

	/** The leaves right behind the last one exist now. */
	addLeaves(count: number): void {
		const {maxLevel, degree, leafCount} = this.geometry;
		this.#geometry = new Geometry({maxLevel, degree, leafCount: leafCount + count});
	}

	/**
	 * Loads blocks until the ways to all of `vbas` are held at the same time; then the caller must use them at once.
	 */
	async load(vbas: Iterable<Vba>): Promise<void> {
		const path: Path = [];
		for (let round = 0; round < loadRoundMax; round++) {
			const missing: WantedBlock[] = [];
			for (const vba of vbas) {
				const wanted = this.walk(vba, path);
				if (wanted && !missing.some(other => other.address === wanted.address)) {
					missing.push(wanted);
				}
			}

			if (missing.length === 0) {
				return;
			}

			await this.#held.load(missing);
		}

		throw new Error('the cache is too small for the requests that are under way: raise its size');
	}

	/** Address of the block at `level` on the way to `vba`, as its parent says. */
	addressAt(path: Path, vba: Vba, level: Level): Pba {
		return level === this.geometry.maxLevel
			? this.#address
			: this.#held.nodes.address(path[level + 1], this.geometry.childIndex(vba, level + 1));
	}

	/** Generation of the block at `level` on the way to `vba`, as its parent says. */
	generationAt(path: Path, vba: Vba, level: Level): Generation {
		return level === this.geometry.maxLevel
			? this.#generation
			: this.#held.nodes.generation(path[level + 1], this.geometry.childIndex(vba, level + 1));
	}

	/**
	 * Label of the block at `level` on the way to `vba`, as its parent says: a view where the parent is a block; of a
	 * changed block that of its old content.
	 */
	labelAt(path: Path, vba: Vba, level: Level): Uint8Array {
		return level === this.geometry.maxLevel
			? this.#hash
			: this.#held.nodes.hash(path[level + 1], this.geometry.childIndex(vba, level + 1));
	}

	/**
	 * The block at `level` on the way to `vba` is given up: its node names a place, but a label that no content has.
	 */
	giveUp(path: Path, vba: Vba, level: Level, address: Pba): void {
		if (level === this.geometry.maxLevel) {
			this.#address = address;
			this.setRootHash(lostLabel);
			return;
		}

		const index = this.geometry.childIndex(vba, level + 1);
		this.#held.nodes.setPlace(path[level + 1], index, address, this.generationAt(path, vba, level));
		this.#held.nodes.setHash(path[level + 1], index, lostLabel, 0);
	}

	/** Copy-on-write of the block at `level`: from now on it lies at `address` and belongs to `generation`. */
	moveBlock(path: Path, vba: Vba, level: Level, place: {address: Pba; generation: Generation}): void {
		if (level === this.geometry.maxLevel) {
			this.#address = place.address;
			this.#generation = place.generation;
		} else {
			this.#held.nodes.setPlace(
				path[level + 1],
				this.geometry.childIndex(vba, level + 1),
				place.address,
				place.generation,
			);
		}

		this.#held.move(path[level], place.address);
	}

	/**
	 * From now on the block at `level` on the way to `vba` is one that another tree shares and has moved to `address`,
	 * where it is held and changed: its label comes here too.
	 */
	share(path: Path, vba: Vba, level: Level, address: Pba): void {
		const frame = this.#held.find(address);
		if (frame === undefined) {
			throw new Error('a shared block that was moved is not held');
		}

		if (level === this.geometry.maxLevel) {
			this.#address = address;
			this.#held.addParent(frame, this.mark);
			return;
		}

		const index = this.geometry.childIndex(vba, level + 1);
		this.#held.nodes.setPlace(path[level + 1], index, address, this.generationAt(path, vba, level));
		this.#held.addParent(frame, path[level + 1] * nodesPerBlock + index);
	}

	/** Marks every block on the way from `lowest` up as changed; all of them must be volatile. */
	markDirty(path: Path, vba: Vba, lowest: Level = 1): void {
		const {maxLevel} = this.geometry;
		for (let level = lowest; level < maxLevel; level++) {
			this.#held.markDirty(
				path[level],
				level,
				path[level + 1] * nodesPerBlock + this.geometry.childIndex(vba, level + 1),
			);
		}

		this.#held.markDirty(path[maxLevel], maxLevel, this.mark);
	}
}
