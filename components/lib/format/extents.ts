/**
 * Extents: flat pairs (first block, number of blocks), as the `block` session takes them. The contracts see to it that a
 * request has extents, and the payload that belongs to them; how many blocks there are only the server knows.
 */
import {SessionError} from '../../../runtime/sdk/session.js';
import {blockSize} from '../../sessions/vocabulary.js';

/** Contiguous blocks, and the part of a request's payload that belongs to them. */
export interface Piece {
	readonly vba: number;
	count: number;
	readonly data: Uint8Array;
}

/** Adds a block behind the last one: to its extent, where they are neighbours. */
export function addBlock(extents: number[], address: number): void {
	const last = extents.length - 2;
	if (last >= 0 && extents[last] + extents[last + 1] === address) {
		extents[last + 1]++;
	} else {
		extents.push(address, 1);
	}
}

/** Merges the addresses of single blocks, in their order, into extents. */
export function extentsOf(addresses: readonly number[]): number[] {
	const extents: number[] = [];
	for (const address of addresses) {
		addBlock(extents, address);
	}

	return extents;
}

/** @throws SessionError `out_of_range` where `owner`, for the message, has no such blocks */
export function requireBlocks(first: number, count: number, blockCount: number, owner: string): void {
	if (first + count > blockCount) {
		throw new SessionError(
			'out_of_range',
			`blocks ${first} to ${first + count - 1} do not fit the ${blockCount} blocks of ${owner}`,
		);
	}
}

/** @throws SessionError `out_of_range` where `owner`, for the message, has not all of these blocks */
export function requireExtents(extents: readonly number[], blockCount: number, owner: string): void {
	for (let i = 0; i < extents.length; i += 2) {
		requireBlocks(extents[i], extents[i + 1], blockCount, owner);
	}
}

/** Cuts the extents of a request, in their order, into pieces of at most `countMax` blocks. */
export function piecesOf(extents: readonly number[], data: Uint8Array, countMax: number): Piece[] {
	if (extents.length === 2 && extents[1] <= countMax) {
		return [{vba: extents[0], count: extents[1], data}];
	}

	const pieces: Piece[] = [];
	let start = 0;
	for (let i = 0; i < extents.length; i += 2) {
		for (let done = 0; done < extents[i + 1]; done += countMax) {
			const count = Math.min(countMax, extents[i + 1] - done);
			const end = start + count * blockSize;
			pieces.push({vba: extents[i] + done, count, data: data.subarray(start, end)});
			start = end;
		}
	}

	return pieces;
}
