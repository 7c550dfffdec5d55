/** Fields of a superblock as they are read: each is checked before anybody uses it. */

/** Where they lie, in bytes. */
export const offsets = {
	state: 0,
	rekeyingVba: 1,
	resizingPbas: 9,
	resizingLeaves: 17,
	previousKey: 25,
	currentKey: 61,
	snapshots: 97,
	lastSecuredGeneration: 3553,
	currentSnapshot: 3561,
	degree: 3565,
	firstPba: 3569,
	pbaCount: 3577,
	freeTree: 3585,
	metaTree: 3649,
	extension: 3713,
} as const;

export const authenticatorLength = 32;

/** The superblock cannot be understood; the message says which field and why. */
export class SuperblockError extends Error {
	override readonly name = 'SuperblockError';
}

export function check(condition: boolean, text: string): asserts condition {
	if (!condition) {
		throw new SuperblockError(text);
	}
}

export function readNumber(view: Buffer, offset: number, what: string): number {
	const value = view.readBigUInt64LE(offset);
	check(value <= BigInt(Number.MAX_SAFE_INTEGER), `${what} is ${value}, beyond what a container can hold`);
	return Number(value);
}

export function readBoolean(view: Buffer, offset: number, what: string): boolean {
	const value = view[offset];
	check(value <= 1, `${what} is ${value}, it must be 0 or 1`);
	return value === 1;
}

export function copy(view: Buffer, offset: number, length: number): Uint8Array {
	return Uint8Array.from(view.subarray(offset, offset + length));
}
