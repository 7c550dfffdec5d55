/**
 * The one codec: what travels between threads beside payload, as MessagePack. `msgpackr/pack` is msgpackr without its
 * streams and its native addon, which reads long strings faster and takes 10 ms in each thread to load.
 */
import type {Packr as TypedPackr} from 'msgpackr';
import * as msgpackr from 'msgpackr/pack';

// Its own types lead nowhere; they are those of the whole package.
const {Packr} = msgpackr as unknown as {readonly Packr: typeof TypedPackr};

const packr = new Packr({useRecords: false, copyBuffers: true});

/** The result owns its memory: `pack` itself returns a view of a large buffer that it uses again. */
export function encode(values: readonly unknown[]): Uint8Array {
	return new Uint8Array(packr.pack(values));
}

/** Byte strings in the result are copies (`copyBuffers`), so none keeps the message alive. */
export function decode(message: Uint8Array): unknown[] {
	return packr.unpack(message) as unknown[];
}

/** A view that is overwritten by the next call; for whoever copies it at once. */
export function pack(value: unknown): Uint8Array {
	return packr.pack(value);
}

export function unpack(message: Uint8Array): unknown {
	return packr.unpack(message);
}
