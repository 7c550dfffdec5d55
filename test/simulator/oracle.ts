/**
 * A second opinion on what lies on the medium, written after the format's description alone: it shares no code with
 * the device. It checks every hash of the last secured state, the generations, and that each block has one owner.
 */
import {createHash} from 'node:crypto';

const blockSize = 4096;
const nodeSize = 64;
const slotCount = 8;

export interface OracleImage {
	content(address: number): Buffer;
}

export interface OracleVerdict {
	readonly generation: number;
	/** Blocks that the secured state refers to, its superblock included. */
	readonly referenced: ReadonlySet<number>;
	/** VBAs of the current state whose data does not match its label. */
	readonly badData: readonly number[];
	/** What is wrong, in words. */
	readonly problems: readonly string[];
}

interface TreeShape {
	readonly name: string;
	readonly kind: 'data' | 'pool';
	readonly address: number;
	readonly generation: number;
	readonly hash: string;
	readonly maxLevel: number;
	readonly degree: number;
	readonly leafCount: number;
}

const zeroes = Buffer.alloc(blockSize);

function isZero(bytes: Buffer): boolean {
	return bytes.compare(zeroes, 0, bytes.length) === 0;
}

const hashes = new WeakMap<Buffer, string>();

/** Blocks of the simulated medium never change, so each is hashed once. */
function hashOf(block: Buffer): string {
	let hash = hashes.get(block);
	if (hash === undefined) {
		hash = createHash('sha256').update(block).digest('hex');
		hashes.set(block, hash);
	}

	return hash;
}

function number64(block: Buffer, offset: number): number {
	return block.readUInt32LE(offset) + (block.readUInt32LE(offset + 4) * 2 ** 32);
}

function hexHash(block: Buffer, offset: number): string {
	return block.toString('hex', offset, offset + 32);
}

class Inspection {
	readonly referenced = new Set<number>();
	readonly problems: string[] = [];
	readonly badData: number[] = [];
	readonly #owners = new Map<number, string>();
	readonly #image: OracleImage;
	readonly #lastGeneration: number;
	readonly #pbaCount: number;

	constructor(image: OracleImage, lastGeneration: number, pbaCount: number) {
		this.#image = image;
		this.#lastGeneration = lastGeneration;
		this.#pbaCount = pbaCount;
	}

	tree(shape: TreeShape): void {
		this.#inner(shape, {level: shape.maxLevel, address: shape.address, generation: shape.generation, hash: shape.hash, firstLeaf: 0});
	}

	finish(): void {
		for (let address = slotCount; address < this.#pbaCount; address++) {
			if (!this.#owners.has(address)) {
				this.problems.push(`PBA ${address} belongs to nobody`);
			}
		}
	}

	#own(address: number, owner: string): void {
		const other = this.#owners.get(address);
		if (other !== undefined) {
			this.problems.push(`PBA ${address} belongs to ${other} and to ${owner}`);
		}

		if (address < slotCount || address >= this.#pbaCount) {
			this.problems.push(`${owner} lies at PBA ${address}, outside of the container`);
		}

		this.#owners.set(address, owner);
	}

	#inner(shape: TreeShape, node: {level: number; address: number; generation: number; hash: string; firstLeaf: number}): void {
		const {level, address, generation, firstLeaf} = node;
		const what = `${shape.name} level ${level} block of leaf ${firstLeaf}`;
		this.#own(address, what);
		this.referenced.add(address);
		if (generation > this.#lastGeneration) {
			this.problems.push(`${what} is of generation ${generation}, newer than the secured ${this.#lastGeneration}`);
		}

		const block = this.#image.content(address);
		if (hashOf(block) !== node.hash) {
			this.problems.push(`${what} at PBA ${address} does not match its hash`);
			return;
		}

		const span = shape.degree ** (level - 1);
		for (let index = 0; index < blockSize / nodeSize; index++) {
			const leaf = firstLeaf + (index * span);
			const bytes = block.subarray(index * nodeSize, (index + 1) * nodeSize);
			if (index >= shape.degree || leaf >= shape.leafCount) {
				if (!isZero(block.subarray(index * nodeSize))) {
					this.problems.push(`${what}: the nodes from ${index} on should be unset`);
				}

				break;
			} else if (level > 1) {
				this.#inner(shape, {level: level - 1, address: number64(bytes, 0), generation: number64(bytes, 8), hash: hexHash(bytes, 16), firstLeaf: leaf});
				this.#notNewer(number64(bytes, 8), generation, `${what}: node ${index}`);
			} else if (shape.kind === 'data') {
				this.#data(shape, bytes, leaf);
				this.#notNewer(number64(bytes, 8), generation, `${what}: node ${index}`);
			} else {
				this.#poolEntry(shape, bytes, leaf);
			}
		}
	}

	#notNewer(generation: number, parent: number, what: string): void {
		if (generation > parent) {
			this.problems.push(`${what} is of generation ${generation}, its block of ${parent}`);
		}
	}

	#data(shape: TreeShape, node: Buffer, vba: number): void {
		const address = number64(node, 0);
		this.#own(address, `${shape.name} VBA ${vba}`);
		if (number64(node, 8) > 0) {
			this.referenced.add(address);
			if (hashOf(this.#image.content(address)) !== hexHash(node, 16)) {
				this.badData.push(vba);
			}
		}
	}

	#poolEntry(shape: TreeShape, node: Buffer, leaf: number): void {
		this.#own(number64(node, 0), `${shape.name} leaf ${leaf}`);
		const [allocated, freed] = [number64(node, 16), number64(node, 24)];
		if (allocated > this.#lastGeneration || freed > this.#lastGeneration) {
			this.problems.push(`${shape.name} leaf ${leaf} was allocated in ${allocated} and freed in ${freed}, newer than the secured ${this.#lastGeneration}`);
		}
	}
}

function poolShape(superblock: Buffer, offset: number, name: string): TreeShape {
	return {
		name,
		kind: 'pool',
		generation: number64(superblock, offset),
		address: number64(superblock, offset + 8),
		hash: hexHash(superblock, offset + 16),
		maxLevel: superblock.readUInt32LE(offset + 48),
		degree: superblock.readUInt32LE(offset + 52),
		leafCount: number64(superblock, offset + 56),
	};
}

function currentShape(superblock: Buffer): TreeShape {
	const offset = 97 + (superblock.readUInt32LE(3561) * 72);
	return {
		name: 'current state',
		kind: 'data',
		hash: hexHash(superblock, offset),
		address: number64(superblock, offset + 32),
		generation: number64(superblock, offset + 40),
		leafCount: number64(superblock, offset + 48),
		maxLevel: superblock.readUInt32LE(offset + 56),
		degree: superblock.readUInt32LE(3565),
	};
}

/** Looks at the state whose superblock has this hash; undefined where no slot holds it. */
export function inspect(image: OracleImage, superblockHash: Uint8Array): OracleVerdict | undefined {
	const wanted = Buffer.from(superblockHash).toString('hex');
	const slot = Array.from({length: slotCount}, (_, i) => i).find(i => hashOf(image.content(i)) === wanted);
	if (slot === undefined) {
		return undefined;
	}

	const superblock = image.content(slot);
	const generation = number64(superblock, 3553);
	const inspection = new Inspection(image, generation, number64(superblock, 3577));
	inspection.tree(currentShape(superblock));
	inspection.tree(poolShape(superblock, 3585, 'free tree'));
	inspection.tree(poolShape(superblock, 3649, 'meta tree'));
	inspection.finish();
	inspection.referenced.add(slot);
	return {generation, referenced: inspection.referenced, badData: inspection.badData, problems: inspection.problems};
}
