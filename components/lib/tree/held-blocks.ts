/**
 * The client's side of the `cache` session: inner blocks of trees that this component holds in the shared frames.
 *
 * Invariants: a mapped frame holds either what matched the label kept with it, or a changed block (*dirty*) whose new
 * content is newer than the medium. Dirty frames stay until they are stored, so a block that is not held always matches
 * the label in its parent. Clean frames are evicted by second chance (CLOCK).
 *
 * An address alone names no block: in a container that another implementation has damaged, two nodes may name one
 * address and mean different blocks. So a node gets a frame only where its own label is the one that the frame's
 * content matched, or, of a changed block, where the node is one of those that will get its new label.
 */
import {SessionError, type Client} from '../../../runtime/sdk/session.js';
import type {cache} from '../../sessions/cache.js';
import type {Frame, Level, Pba} from '../../sessions/vocabulary.js';
import {fillImplied, type ImpliedBlock} from '../format/fresh-layout.js';
import {maxLevelLimit} from '../format/geometry.js';
import {labelLength} from '../format/label.js';
import {NodeBlocks, labelWordsOf, wordsPerLabel} from '../format/node-blocks.js';

/** A block to load, named by its parent's node. */
export interface WantedBlock {
	readonly address: Pba;
	/** The label in the parent; copied when the load begins. */
	readonly label: Uint8Array;
	readonly level: Level;
	/** What it holds, where it does not lie on the medium. */
	readonly implied?: ImpliedBlock;
}

/** Fewer frames than this cannot hold the paths of the batches that are under way at once. */
export const frameCountMin = 512;

/** A negative number that stands for the root node of one of the trees held together. */
export type RootMark = number;

/** Parent frame * 64 + node index, or a root mark. */
export type ParentNode = number;

const unmapped = -1;

function mismatchOf({address, level}: WantedBlock): SessionError {
	return new SessionError(
		'integrity',
		`the block at PBA ${address} (level ${level}) does not match the hash in its parent`,
		{address, level},
	);
}

export class HeldBlocks {
	readonly nodes: NodeBlocks;
	readonly frameCount: number;
	readonly #cache: Client<typeof cache>;
	readonly #frames = new Map<Pba, Frame>();
	readonly #addresses: Float64Array;
	readonly #referenced: Uint8Array;
	/** 1 for a changed block. */
	readonly #dirty: Uint8Array;
	/** The changed blocks of each level. */
	readonly #dirtyFrames: Frame[][] = Array.from({length: maxLevelLimit + 1}, () => []);
	/** Where the label of a dirty block belongs: parent frame * 64 + node index, or the mark of a root. */
	readonly #parents: Int32Array;
	/** The label that the content of each clean frame matched, 8 words each. */
	readonly #labels: Uint32Array;
	/** Frames being filled: neither mapped nor evictable. */
	readonly #loading: Uint8Array;
	readonly #loads = new Map<Pba, Promise<void>>();
	/** Further places for the labels of dirty blocks that several trees share. */
	readonly #furtherParents = new Map<Frame, ParentNode[]>();
	#hand = 0;
	#dirtyCount = 0;
	/** Said with each request where the blocks are encrypted on the medium. */
	#form: {readonly encrypted?: true} = {};

	private constructor(client: Client<typeof cache>, memory: Uint8Array, frameCount: number) {
		this.#cache = client;
		this.nodes = new NodeBlocks(memory);
		this.frameCount = frameCount;
		this.#addresses = new Float64Array(frameCount).fill(unmapped);
		this.#referenced = new Uint8Array(frameCount);
		this.#dirty = new Uint8Array(frameCount);
		this.#parents = new Int32Array(frameCount);
		this.#labels = new Uint32Array(frameCount * wordsPerLabel);
		this.#loading = new Uint8Array(frameCount);
	}

	/** @param frameCountMax frames beyond so many would bring nothing; as many as there are where it is left out */
	static async attach(client: Client<typeof cache>, frameCountMax?: number): Promise<HeldBlocks> {
		const {memory, frameCount} = await client.attach(frameCountMax === undefined ? {} : {frameCountMax});
		if (frameCount < frameCountMin) {
			throw new Error(
				`the cache gives this client ${frameCount} blocks, it needs ${frameCountMin}: raise the cache's size`,
			);
		}

		return new HeldBlocks(client, memory, frameCount);
	}

	get dirtyCount(): number {
		return this.#dirtyCount;
	}

	/** True where so much is dirty that the state should be secured before more is changed. */
	get isPressed(): boolean {
		return this.#dirtyCount > this.frameCount / 2;
	}

	/**
	 * Forgets everything, dirty blocks too. No load may be under way. From now on the blocks lie on the medium as
	 * `innerBlocks` says.
	 */
	reset(innerBlocks: 'encrypted' | undefined = undefined): void {
		this.#form = innerBlocks ? {encrypted: true} : {};
		this.#frames.clear();
		this.#addresses.fill(unmapped);
		this.#clean();
	}

