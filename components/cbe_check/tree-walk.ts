/**
 * Walks trees from their roots down and checks every block, depth first in batches, so that the memory needed does not
 * grow with the trees.
 *
 * All snapshots are walked together: at every position of a level the references of all of them stand side by side,
 * and equal ones (same PBA, same hash) are followed once. A branch that snapshots share is so checked once, without a
 * record of what has been checked already.
 */
import type {NodeIndex} from '../sessions/vocabulary.js';
import {blockSize} from '../lib/format/geometry.js';
import {fillImplied, firstPlace} from '../lib/format/fresh-layout.js';
import {NodeBlocks, type PoolEntry} from '../lib/format/node-blocks.js';
import type {RootNode} from '../sessions/tree-root.js';
import {pieceBlockCount, type BlockVerifier} from './block-verifier.js';
import type {BoundedJobs} from './bounded-jobs.js';
import type {Findings} from './findings.js';
import {childPresence, type1Fault, type2Fault} from './node-check.js';
import type {Ownership, Place} from './ownership.js';
import type {Progress} from './check-progress.js';
import {isEmptied, isImpliedReference, referenceText, type CheckedTree, type Reference} from './reference.js';

export interface RootedTree extends CheckedTree {
	readonly root: RootNode;
}

export interface WalkParts {
	readonly verifier: BlockVerifier;
	readonly jobs: BoundedJobs;
	readonly ownership: Ownership;
	readonly findings: Findings;
	readonly progress: Progress;
	readonly lastGeneration: number;
	/** The key of leaves from there on was never stored; Infinity where all keys are there. */
	readonly keylessFrom: number;
}

/** Takes an entry of a pool, whose block is not read. */
export type ClaimEntry = (entry: PoolEntry, place: Place) => void;

export interface WalkCounts {
	inner: number;
	/** Leaves that were read and checked. */
	data: number;
	/** Leaves of the first tree without content, or entries of a pool. */
	unread: number;
	/** Places below which nothing could be checked. */
	gaps: number;
	/** Written leaves whose key is lost, as ranges of VBAs, ascending. */
	readonly keyless: Array<{readonly first: number; last: number}>;
}

/** Nodes of a tree with a generation that it does not have yet. */
export interface NewerNodes {
	count: number;
	readonly first: Reference;
}

/** The verified blocks of one batch. */
interface Batch {
	readonly references: readonly Reference[];
	readonly nodes: NodeBlocks;
	readonly good: readonly boolean[];
}

export class TreeWalk {
	readonly counts: WalkCounts = {inner: 0, data: 0, unread: 0, gaps: 0, keyless: []};
	/** What each tree has that is newer than itself; of blocks that trees share, the oldest of these counts. */
	readonly newer = new Map<CheckedTree, NewerNodes>();
	readonly #trees: readonly RootedTree[];
	readonly #parts: WalkParts;
	readonly #leavesBefore: number;
	readonly #claimEntry: ClaimEntry | undefined;

	/**
	 * @param trees the newest one first; older ones are never higher than newer ones
	 * @param leavesBefore leaves of the trees walked before, for the progress
	 * @param claimEntry for pool trees: called with each entry, whose block is not read
	 */
	constructor(
		trees: readonly RootedTree[],
		{parts, leavesBefore, claimEntry}: {parts: WalkParts; leavesBefore: number; claimEntry?: ClaimEntry},
	) {
		this.#trees = trees;
		this.#parts = parts;
		this.#leavesBefore = leavesBefore;
		this.#claimEntry = claimEntry;
	}

	async run(): Promise<void> {
		const highest = Math.max(...this.#trees.map(({maxLevel}) => maxLevel));
		await this.#visit(highest, this.#enter(this.#rootsAt(highest)), true);
		await this.#parts.jobs.finish();
	}

	/** @param atOrigin the batch begins at position 0, where the roots of lower trees join the walk */
	async #visit(level: number, references: readonly Reference[], atOrigin: boolean): Promise<void> {
		if (level === 0) {
			await this.#visitLeaves(references);
			return;
		}

		const batch = await this.#load(references);
		if (level === 1 && this.#claimEntry) {
			this.#visitEntries(batch, this.#claimEntry);
		} else {
			await this.#visitChildren(level, batch, atOrigin);
		}
	}

	async #load(references: readonly Reference[]): Promise<Batch> {
		const memory = new Uint8Array(references.length * blockSize);
		const nodes = new NodeBlocks(memory);
		const good = references.map(reference => isImpliedReference(reference));
		for (const [frame, {tree, level, position}] of references.entries()) {
			if (good[frame] && tree.fresh) {
				fillImplied(nodes, frame, {tree: tree.fresh, degree: tree.degree, level, position});
			}
		}

