/** Counts the bytes of whole blocks that are copied in this thread, by the functions that copy between byte arrays. */
import {blockSize} from '../../components/sessions/block.js';

type Set = (this: Uint8Array, source: ArrayLike<number>, offset?: number) => void;

/**
 * Bytes that `job` copies in pieces of at least one block. What libcrypto moves on its way through the cipher is none.
 */
export async function copiedBytes(job: () => Promise<unknown>): Promise<number> {
	const original = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype) as object, 'set')!;
	const set = original.value as Set;
	let byteLength = 0;
	Object.defineProperty(Uint8Array.prototype, 'set', {
		configurable: true,
		value(this: Uint8Array, source: ArrayLike<number>, offset?: number) {
			byteLength += source.length >= blockSize ? source.length : 0;
			set.call(this, source, offset);
		},
	});
	try {
		await job();
	} finally {
		Reflect.deleteProperty(Uint8Array.prototype, 'set');
	}

	return byteLength;
}