	/** The frame that holds the block at `address`, or undefined, whoever refers to it. */
	find(address: Pba): Frame | undefined {
		const frame = this.#frames.get(address);
		if (frame !== undefined) {
			this.#referenced[frame] = 1;
		}

		return frame;
	}

	/** The frame that holds the block at `address` which the node `parent` means, or undefined. */
	findChild(address: Pba, parent: ParentNode): Frame | undefined {
		const frame = this.find(address);
		if (frame === undefined) {
			return undefined;
		}

		const isMeant =
			this.#dirty[frame] === 1
				? this.#isParent(frame, parent)
				: this.nodes.hasLabel(parent, this.#labels, frame * wordsPerLabel);
		return isMeant ? frame : undefined;
	}

	/** The same for a root block, whose label is not in a node; `label` as 8 words. */
	findRoot(address: Pba, mark: RootMark, label: Uint32Array): Frame | undefined {
		const frame = this.find(address);
		if (frame === undefined) {
			return undefined;
		}

		return (this.#dirty[frame] === 1 ? this.#isParent(frame, mark) : this.#hasLabel(frame, label))
			? frame
			: undefined;
	}

	#isParent(frame: Frame, parent: ParentNode): boolean {
		return this.#parents[frame] === parent || this.#furtherParents.get(frame)?.includes(parent) === true;
	}

	#hasLabel(frame: Frame, label: Uint32Array): boolean {
		for (let i = 0; i < wordsPerLabel; i++) {
			if (this.#labels[frame * wordsPerLabel + i] !== label[i]) {
				return false;
			}
		}

		return true;
	}

	/**
	 * Loads what is not held yet. Another load may evict what this one brought, so callers look again and repeat. Where
	 * a frame holds another block that was found at the same address, it gives way to one that matches its label now.
	 * @throws SessionError `integrity` with `address` and `level` where a block does not match its label
	 */
	async load(wanted: readonly WantedBlock[]): Promise<void> {
		const waits: Array<Promise<void>> = [];
		const fresh: WantedBlock[] = [];
		for (const block of wanted) {
			const running = this.#loads.get(block.address);
			if (running) {
				// That load may fail for another block than this one; the caller looks again and finds out.
				waits.push(running.catch(() => undefined));
			} else if (!this.#isHeld(block) && !fresh.some(other => other.address === block.address)) {
				if (block.implied) {
					this.#fill(block.address, block.implied);
				} else {
					fresh.push(block);
				}
			}
		}

		if (fresh.length > 0) {
			// A load that fails at once must be forgotten as well: `finally` runs after it was noted.
			const load = this.#loadFresh(fresh).finally(() => {
				for (const {address} of fresh) {
					this.#loads.delete(address);
				}
			});
			for (const {address} of fresh) {
				this.#loads.set(address, load);
			}