		const stored = [...references.keys()].filter(frame => !good[frame]);
		for (let first = 0; first < stored.length; first += pieceBlockCount) {
			const piece = stored.slice(first, first + pieceBlockCount);
			this.counts.gaps += await this.#parts.verifier.verify(
				piece.map(frame => references[frame]),
				(index, bytes) => {
					memory.set(bytes, piece[index] * blockSize);
					good[piece[index]] = true;
				},
			);
		}

		this.counts.inner += stored.length;
		return {references, nodes, good};
	}

	async #visitChildren(level: number, batch: Batch, atOrigin: boolean): Promise<void> {
		let children: Reference[] = [];
		let childrenAtOrigin = atOrigin;
		const visit = async () => {
			await this.#visit(level - 1, children, childrenAtOrigin);
			children = [];
			childrenAtOrigin = false;
		};

		const joining = atOrigin ? this.#rootsAt(level - 1) : [];
		for (const {frames, index} of places(batch)) {
			const isOrigin =
				childrenAtOrigin && children.length === 0 && index === 0 && batch.references[frames[0]].position === 0;
			const found: Reference[] = [];
			for (const frame of frames) {
				const child = this.#child(batch, frame, index);
				if (child) {
					found.push(child);
				}
			}

			children.push(...this.#enter(isOrigin ? [...found, ...joining.splice(0)] : found));
			if (children.length >= pieceBlockCount) {
				await visit();
			}
		}

		// Still there where no block of a higher tree is left at position 0.
		children.push(...this.#enter(joining));
		if (children.length > 0 || childrenAtOrigin) {
			await visit();
		}
	}

	/** Leaves are checked beside the walk: nothing depends on them. */
	async #visitLeaves(references: readonly Reference[]): Promise<void> {
		const written = references.filter(reference => reference.generation > 0 && !isEmptied(reference));
		this.counts.data += written.length;
		this.#noteKeyless(written);
		this.counts.unread += references.length - written.length;
		this.#parts.progress.pass(this.#leavesBefore + (references.at(-1)?.position ?? 0));
		if (written.length === 0) {
			return;
		}

		for (let first = 0; first < written.length; first += pieceBlockCount) {
			await this.#parts.jobs.start(
				async () => void (await this.#parts.verifier.verify(written.slice(first, first + pieceBlockCount))),
			);
		}
	}

	#noteKeyless(written: readonly Reference[]): void {
		const {keyless} = this.counts;
		for (const {position} of written.filter(reference => reference.position >= this.#parts.keylessFrom)) {
			const range = keyless.at(-1);
			if (range && position <= range.last + 1) {
				range.last = position;
			} else {
				keyless.push({first: position, last: position});
			}
		}
	}

	#visitEntries({references, nodes, good}: Batch, claimEntry: ClaimEntry): void {
		for (const [frame, reference] of references.entries()) {
			for (let index = 0; good[frame] && index < reference.tree.degree; index++) {
				this.#visitEntry({reference, nodes, frame, index}, claimEntry);
			}

			this.#parts.progress.pass(this.#leavesBefore + (reference.position + 1) * reference.tree.degree);
		}
	}

	#visitEntry(
		{reference, nodes, frame, index}: {reference: Reference; nodes: NodeBlocks; frame: number; index: NodeIndex},
		claimEntry: ClaimEntry,
	): void {
		const {tree} = reference;
		const place = () => `${tree.name}, entry ${reference.position * tree.degree + index}`;
		if (!this.#isPresent(reference, index, nodes.isUnset(frame, index))) {
			return;
		}

		const entry = nodes.poolEntry(frame, index);
		const fault = type2Fault(nodes, frame, index);
		if (fault !== undefined) {
			this.#parts.findings.add(`${place()}: ${fault}`);
		}

		if (!this.#parts.ownership.isInRange(entry.address)) {
			this.#gap(`${place()}: PBA ${entry.address} lies outside of the container`);
			return;
		}

		this.counts.unread++;
		claimEntry(entry, place);
	}

	/** Child `index` of the block in `frame`, undefined where there is none. */
	#child({references, nodes}: Batch, frame: number, index: NodeIndex): Reference | undefined {
		const parent = references[frame];
		if (!this.#isPresent(parent, index, nodes.isUnset(frame, index))) {
			return undefined;
		}

		const child: Reference = {
			address: nodes.address(frame, index),
			generation: nodes.generation(frame, index),
			hash: nodes.hash(frame, index),
			level: parent.level - 1,
			position: parent.position * parent.tree.degree + index,
			tree: parent.tree,
			oldest: parent.oldest,
		};
		const fault = type1Fault(nodes, frame, index, this.#parts.lastGeneration);
		if (fault !== undefined) {
			this.#parts.findings.add(`${referenceText(child)}: ${fault}`);
		}

		return child;
	}

	/** Compares what a node has to be with what it is. */
	#isPresent(parent: Reference, index: NodeIndex, isUnset: boolean): boolean {
		const presence = childPresence(parent, index);
		if (isUnset && presence === 'required') {
			this.#gap(`${referenceText(parent)}: its node ${index} is unset although leaves belong below it`);
		} else if (!isUnset && presence === 'forbidden') {
			this.#parts.findings.add(
				`${referenceText(parent)}: its node ${index} is set although it lies behind the last leaf`,
			);
		}

		return !isUnset && presence !== 'forbidden';
	}

	/**
	 * The same but for a part of the newest state below which nothing was ever changed: all of it is owned at once, and
	 * not gone through.
	 */
	#enter(references: readonly Reference[]): Reference[] {
		const accepted = this.#accept(references);
		const [reference] = accepted;
		if (accepted.length !== 1 || !reference.tree.current || !isImpliedReference(reference)) {
			return accepted;
		}

		this.#claimImplied(reference);
		return [];
	}

	#claimImplied(reference: Reference): void {
		const {
			tree: {fresh, degree},
			level,
			position,
		} = reference;
		if (!fresh) {
			return;
		}

		for (let below = level - 1, span = degree; below >= 0; below--, span *= degree) {
			const first = position * span;
			const count = Math.min(span, Math.ceil(fresh.leafCount / degree ** below) - first);
			this.#parts.ownership.claimRange(firstPlace(fresh, degree, below) + first, count, () =>
				referenceText(reference),
			);
			if (below === 0) {
				this.counts.unread += count;
				this.#parts.progress.pass(this.#leavesBefore + first + count);
			}
		}
	}

	/** References of all trees from one place: equal ones once, each block given to its owner. */
	#accept(references: readonly Reference[]): Reference[] {
		const accepted: Reference[] = [];
		for (const reference of references) {
			this.#noteNewer(reference);
			const same = accepted.findIndex(other => isSameReference(other, reference));
			if (same !== -1) {
				accepted[same] = withOldest(accepted[same], reference);
				continue;
			}

			if (this.#parts.ownership.isInRange(reference.address)) {
				// A leaf that a newer state has emptied is the same block to its owner.
				if (
					!accepted.some(
						other =>
							other.address === reference.address &&
							other.generation === reference.generation &&
							isEmptied(other) !== isEmptied(reference),
					)
				) {
					this.#own(reference);
				}

				accepted.push(reference);
			} else {
				this.#gap(`${referenceText(reference)}: the PBA lies outside of the container`);
			}
		}

		return accepted;
	}

	#noteNewer(reference: Reference): void {
		const {oldest, generation} = reference;
		if (generation > oldest.generation) {
			const noted = this.newer.get(oldest);
			if (noted) {
				noted.count++;
			} else {
				this.newer.set(oldest, {count: 1, first: {...reference, tree: oldest}});
			}
		}
	}

	#own(reference: Reference): void {
		const {ownership} = this.#parts;
		if (reference.tree.current) {
			ownership.claim(reference.address, () => referenceText(reference));
		} else if (reference.level > 0 || reference.generation > 0) {
			// What was never written when the snapshot was taken holds nothing of it.
			ownership.hold(reference.address, () => referenceText(reference));
		}
	}

	#gap(text: string): void {
		this.counts.gaps++;
		this.#parts.findings.add(text);
	}

	#rootsAt(level: number): Reference[] {
		return this.#trees
			.filter(({maxLevel}) => maxLevel === level)
			.map(tree => ({...tree.root, level, position: 0, tree, oldest: tree}));
	}
}

/** A reference of several trees, with the oldest of those of both. */
function withOldest(reference: Reference, {oldest}: Reference): Reference {
	return oldest.generation < reference.oldest.generation ? {...reference, oldest} : reference;
}

/**
 * True where two references from one place mean the same block; of data the generation may be a part of what is sealed.
 */
function isSameReference(a: Reference, b: Reference): boolean {
	return (
		a.address === b.address &&
		(a.level > 0 || a.generation === b.generation) &&
		Buffer.compare(a.hash, b.hash) === 0
	);
}

/** Every place among the children of a batch, in ascending order, with the good blocks that may refer to it. */
function* places({references, good}: Batch): Generator<{frames: number[]; index: NodeIndex}> {
	for (let first = 0; first < references.length;) {
		const {position, tree} = references[first];
		const frames: number[] = [];
		let frame = first;
		for (; frame < references.length && references[frame].position === position; frame++) {
			if (good[frame]) {
				frames.push(frame);
			}
		}

		for (let index = 0; frames.length > 0 && index < tree.degree; index++) {
			yield {frames, index};
		}

		first = frame;
	}
}
