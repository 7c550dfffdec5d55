/**
 * A second opinion on what lies on the medium, written after the format's description alone: it shares no code with
 * the device. It checks every hash of the last secured state and of all its snapshots, the generations, that each block
 * has one owner, that the pool gives away nothing that a snapshot needs, and what the flush log says on top of it.
 */
import {createHash} from 'node:crypto';

const blockSize = 4096;
const nodeSize = 64;
const slotCount = 8;

export interface OracleImage {
	content(address: number): Buffer;
}

/** A data block, with what an authenticated cipher binds it to. */
export interface SealedBlock {
	readonly content: Buffer;
	readonly label: Buffer;
	readonly address: number;
	readonly vba: number;
	readonly generation: number;
	readonly keyId: number;
	/** As it lies in the superblock. */
	readonly key: Buffer;
}

export interface OracleCipher {
	/** What an encrypted inner block says. */
	readonly openInner: (address: number, sealed: Buffer) => Buffer;
	/** Whether a block is what its label says, with an authenticated cipher. */
	readonly isAuthentic: (block: SealedBlock) => boolean;
}

/** A data block that does not match its label; `snapshot` is undefined for the current state. */
export interface BadData {
	readonly vba: number;
	readonly snapshot: number | undefined;
}

export interface OracleVerdict {
	readonly generation: number;
	readonly state: number;
	readonly pbaCount: number;
	/** Blocks that an extension has still to add. */
	readonly pbasLeft: number;
	readonly keyId: number;
	/** Generations of the kept snapshots. */
	readonly snapshots: readonly number[];
	/** Blocks that the secured state and its snapshots refer to, the superblock included, and what each one is. */
	readonly referenced: ReadonlyMap<number, string>;
	readonly badData: readonly BadData[];
	/** Entries of the flush log behind the superblock. */
	readonly logLength: number;
	/** What is wrong, in words. */
	readonly problems: readonly string[];
}

interface TreeShape {
	readonly name: string;
	/** `older` for a snapshot that is not the current state. */
	readonly kind: 'data' | 'older' | 'pool';
	readonly address: number;
	readonly generation: number;
	readonly hash: string;
	readonly maxLevel: number;
	readonly degree: number;
	readonly leafCount: number;
	/** Of the tree when it was created: leaves, first inner block, first leaf. */
	readonly fresh: readonly [leafCount: number, firstInner: number, firstLeaf: number];
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

const openedBlocks = new WeakMap<
	Buffer,
	{readonly address: number; readonly cipher: OracleCipher; readonly block: Buffer}
>();

/** Each is decrypted once: a block of the simulated medium stays where it is. */
function opened(address: number, content: Buffer, cipher: OracleCipher): Buffer {
	const known = openedBlocks.get(content);
	if (known?.address === address && known.cipher === cipher) {
		return known.block;
	}

	const block = cipher.openInner(address, content);
	openedBlocks.set(content, {address, cipher, block});
	return block;
}

function number64(block: Buffer, offset: number): number {
	return block.readUInt32LE(offset) + block.readUInt32LE(offset + 4) * 2 ** 32;
}

function hexHash(block: Buffer, offset: number): string {
	return block.toString('hex', offset, offset + 32);
}

/** An entry of the free tree. */
interface PoolEntry {
	readonly lastVba: number;
	readonly allocated: number;
	readonly freed: number;
	readonly lastKeyId: number;
	readonly reserved: boolean;
}

interface InnerNode {
	readonly level: number;
	readonly address: number;
	readonly generation: number;
	readonly hash: string;
	readonly firstLeaf: number;
}

/** What the superblock says about the whole. */
interface Facts {
	readonly state: number;
	readonly rekeyingVba: number;
	readonly previousKeyId: number;
	readonly keyId: number;
	readonly previousKey: Buffer;
	readonly key: Buffer;
	readonly lastGeneration: number;
	readonly pbaCount: number;
	readonly cipherNumber: number;
	/** Generations of the kept snapshots. */
	readonly kept: readonly number[];
	readonly logAddress: number;
	readonly logBlockCount: number;
	/** Undefined where snapshots have no names. */
	readonly names: {readonly firstAddress: number; readonly place: number; readonly hash: Buffer} | undefined;
	readonly areInnerBlocksEncrypted: boolean;
	/** Inner blocks that nobody has changed may be missing. */
	readonly areInnerBlocksImplied: boolean;
	/** Leaves may be emptied. */
	readonly areLeavesEmptied: boolean;
}

class Inspection {
	readonly referenced = new Map<number, string>();
	readonly problems: string[] = [];
	readonly badData: BadData[] = [];
	readonly #owners = new Map<number, string>();
	readonly #entries = new Map<number, PoolEntry>();
	readonly #image: OracleImage;
	readonly #facts: Facts;
	readonly #lastGeneration: number;
	readonly #pbaCount: number;
	readonly #cipher: OracleCipher;

