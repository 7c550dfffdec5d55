/**
 * The words of the contracts: numbers of the container, kept apart by type (a plain number can become any of them, one
 * of them never another, and so it is with vectors of them), and the relations between fields that several contracts
 * state.
 */
import {z} from 'zod';
import {vector} from '../../runtime/sdk/session.js';

type Flavoured<Name extends string> = number & {readonly flavour?: Name};

/** Physical block address: a block of the medium. */
export type Pba = Flavoured<'pba'>;

/** Virtual block address: a block of the user's device, or the position of a leaf in a pool tree. */
export type Vba = Flavoured<'vba'>;

/** Number of a device state; everything written between two checkpoints carries the same one. */
export type Generation = Flavoured<'generation'>;

/** Names a block key; 0 is no key. */
export type KeyId = Flavoured<'key id'>;

/** Level of a block in its tree: 0 are the leaves. */
export type Level = Flavoured<'level'>;

/** Position of a node in its block, 0 to 63. */
export type NodeIndex = Flavoured<'node index'>;

/** Number of a block in the memory that the cache shares with a client. */
export type Frame = Flavoured<'frame'>;

/** Bytes of a block, and of the label (hash, or tag and nonce) of one. */
export const blockSize = 4096;
export const labelLength = 32;

const count = z.number().int().nonnegative();

export const Pba: z.ZodType<Pba, Pba> = count;
export const Vba: z.ZodType<Vba, Vba> = count;
export const Generation: z.ZodType<Generation, Generation> = count;
export const BlockCount = count;

export const pbas = () => vector<Pba>();
export const vbas = () => vector<Vba>();
export const generations = () => vector<Generation>();
export const frames = () => vector<Frame>();
/** Of blocks in another vector of the same message. */
export const indexes = () => vector();
export const extents = () => vector();

/**
 * The vector has an item for each of `itemCount`. Checked for each message on the way of every block: it makes no
 * object.
 */
export function lengthFault(itemCount: number, name: string, values: readonly number[]): string | undefined {
	return values.length === itemCount ? undefined : `${name} has ${values.length} items where ${itemCount} belong`;
}

/** The vector holds `itemLength` values for each item. */
export function itemsFault(name: string, values: readonly number[], itemLength: number): string | undefined {
	return values.length % itemLength === 0
		? undefined
		: `${name} has ${values.length} values where each item has ${itemLength}`;
}

/** There is a label for each block. */
export function labelsFault(labels: Uint8Array, blockCount: number): string | undefined {
	return labels.length === blockCount * labelLength
		? undefined
		: `${labels.length} bytes of labels for ${blockCount} blocks`;
}

/** The indexes ascend and stay below `itemCount`. */
export function indexesFault(name: string, values: readonly number[], itemCount: number): string | undefined {
	for (let i = 0; i < values.length; i++) {
		if (values[i] >= itemCount || (i > 0 && values[i] <= values[i - 1])) {
			return `${name} does not name some of ${itemCount} items in their order`;
		}
	}

	return undefined;
}

/**
 * Pairs of a first block and a number of blocks of at least one, none of which reaches beyond what a number can say.
 */
export function extentsFault(values: readonly number[]): string | undefined {
	if (values.length % 2 !== 0) {
		return 'extents are pairs of a first block and a number of blocks';
	}

	for (let i = 0; i < values.length; i += 2) {
		if (values[i + 1] < 1 || !Number.isSafeInteger(values[i] + values[i + 1])) {
			return `${values[i]}+${values[i + 1]} is no extent`;
		}
	}

	return undefined;
}

/** The payload holds the blocks of all extents. */
export function payloadFault(values: readonly number[], data: Uint8Array): string | undefined {
	const fault = extentsFault(values);
	if (fault !== undefined) {
		return fault;
	}

	let blockCount = 0;
	for (let i = 1; i < values.length; i += 2) {
		blockCount += values[i];
	}

	return blockCount * blockSize === data.length
		? undefined
		: `extents of ${blockCount} blocks with ${data.length} bytes of payload`;
}
