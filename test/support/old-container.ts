/**
 * A fresh container as earlier programs made it, after the format's description alone: of version 1 of the extension,
 * or of the original's. All inner blocks lie on the medium, in post-order; nothing is authenticated, and snapshots have
 * no names.
 */
import {createHash} from 'node:crypto';

const blockSize = 4096;
const nodeSize = 64;
const slotCount = 8;

export interface OldTree {
	readonly leafCount: number;
	readonly degree: number;
	readonly maxLevel: number;
}

export interface OldContainerPlan {
	readonly device: OldTree;
	readonly pool: OldTree;
	/** The wrapped block key, 32 bytes. */
	readonly wrappedKey: Uint8Array;
	/** Undefined for a container of the original. */
	readonly extension?:
		| {
				/** As the superblock says it: 1 is `aes-256-xts`, 2 is `aes-256-gcm`. */
				readonly cipherNumber: number;
				/** 16 bytes. */
				readonly containerId: Uint8Array;
				/** 0 for none, as where inner blocks are encrypted. */
				readonly flushLogBlockCount: number;
				/** Encrypts an inner block for its place; undefined where they lie as they are. */
				readonly sealInner?: (address: number, plain: Buffer) => Buffer;
		  }
		| undefined;
}

export interface OldContainer {
	readonly pbaCount: number;
	/** Everything that is not zero, by PBA. */
	readonly blocks: ReadonlyMap<number, Buffer>;
	/** SHA-256 of the superblock: what the trust anchor keeps. */
	readonly hash: Buffer;
}

interface Root {
	readonly address: number;
	readonly hash: Buffer;
}

function hashOf(block: Buffer): Buffer {
	return createHash('sha256').update(block).digest();
}

/** Fills everything but the superblock's slot. */
class Layout {
	readonly blocks = new Map<number, Buffer>();
	next = slotCount;
	readonly #seal: (address: number, plain: Buffer) => Buffer;

	constructor(seal: (address: number, plain: Buffer) => Buffer) {
		this.#seal = seal;
	}

	tree(tree: OldTree): Root {
		let leavesLeft = tree.leafCount;
		const branch = (level: number): Root => {
			const block = Buffer.alloc(blockSize);
			for (let index = 0; index < tree.degree && leavesLeft > 0; index++) {
				if (level === 1) {
					leavesLeft--;
					block.writeBigUInt64LE(BigInt(this.next++), index * nodeSize);
				} else {
					const child = branch(level - 1);
					block.writeBigUInt64LE(BigInt(child.address), index * nodeSize);
					child.hash.copy(block, index * nodeSize + 16);
				}
			}

			const address = this.next++;
			const sealed = this.#seal(address, block);
			this.blocks.set(address, sealed);
			return {address, hash: hashOf(sealed)};
		};

		return branch(tree.maxLevel);
	}
}

/** A slot that holds no superblock: nothing but unused snapshots and the least degrees. */
function preparedSlot(): Buffer {
	const slot = Buffer.alloc(blockSize);
	for (let i = 0; i < 48; i++) {
		const offset = 97 + i * 72;
		slot.fill(0xff, offset + 32, offset + 48);
		slot.writeBigUInt64LE(64n ** 4n, offset + 48);
		slot.writeUInt32LE(5, offset + 56);
		slot.writeUInt32LE(0xffff_ffff, offset + 61);
	}

	for (const offset of [3565, 3585 + 52, 3649 + 52]) {
		slot.writeUInt32LE(2, offset);
	}

	return slot;
}

function writePool(superblock: Buffer, offset: number, root: Root, tree: OldTree): void {
	superblock.writeBigUInt64LE(BigInt(root.address), offset + 8);
	root.hash.copy(superblock, offset + 16);
	superblock.writeUInt32LE(tree.maxLevel, offset + 48);
	superblock.writeUInt32LE(tree.degree, offset + 52);
	superblock.writeBigUInt64LE(BigInt(tree.leafCount), offset + 56);
}

export function layOutOldContainer({device, pool, wrappedKey, extension}: OldContainerPlan): OldContainer {
	const layout = new Layout(extension?.sealInner ?? ((_address, plain) => plain));
	const [deviceRoot, freeRoot, metaRoot] = [device, pool, pool].map(tree => layout.tree(tree));
	const logPba = layout.next;
	const logBlockCount = extension?.flushLogBlockCount ?? 0;
	const superblock = preparedSlot();
	superblock[0] = 1;
	superblock.set(wrappedKey, 61);
	superblock.writeUInt32LE(1, 93);
	superblock.fill(0, 97, 97 + 72);
	deviceRoot.hash.copy(superblock, 97);
	superblock.writeBigUInt64LE(BigInt(deviceRoot.address), 97 + 32);
	superblock.writeBigUInt64LE(BigInt(device.leafCount), 97 + 48);
	superblock.writeUInt32LE(device.maxLevel, 97 + 56);
	superblock[97 + 60] = 1;
	superblock.writeUInt32LE(device.degree, 3565);
	superblock.writeBigUInt64LE(BigInt(logPba + logBlockCount), 3577);
	writePool(superblock, 3585, freeRoot, pool);
	writePool(superblock, 3649, metaRoot, pool);
	if (extension) {
		superblock.write('CBE ext\0', 3713, 'latin1');
		superblock.writeUInt32LE(1, 3721);
		superblock.writeUInt32LE(extension.cipherNumber, 3725);
		superblock.set(extension.containerId, 3729);
		superblock.writeBigUInt64LE(BigInt(logBlockCount > 0 ? logPba : 0), 3761);
		superblock.writeUInt32LE(logBlockCount, 3769);
		superblock.writeUInt32LE(extension.sealInner ? 1 : 0, 3773);
	}

	const slots = Array.from(
		{length: slotCount},
		(_, slot) => [slot, slot === 0 ? superblock : preparedSlot()] as const,
	);
	return {pbaCount: logPba + logBlockCount, blocks: new Map([...slots, ...layout.blocks]), hash: hashOf(superblock)};
}
