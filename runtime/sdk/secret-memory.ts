/**
 * Memory for secrets. Small byte arrays that JavaScript makes by itself lie among its objects, where the garbage
 * collector copies them about and leaves the copies; these do not, so that wiping them is enough.
 */

/** Zeroed. The caller wipes it. */
export function secretBytes(length: number): Buffer {
	return Buffer.from(new ArrayBuffer(length));
}