	constructor(image: OracleImage, facts: Facts, cipher: OracleCipher) {
		this.#cipher = cipher;
		this.#image = image;
		this.#facts = facts;
		this.#lastGeneration = facts.lastGeneration;
		this.#pbaCount = facts.pbaCount;
	}

	tree(shape: TreeShape): void {
		this.#inner(shape, {
			level: shape.maxLevel,
			address: shape.address,
			generation: shape.generation,
			hash: shape.hash,
			firstLeaf: 0,
		});
	}

	/** A snapshot needs this block: the current state has it too, or the pool holds it back. */
	#hold(shape: TreeShape, address: number, what: string): void {
		const entry = this.#entries.get(address);
		if (!entry) {
			if (!this.#isInCurrentState(address)) {
				this.problems.push(`${what} at PBA ${address} belongs to ${this.#owners.get(address) ?? 'nobody'}`);
			}

			return;
		}

		const {previousKeyId, rekeyingVba} = this.#facts;
		if (
			!entry.reserved ||
			this.#isReplaced(entry) ||
			!(entry.allocated <= shape.generation && shape.generation < entry.freed)
		) {
			this.problems.push(
				`${what} at PBA ${address} may be handed out, its entry is ${JSON.stringify(entry)}; rekeying VBA ${rekeyingVba}, previous key ${previousKeyId}`,
			);
		}
	}

	#refer(address: number, what: string): void {
		const other = this.referenced.get(address);
		this.referenced.set(address, other === undefined ? what : `${other}, ${what}`);
	}

	finish(): void {
		const {logAddress, logBlockCount} = this.#facts;
		for (let address = logAddress; address < logAddress + logBlockCount; address++) {
			this.#own(address, 'flush log');
		}

		this.#finishNames();
		for (let address = slotCount; address < this.#pbaCount; address++) {
			if (!this.#owners.has(address)) {
				this.problems.push(`PBA ${address} belongs to nobody`);
			}
		}
	}

	/** One of two blocks has the names of the snapshots. */
	#finishNames(): void {
		const {names, kept} = this.#facts;
		if (!names) {
			return;
		}

		this.#own(names.firstAddress, 'snapshot directory');
		this.#own(names.firstAddress + 1, 'snapshot directory');
		if (names.place > 1) {
			this.problems.push(`the snapshot directory has no place ${names.place}`);
		} else if (!isZero(names.hash)) {
			const address = names.firstAddress + names.place;
			const stored = this.#image.content(address);
			const block = this.#facts.areInnerBlocksEncrypted ? opened(address, stored, this.#cipher) : stored;
			this.#refer(address, 'snapshot directory');
			const count = block.readUInt32LE(8);
			const named = Array.from({length: Math.min(count, kept.length)}, (_, i) => number64(block, 16 + 64 * i));
			if (
				hashOf(stored) !== names.hash.toString('hex') ||
				block.toString('latin1', 0, 8) !== 'CBE dir\0' ||
				named.length !== count ||
				named.some(generation => !kept.includes(generation))
			) {
				this.problems.push(
					`the snapshot directory at PBA ${address} names ${count} snapshots: ${named.join(', ')}; there are ${kept.join(', ')}`,
				);
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

	#isInCurrentState(address: number): boolean {
		return this.#owners.get(address)?.startsWith('current state') === true;
	}

	#inner(shape: TreeShape, node: InnerNode): void {
		const {level, address, generation, firstLeaf} = node;
		const what = `${shape.name} level ${level} block of leaf ${firstLeaf}`;
		if (shape.kind === 'older') {
			this.#hold(shape, address, what);
		} else {
			this.#own(address, what);
		}

		this.#refer(address, what);
		if (generation > this.#lastGeneration) {
			this.problems.push(
				`${what} is of generation ${generation}, newer than the secured ${this.#lastGeneration}`,
			);
		}

		const block = this.#blockOf(shape, node);
		if (!block) {
			this.problems.push(`${what} at PBA ${address} does not match its hash`);
			return;
		}

		// What lies below a block of the current state has been gone through with it.
		if (shape.kind === 'older' && this.#isInCurrentState(address)) {
			return;
		}

		const span = shape.degree ** (level - 1);
		for (let index = 0; index < blockSize / nodeSize; index++) {
			const leaf = firstLeaf + index * span;
			const bytes = block.subarray(index * nodeSize, (index + 1) * nodeSize);
			// An extension may have left one unfinished branch on the way to the next leaf.
			const isUnfinished = level > 1 && leaf === shape.leafCount && index < shape.degree && !isZero(bytes);
			if (!isUnfinished && (index >= shape.degree || leaf >= shape.leafCount)) {
				if (!isZero(block.subarray(index * nodeSize))) {
					this.problems.push(`${what}: the nodes from ${index} on should be unset`);
				}

				break;
			} else if (level > 1) {
				this.#inner(shape, {
					level: level - 1,
					address: number64(bytes, 0),
					generation: number64(bytes, 8),
					hash: hexHash(bytes, 16),
					firstLeaf: leaf,
				});
				this.#notNewer(number64(bytes, 8), generation, `${what}: node ${index}`);
			} else if (shape.kind !== 'pool') {
				this.#data(shape, bytes, leaf);
				this.#notNewer(number64(bytes, 8), generation, `${what}: node ${index}`);
			} else {
				this.#poolEntry(shape, bytes, leaf);
			}
		}
	}

	/** What an inner block says; undefined where it does not match its hash. */
	#blockOf(shape: TreeShape, {level, address, hash, firstLeaf}: InnerNode): Buffer | undefined {
		if (this.#facts.areInnerBlocksImplied && /^0+$/.test(hash)) {
			return impliedBlock(shape, level, firstLeaf);
		}

		const content = this.#image.content(address);
		if (hashOf(content) !== hash) {
			return undefined;
		}

		return this.#facts.areInnerBlocksEncrypted ? opened(address, content, this.#cipher) : content;
	}

	#notNewer(generation: number, parent: number, what: string): void {
		if (generation > parent) {
			this.problems.push(`${what} is of generation ${generation}, its block of ${parent}`);
		}
	}

	#data(shape: TreeShape, node: Buffer, vba: number): void {
		const address = number64(node, 0);
		const what = `${shape.name} VBA ${vba}`;
		const wasWritten = number64(node, 8) > 0;
		const isEmptied = wasWritten && this.#facts.areLeavesEmptied && isZero(node.subarray(16, 48));
		const isWritten = wasWritten && !isEmptied;
		if (shape.kind === 'data') {
			this.#own(address, what);
		} else if (wasWritten) {
			this.#hold(shape, address, what);
		}

		if (isWritten) {
			this.#refer(address, what);
			if (!this.#isDataGood(address, {vba, generation: number64(node, 8), label: node.subarray(16, 48)})) {
				this.badData.push({vba, snapshot: shape.kind === 'older' ? shape.generation : undefined});
			}
		}
	}

	/** The log's blocks, oldest first: what they name counts instead of what the tree says. */
	log(blocks: readonly LogBlock[]): void {
		const newest = new Map<number, {address: number; label: Buffer}>();
		for (const {address: place, block} of blocks) {
			this.#refer(place, 'flush log');
			if (number64(block, 16) !== this.#lastGeneration + 1) {
				this.problems.push(
					`the flush log at PBA ${place} is of generation ${number64(block, 16)} after the secured ${this.#lastGeneration}`,
				);
			}

			for (let i = 0; i < block.readUInt32LE(12); i++) {
				const offset = (block.readUInt32LE(8) === 2 ? 120 : 64) + i * 56;
				const [vba, address] = [number64(block, offset), number64(block, offset + 8)];
				newest.set(vba, {address, label: block.subarray(offset + 24, offset + 56)});
				this.#logged(vba, address, block.subarray(offset + 16, offset + 24));
			}
		}

		for (const [vba, {address, label}] of newest) {
			this.#refer(address, `flush log VBA ${vba}`);
			const bad = this.badData.findIndex(data => data.vba === vba && data.snapshot === undefined);
			if (bad !== -1) {
				this.badData.splice(bad, 1);
			}

			if (!this.#isDataGood(address, {vba, generation: this.#lastGeneration + 1, label})) {
				this.badData.push({vba, snapshot: undefined});
			}
		}

		if (new Set([...newest.values()].map(({address}) => address)).size < newest.size) {
			this.problems.push('the flush log names a block twice');
		}
	}

	/** A block that the log names was spare in the secured state, or the leaf's own and never written. */
	#logged(vba: number, address: number, leaf: Buffer): void {
		const owner = this.#owners.get(address);
		const isOwn = leaf.every(byte => byte === 0xff);
		const expected = isOwn ? `current state VBA ${vba}` : `free tree leaf ${number64(leaf, 0)}`;
		const entry = this.#entries.get(address);
		if (owner !== expected || (isOwn && this.referenced.has(address))) {
			this.problems.push(
				`the flush log names PBA ${address} as ${expected}, it is ${this.referenced.get(address) ?? owner ?? 'nobody'}'s`,
			);
		} else if (
			entry?.reserved &&
			!this.#isReplaced(entry) &&
			this.#facts.kept.some(generation => entry.allocated <= generation && generation < entry.freed)
		) {
			this.problems.push(`the flush log names PBA ${address}, which a snapshot needs: ${JSON.stringify(entry)}`);
		}
	}

	#isReplaced({lastKeyId, lastVba}: PoolEntry): boolean {
		const {previousKeyId, rekeyingVba} = this.#facts;
		return previousKeyId !== 0 && lastKeyId === previousKeyId && lastVba < rekeyingVba;
	}

	#isDataGood(address: number, {vba, generation, label}: {vba: number; generation: number; label: Buffer}): boolean {
		const content = this.#image.content(address);
		if (this.#facts.cipherNumber !== authenticatedCipher) {
			return hashOf(content) === label.toString('hex');
		}

		const {previousKeyId, previousKey, keyId, key, rekeyingVba} = this.#facts;
		const used =
			previousKeyId !== 0 && vba >= rekeyingVba ? {keyId: previousKeyId, key: previousKey} : {keyId, key};
		return this.#cipher.isAuthentic({content, label, address, vba, generation, ...used});
	}

	#poolEntry(shape: TreeShape, node: Buffer, leaf: number): void {
		const address = number64(node, 0);
		this.#own(address, `${shape.name} leaf ${leaf}`);
		const [allocated, freed] = [number64(node, 16), number64(node, 24)];
		if (shape.name === 'free tree') {
			this.#entries.set(address, {
				lastVba: number64(node, 8),
				allocated,
				freed,
				lastKeyId: node.readUInt32LE(32),
				reserved: node[36] === 1,
			});
		}

		if (allocated > this.#lastGeneration || freed > this.#lastGeneration) {
			this.problems.push(
				`${shape.name} leaf ${leaf} was allocated in ${allocated} and freed in ${freed}, newer than the secured ${this.#lastGeneration}`,
			);
		}
	}
}

