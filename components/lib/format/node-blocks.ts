/**
 * Inner blocks in memory and the nodes in them (format section 2). All blocks lie in one memory, as frames of 4096
 * bytes; a node is named by its block's frame and its index.
 */
import {endianness} from 'node:os';
import type {Frame, Generation, KeyId, NodeIndex, Pba, Vba} from '../../sessions/vocabulary.js';
import {blockSize, nodeSize} from './geometry.js';
import {labelLength} from './label.js';

if (endianness() !== 'LE') {
	throw new Error('the container format is little-endian, and so must be the machine');
}

const wordsPerBlock = blockSize / 4;
const wordsPerNode = nodeSize / 4;
const twoTo32 = 2 ** 32;

/** Labels are compared as words of 32 bits. */
export const wordsPerLabel = labelLength / 4;

/** Labels as words; a copy where the bytes are not aligned. */
export function labelWordsOf(labels: Uint8Array): Uint32Array {
	const aligned = labels.byteOffset % 4 === 0 ? labels : Uint8Array.from(labels);
	return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
}

/** Word offsets in a type 1 node (inner blocks, and level 1 of a snapshot tree); the hash is at byte 16. */
const hashOffset = 16;
/** Word offsets in a type 2 node (level 1 of free tree and meta tree). */
const type2 = {lastVba: 2, allocGeneration: 4, freeGeneration: 6, lastKeyId: 8, reserved: 9} as const;

/** An entry of a pool tree (type 2 node). */
export interface PoolEntry {
	address: Pba;
	lastVba: Vba;
	allocGeneration: Generation;
	freeGeneration: Generation;
	lastKeyId: KeyId;
	reserved: boolean;
}

export class NodeBlocks {
	readonly memory: Uint8Array;
	readonly #words: Uint32Array;

	/** @param memory whole blocks; it must be aligned to 4 bytes. */
	constructor(memory: Uint8Array) {
		this.memory = memory;
		this.#words = new Uint32Array(memory.buffer, memory.byteOffset, memory.byteLength / 4);
	}

	/** The bytes of a block. */
	block(frame: Frame): Uint8Array {
		return this.memory.subarray(frame * blockSize, (frame + 1) * blockSize);
	}

	clear(frame: Frame): void {
		this.#words.fill(0, frame * wordsPerBlock, (frame + 1) * wordsPerBlock);
	}

	address(frame: Frame, index: NodeIndex): Pba {
		return this.#read64(frame * wordsPerBlock + index * wordsPerNode);
	}

	/** Generation of a type 1 node. */
	generation(frame: Frame, index: NodeIndex): Generation {
		return this.#read64(frame * wordsPerBlock + index * wordsPerNode + 2);
	}

	/** A view of the hash in a type 1 node; it changes with the node. */
	hash(frame: Frame, index: NodeIndex): Uint8Array {
		const offset = frame * blockSize + index * nodeSize + hashOffset;
		return this.memory.subarray(offset, offset + labelLength);
	}

	/** True where the node, named by its frame * 64 + its index, has the label that begins at `offset` in `words`. */
	hasLabel(node: number, words: Uint32Array, offset: number): boolean {
		const word = node * wordsPerNode + hashOffset / 4;
		for (let i = 0; i < wordsPerLabel; i++) {
			if (this.#words[word + i] !== words[offset + i]) {
				return false;
			}
		}

		return true;
	}

	copyHash(frame: Frame, index: NodeIndex, target: Uint8Array, targetOffset: number): void {
		const offset = frame * blockSize + index * nodeSize + hashOffset;
		for (let i = 0; i < labelLength; i++) {
			target[targetOffset + i] = this.memory[offset + i];
		}
	}

	setPlace(frame: Frame, index: NodeIndex, address: Pba, generation: Generation): void {
		const word = frame * wordsPerBlock + index * wordsPerNode;
		this.#write64(word, address);
		this.#write64(word + 2, generation);
	}

	setHash(frame: Frame, index: NodeIndex, source: Uint8Array, sourceOffset: number): void {
		const offset = frame * blockSize + index * nodeSize + hashOffset;
		for (let i = 0; i < labelLength; i++) {
			this.memory[offset + i] = source[sourceOffset + i];
		}
	}

	/** True where the hash of a type 1 node is all zero: of a leaf that was written, its content is given up. */
	isEmptied(frame: Frame, index: NodeIndex): boolean {
		const word = frame * wordsPerBlock + index * wordsPerNode + hashOffset / 4;
		for (let i = 0; i < labelLength / 4; i++) {
			if (this.#words[word + i] !== 0) {
				return false;
			}
		}

		return true;
	}

	/** True where no byte of the node is set. */
	isUnset(frame: Frame, index: NodeIndex): boolean {
		const word = frame * wordsPerBlock + index * wordsPerNode;
		for (let i = 0; i < wordsPerNode; i++) {
			if (this.#words[word + i] !== 0) {
				return false;
			}
		}

		return true;
	}

	poolEntry(frame: Frame, index: NodeIndex): PoolEntry {
		const word = frame * wordsPerBlock + index * wordsPerNode;
		return {
			address: this.#read64(word),
			lastVba: this.#read64(word + type2.lastVba),
			allocGeneration: this.#read64(word + type2.allocGeneration),
			freeGeneration: this.#read64(word + type2.freeGeneration),
			lastKeyId: this.#words[word + type2.lastKeyId],
			reserved: (this.#words[word + type2.reserved] & 0xff) !== 0,
		};
	}

	poolAllocGeneration(frame: Frame, index: NodeIndex): Generation {
		return this.#read64(frame * wordsPerBlock + index * wordsPerNode + type2.allocGeneration);
	}

	poolFreeGeneration(frame: Frame, index: NodeIndex): Generation {
		return this.#read64(frame * wordsPerBlock + index * wordsPerNode + type2.freeGeneration);
	}

	isPoolEntryReserved(frame: Frame, index: NodeIndex): boolean {
		return (this.#words[frame * wordsPerBlock + index * wordsPerNode + type2.reserved] & 0xff) !== 0;
	}

	setPoolEntry(frame: Frame, index: NodeIndex, entry: PoolEntry): void {
		const word = frame * wordsPerBlock + index * wordsPerNode;
		this.#words.fill(0, word, word + wordsPerNode);
		this.#write64(word, entry.address);
		this.#write64(word + type2.lastVba, entry.lastVba);
		this.#write64(word + type2.allocGeneration, entry.allocGeneration);
		this.#write64(word + type2.freeGeneration, entry.freeGeneration);
		this.#words[word + type2.lastKeyId] = entry.lastKeyId;
		this.#words[word + type2.reserved] = entry.reserved ? 1 : 0;
	}

	#read64(word: number): number {
		return this.#words[word] + this.#words[word + 1] * twoTo32;
	}

	#write64(word: number, value: number): void {
		this.#words[word] = value % twoTo32;
		this.#words[word + 1] = Math.floor(value / twoTo32);
	}
}