			waits.push(load);
		}

		await Promise.all(waits);
	}

	/**
	 * @throws SessionError `integrity` where a changed block will be stored there, which is never the one that is
	 * wanted
	 */
	#isHeld(block: WantedBlock): boolean {
		const frame = this.#frames.get(block.address);
		if (frame === undefined) {
			return false;
		}

		if (this.#dirty[frame] === 1) {
			throw mismatchOf(block);
		}

		return this.#hasLabel(frame, labelWordsOf(block.label));
	}

	/** Which of the blocks on the medium, by index, do not match their labels; what is held does not count. */
	async mismatches(wanted: readonly WantedBlock[]): Promise<number[]> {
		const labels = new Uint8Array(wanted.length * labelLength);
		for (const [i, {label}] of wanted.entries()) {
			labels.set(label, i * labelLength);
		}

		const {mismatched} = await this.#cache.verify({addresses: wanted.map(({address}) => address), labels});
		return mismatched;
	}

	/** A frame for a new block at `address`, all zero. It has to be marked dirty at once. */
	create(address: Pba): Frame {
		const frame = this.#takeFrame();
		this.nodes.clear(frame);
		this.#map(address, frame);
		return frame;
	}

	/** Copy-on-write: the block in `frame` moves to `address`; what lies at its old place on the medium stays there. */
	move(frame: Frame, address: Pba): void {
		this.#frames.delete(this.#addresses[frame]);
		this.#map(address, frame);
	}

	/**
	 * Marks a block as changed. Its parent, or the root node with that mark, has to be changed in the same generation
	 * too, so that the label has a place to go.
	 */
	markDirty(frame: Frame, level: Level, parent: ParentNode): void {
		if (this.#dirty[frame] === 0) {
			this.#dirty[frame] = 1;
			this.#dirtyFrames[level].push(frame);
			this.#parents[frame] = parent;
			this.#dirtyCount++;
		}
	}

	/** A changed block has got another parent: its label belongs there. */
	reparent(frame: Frame, parent: ParentNode): void {
		this.#parents[frame] = parent;
	}

	/** The label of a changed block belongs into another tree's node too. */
	addParent(frame: Frame, parent: ParentNode): void {
		this.#furtherParents.set(frame, [...(this.#furtherParents.get(frame) ?? []), parent]);
	}

	isDirty(frame: Frame): boolean {
		return this.#dirty[frame] === 1;
	}

	/**
	 * Stores every dirty block in one request. The cache puts the new labels into the parents, level by level; those of
	 * roots go to `setRootHash`. Nothing may be changed meanwhile. Blocks count as clean only once all is stored, so a
	 * failed store can be repeated.
	 */
	async store(setRootHash: (rootMark: RootMark, hash: Uint8Array) => void): Promise<number> {
		const frames = this.#dirtyFrames.flat();
		if (frames.length === 0) {
			return 0;
		}

		const places: number[] = [];
		const roots: Array<{readonly index: number; readonly mark: RootMark}> = [];
		const add = (index: number, parent: ParentNode) => {
			if (parent >= 0) {
				places.push(index, parent);
			} else {
				roots.push({index, mark: parent});
			}
		};

		for (const [index, frame] of frames.entries()) {
			add(index, this.#parents[frame]);
			for (const parent of this.#furtherParents.get(frame) ?? []) {
				add(index, parent);
			}
		}

		const {labels} = await this.#cache.store({
			frames,
			addresses: frames.map(frame => this.#addresses[frame]),
			places,
			...this.#form,
		});
		for (const {index, mark} of roots) {
			setRootHash(mark, Uint8Array.from(labels.subarray(index * labelLength, (index + 1) * labelLength)));
		}

		const words = labelWordsOf(labels);
		for (const [index, frame] of frames.entries()) {
			this.#labels.set(words.subarray(index * wordsPerLabel, (index + 1) * wordsPerLabel), frame * wordsPerLabel);
		}

		this.#clean();
		return frames.length;
	}

	#clean(): void {
		this.#dirty.fill(0);
		this.#dirtyCount = 0;
		this.#furtherParents.clear();
		for (const frames of this.#dirtyFrames) {
			frames.length = 0;
		}
	}

	#fill(address: Pba, implied: ImpliedBlock): void {
		const frame = this.#takeFrame();
		fillImplied(this.nodes, frame, implied);
		this.#labels.fill(0, frame * wordsPerLabel, (frame + 1) * wordsPerLabel);
		this.#map(address, frame);
	}

	async #loadFresh(fresh: readonly WantedBlock[]): Promise<void> {
		const frames: Frame[] = [];
		try {
			const labels = new Uint8Array(fresh.length * labelLength);
			for (const [i, {label}] of fresh.entries()) {
				frames.push(this.#takeFrame());
				labels.set(label, i * labelLength);
			}

			const {mismatched} = await this.#cache.load({
				frames,
				addresses: fresh.map(({address}) => address),
				labels,
				...this.#form,
			});
			const bad = new Set(mismatched);
			const words = labelWordsOf(labels);
			for (const [i, {address}] of fresh.entries()) {
				// The address may have come back to this tree with other content while an old block was being read from
				// it.
				const other = this.#frames.get(address);
				if (!bad.has(i) && (other === undefined || this.#dirty[other] === 0)) {
					this.#labels.set(
						words.subarray(i * wordsPerLabel, (i + 1) * wordsPerLabel),
						frames[i] * wordsPerLabel,
					);
					this.#map(address, frames[i]);
				}
			}

			if (mismatched.length > 0) {
				throw mismatchOf(fresh[mismatched[0]]);
			}
		} finally {
			for (const frame of frames) {
				this.#loading[frame] = 0;
			}
		}
	}

	/** Finds a frame to fill, evicting a clean block that was not used lately. The frame is reserved until mapped. */
	#takeFrame(): Frame {
		for (let step = 0; step < 2 * this.frameCount; step++) {
			const frame = this.#hand;
			this.#hand = (this.#hand + 1) % this.frameCount;
			if (this.#dirty[frame] === 1 || this.#loading[frame] === 1) {
				continue;
			}

			if (this.#referenced[frame] === 1) {
				this.#referenced[frame] = 0;
				continue;
			}

			if (this.#addresses[frame] !== unmapped) {
				this.#frames.delete(this.#addresses[frame]);
				this.#addresses[frame] = unmapped;
			}

			this.#loading[frame] = 1;
			return frame;
		}

		throw new SessionError('no_space', 'every block of the cache is changed or being loaded');
	}

	#map(address: Pba, frame: Frame): void {
		const stale = this.#frames.get(address);
		if (stale !== undefined && stale !== frame) {
			// The address was given up by this tree and has now come back with other content.
			this.#addresses[stale] = unmapped;
		}

		this.#frames.set(address, frame);
		this.#addresses[frame] = address;
		this.#referenced[frame] = 1;
		this.#loading[frame] = 0;
	}
}