/**
 * An inner block as it was when the tree was created: each level lies one block behind another, below it the next one.
 */
function impliedBlock(
	{degree, fresh: [leafCount, firstInner, firstLeaf]}: TreeShape,
	level: number,
	leaf: number,
): Buffer {
	const block = Buffer.alloc(blockSize);
	let place = firstLeaf;
	if (level > 1) {
		place = firstInner;
		for (let below = 1; below < level - 1; below++) {
			place += Math.ceil(leafCount / degree ** below);
		}
	}

	const span = degree ** (level - 1);
	for (let index = 0; index < degree && leaf + index * span < leafCount; index++) {
		block.writeBigUInt64LE(BigInt(place + leaf / span + index), index * nodeSize);
	}

	return block;
}

function freshAt(superblock: Buffer, offset: number): TreeShape['fresh'] {
	return [number64(superblock, offset), number64(superblock, offset + 8), number64(superblock, offset + 16)];
}

function poolShape(superblock: Buffer, offset: number, name: string): TreeShape {
	return {
		fresh: freshAt(superblock, name === 'free tree' ? 3805 : 3829),
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

const snapshotSlotCount = 48;
const snapshotSize = 72;

interface SnapshotSlot {
	readonly slot: number;
	readonly isKept: boolean;
	readonly shape: TreeShape;
}

/** The valid snapshots, newest first. */
function snapshotsOf(superblock: Buffer): SnapshotSlot[] {
	const found: SnapshotSlot[] = [];
	const current = superblock.readUInt32LE(3561);
	for (let slot = 0; slot < snapshotSlotCount; slot++) {
		const offset = 97 + slot * snapshotSize;
		if (superblock[offset + 60] === 1) {
			const generation = number64(superblock, offset + 40);
			found.push({
				slot,
				isKept: superblock[offset + 65] === 1,
				shape: {
					name: slot === current ? 'current state' : `snapshot ${generation}`,
					kind: slot === current ? 'data' : 'older',
					hash: hexHash(superblock, offset),
					address: number64(superblock, offset + 32),
					generation,
					leafCount: number64(superblock, offset + 48),
					maxLevel: superblock.readUInt32LE(offset + 56),
					degree: superblock.readUInt32LE(3565),
					fresh: freshAt(superblock, 3781),
				},
			});
		}
	}

	return found.sort((a, b) => b.shape.generation - a.shape.generation);
}

/** Its labels are tags. */
const authenticatedCipher = 2;

const stateRekeying = 2;
const stateExtendingDevice = 3;
const stateExtendingPool = 4;

function factsOf(superblock: Buffer): Facts {
	return {
		state: superblock[0],
		rekeyingVba: number64(superblock, 1),
		previousKeyId: superblock.readUInt32LE(57),
		keyId: superblock.readUInt32LE(93),
		previousKey: superblock.subarray(25, 57),
		key: superblock.subarray(61, 93),
		lastGeneration: number64(superblock, 3553),
		pbaCount: number64(superblock, 3577),
		cipherNumber: superblock.readUInt32LE(3725),
		kept: snapshotsOf(superblock)
			.filter(({isKept}) => isKept)
			.map(({shape: {generation}}) => generation),
		logAddress: number64(superblock, 3761),
		logBlockCount: superblock.readUInt32LE(3769),
		names:
			(superblock.readUInt32LE(3777) & 4) === 0
				? undefined
				: {
						firstAddress: number64(superblock, 3853),
						place: superblock.readUInt32LE(3861),
						hash: superblock.subarray(3865, 3897),
					},
		areInnerBlocksEncrypted: superblock.readUInt32LE(3773) === 1,
		areInnerBlocksImplied: (superblock.readUInt32LE(3777) & 1) === 1,
		areLeavesEmptied: (superblock.readUInt32LE(3777) & 2) === 2,
	};
}

interface LogBlock {
	readonly address: number;
	readonly block: Buffer;
}

/** The log's blocks from a superblock on up to the one with the wanted hash; undefined where none has it. */
function logFrom(image: OracleImage, superblock: Buffer, wanted: string): LogBlock[] | undefined {
	const found: LogBlock[] = [];
	let previous = hashOf(superblock);
	const first = number64(superblock, 3761);
	for (let address = first; address < first + superblock.readUInt32LE(3769); address++) {
		const block = image.content(address);
		if (
			block.toString('latin1', 0, 8) !== 'CBE log\0' ||
			hexHash(block, 32) !== previous ||
			number64(block, 24) !== found.length
		) {
			return undefined;
		}

		found.push({address, block});
		previous = hashOf(block);
		if (previous === wanted) {
			return found;
		}
	}

	return undefined;
}

interface Anchored {
	readonly slot: number;
	readonly log: readonly LogBlock[];
}

/** Where the state with this hash begins: at a superblock, perhaps with a log behind it. */
function anchoredAt(image: OracleImage, wanted: string): Anchored | undefined {
	const slots = Array.from({length: slotCount}, (_, i) => i);
	const slot = slots.find(i => hashOf(image.content(i)) === wanted);
	if (slot !== undefined) {
		return {slot, log: []};
	}

	for (const i of slots.filter(used => image.content(used)[0] !== 0)) {
		const log = logFrom(image, image.content(i), wanted);
		if (log) {
			return {slot: i, log};
		}
	}

	return undefined;
}

/** What is wrong with the superblock itself. */
function superblockProblems(superblock: Buffer, {state, rekeyingVba, previousKeyId, keyId}: Facts): string[] {
	const isRekeying = state === stateRekeying;
	const isExtending = state === stateExtendingDevice || state === stateExtendingPool;
	const problems = [
		state < 1 || state > 4 ? `the state is ${state}` : '',
		isRekeying && (previousKeyId !== keyId - 1 || isZero(superblock.subarray(25, 57)))
			? `rekeying to key ${keyId}, but the previous key is ${previousKeyId}`
			: '',
		!isRekeying && !(previousKeyId === 0 && isZero(superblock.subarray(25, 57)) && rekeyingVba === 0)
			? `not rekeying, but there is a previous key ${previousKeyId}`
			: '',
		!isExtending && !isRekeying && !isZero(superblock.subarray(9, 25))
			? 'nothing grows, but there are blocks left to add'
			: '',
	];
	const generations = snapshotsOf(superblock).map(({shape}) => shape.generation);
	const leafCount = Math.max(...snapshotsOf(superblock).map(({shape}) => shape.leafCount));
	return [
		...problems,
		// The original takes one behind the last leaf for one before the first, and seals that one again.
		isRekeying && rekeyingVba >= leafCount
			? `the rekeying VBA is ${rekeyingVba}, the largest snapshot has ${leafCount} leaves`
			: '',
		new Set(generations).size < generations.length
			? `two snapshots have the same name: ${generations.join(', ')}`
			: '',
	].filter(problem => problem !== '');
}

/** Looks at the state whose superblock or newest log entry has this hash; undefined where nothing has it. */
export function inspect(image: OracleImage, anchoredHash: Uint8Array, cipher: OracleCipher): OracleVerdict | undefined {
	const anchored = anchoredAt(image, Buffer.from(anchoredHash).toString('hex'));
	if (!anchored) {
		return undefined;
	}

	const {slot, log} = anchored;
	const superblock = image.content(slot);
	const facts = factsOf(superblock);
	const inspection = new Inspection(image, facts, cipher);
	const snapshots = snapshotsOf(superblock);
	for (const {shape} of snapshots.filter(snapshot => snapshot.shape.kind === 'data')) {
		inspection.tree(shape);
	}

	inspection.tree(poolShape(superblock, 3585, 'free tree'));
	inspection.tree(poolShape(superblock, 3649, 'meta tree'));
	inspection.finish();
	for (const {shape} of snapshots.filter(snapshot => snapshot.shape.kind === 'older')) {
		inspection.tree(shape);
	}

	inspection.log(log);
	inspection.referenced.set(slot, 'superblock');
	return {
		generation: facts.lastGeneration,
		state: facts.state,
		pbaCount: facts.pbaCount,
		pbasLeft: number64(superblock, 9),
		keyId: facts.keyId,
		snapshots: snapshots.filter(({isKept}) => isKept).map(({shape: {generation}}) => generation),
		referenced: inspection.referenced,
		badData: inspection.badData,
		logLength: log.length,
		problems: [...superblockProblems(superblock, facts), ...inspection.problems],
	};
}
