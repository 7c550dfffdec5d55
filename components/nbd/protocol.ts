/**
 * Numbers of the NBD protocol (github.com/NetworkBlockDevice/nbd, doc/proto.md): newstyle fixed handshake and the
 * transmission phase. Everything on the wire is big-endian.
 */

/** 64-bit magics as their two halves, so that no big integers are needed. */
export const handshakeMagic = Buffer.from('NBDMAGICIHAVEOPT', 'latin1');
export const optionMagic = Buffer.from('IHAVEOPT', 'latin1');
export const optionReplyMagic = Buffer.from('0003e889045565a9', 'hex');
export const requestMagic = 0x2560_9513;
export const simpleReplyMagic = 0x6744_6698;
export const structuredReplyMagic = 0x668e_33ef;
/** Where both ends use headers with lengths of 64 bits. */
export const extendedRequestMagic = 0x21e4_1c71;
export const extendedReplyMagic = 0x6e8a_278c;

export const handshakeFlags = {fixedNewstyle: 1, noZeroes: 2} as const;

export const optionTypes = {
	exportName: 1,
	abort: 2,
	list: 3,
	startTls: 5,
	info: 6,
	go: 7,
	structuredReply: 8,
	listMetaContext: 9,
	setMetaContext: 10,
	extendedHeaders: 11,
} as const;

export const optionReplies = {
	ack: 1,
	server: 2,
	info: 3,
	metaContext: 4,
	unsupported: 0x8000_0001,
	policy: 0x8000_0002,
	invalid: 0x8000_0003,
	tlsRequired: 0x8000_0005,
	unknownExport: 0x8000_0006,
	shutdown: 0x8000_0007,
	tooBig: 0x8000_0009,
	extendedHeadersRequired: 0x8000_000a,
} as const;

export const infoTypes = {export: 0, name: 1, description: 2, blockSize: 3} as const;

export const transmissionFlags = {
	hasFlags: 1 << 0,
	readOnly: 1 << 1,
	sendFlush: 1 << 2,
	sendFua: 1 << 3,
	sendTrim: 1 << 5,
	sendWriteZeroes: 1 << 6,
	sendDontFragment: 1 << 7,
	canMultiConnect: 1 << 8,
	sendCache: 1 << 10,
	sendFastZero: 1 << 11,
} as const;

export const commands = {
	read: 0,
	write: 1,
	disconnect: 2,
	flush: 3,
	trim: 4,
	cache: 5,
	writeZeroes: 6,
	blockStatus: 7,
} as const;

export const commandFlags = {
	fua: 1 << 0,
	noHole: 1 << 1,
	dontFragment: 1 << 2,
	requestOne: 1 << 3,
	fastZero: 1 << 4,
	payloadLength: 1 << 5,
} as const;

export const replyFlags = {done: 1} as const;

export const chunkTypes = {
	none: 0,
	offsetData: 1,
	offsetHole: 2,
	blockStatus: 5,
	extendedBlockStatus: 6,
	error: 0x8001,
} as const;

export const errorNumbers = {
	none: 0,
	notPermitted: 1,
	inputOutput: 5,
	invalid: 22,
	noSpace: 28,
	notSupported: 95,
	shutdown: 108,
} as const;

export type ErrorNumber = (typeof errorNumbers)[keyof typeof errorNumbers];

/** The one metadata context served: which parts of an export are allocated. */
export const allocationContext = {name: 'base:allocation', id: 1} as const;

/** What a hole is to the protocol: not allocated, and reading as zeroes. */
export const holeFlags = 3;

export const requestHeaderLength = 28;
export const extendedRequestHeaderLength = 32;
export const simpleReplyHeaderLength = 16;
export const structuredReplyHeaderLength = 20;
export const extendedReplyHeaderLength = 32;

/** Longest string the protocol allows, in bytes. */
export const stringLengthMax = 4096;
