/** Requests of the transmission phase, as they stand on the wire. */
import type {Cookie} from './outbox.js';
import {requestMagic} from './protocol.js';

export interface Request extends Cookie {
	readonly flags: number;
	readonly command: number;
	/** Bytes from the start of the export; inexact beyond 2^53, which no export reaches. */
	readonly offset: number;
	readonly length: number;
}

/** Undefined where the header's magic is wrong: the two ends no longer agree on where messages start. */
export function readRequest(header: Buffer): Request | undefined {
	if (header.readUInt32BE(0) !== requestMagic) {
		return undefined;
	}

	return {
		flags: header.readUInt16BE(4),
		command: header.readUInt16BE(6),
		cookieHigh: header.readUInt32BE(8),
		cookieLow: header.readUInt32BE(12),
		offset: header.readUInt32BE(16) * 2 ** 32 + header.readUInt32BE(20),
		length: header.readUInt32BE(24),
	};
}
