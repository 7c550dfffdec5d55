/** Requests of the transmission phase, as they stand on the wire. */
import type {Cookie} from './outbox.js';
import {extendedRequestMagic, requestMagic} from './protocol.js';

export interface Request extends Cookie {
	readonly flags: number;
	readonly command: number;
	/** In bytes; inexact beyond 2^53, which no export reaches. */
	readonly length: number;
}

/** Undefined where the header's magic is wrong: the two ends no longer agree on where messages start. */
export function readRequest(header: Buffer, isExtended: boolean): Request | undefined {
	if (header.readUInt32BE(0) !== (isExtended ? extendedRequestMagic : requestMagic)) {
		return undefined;
	}

	return {
		flags: header.readUInt16BE(4),
		command: header.readUInt16BE(6),
		cookieHigh: header.readUInt32BE(8),
		cookieLow: header.readUInt32BE(12),
		offset: header.readUInt32BE(16) * 2 ** 32 + header.readUInt32BE(20),
		length: isExtended ? header.readUInt32BE(24) * 2 ** 32 + header.readUInt32BE(28) : header.readUInt32BE(24),
	};
}
