/** Requests of the kernel, taken apart. Numbers are little endian; every length is checked before it is used. */
import {FileError} from './errno.js';
import {lengths} from './fuse-protocol.js';

export interface RequestHeader {
	/** Of the whole request. */
	readonly byteLength: number;
	readonly opcode: number;
	/** Names the request; opaque. */
	readonly unique: bigint;
	readonly nodeId: number;
}

const wordRange = 2 ** 32;

/** An unsigned number of 64 bits; what is beyond 2^53 loses its low bits, and is beyond every bound anyway. */
export function readUint64(bytes: Buffer, offset: number): number {
	return bytes.readUInt32LE(offset) + bytes.readUInt32LE(offset + 4) * wordRange;
}

/** Undefined for what cannot come from the kernel: too short, or not as long as it says. */
export function decodeHeader(bytes: Buffer): RequestHeader | undefined {
	if (bytes.length < lengths.inHeader || bytes.readUInt32LE(0) !== bytes.length) {
		return undefined;
	}

	return {
		byteLength: bytes.length,
		opcode: bytes.readUInt32LE(4),
		unique: bytes.readBigUInt64LE(8),
		nodeId: readUint64(bytes, 16),
	};
}

/** @throws FileError EINVAL where the body is shorter than the fields that are read from it */
function requireLength(body: Buffer, byteLength: number): void {
	if (body.length < byteLength) {
		throw new FileError('EINVAL', `a request has a body of ${body.length} bytes, which is too short`);
	}
}

export function decodeInit(body: Buffer) {
	requireLength(body, 16);
	return {
		major: body.readUInt32LE(0),
		minor: body.readUInt32LE(4),
		maxReadahead: body.readUInt32LE(8),
		flags: body.readUInt32LE(12),
	};
}

/** A name that ends with a zero byte, as the kernel writes it. */
export function decodeName(body: Buffer): string {
	const end = body.indexOf(0);
	if (end < 0) {
		throw new FileError('EINVAL', 'a name does not end');
	}

	return body.toString('utf8', 0, end);
}

export function decodeOpen(body: Buffer) {
	requireLength(body, 8);
	return {flags: body.readUInt32LE(0)};
}

/** READ, READDIR and the beginning of WRITE. */
export function decodeTransfer(body: Buffer) {
	requireLength(body, lengths.writeIn);
	return {handle: readUint64(body, 0), offset: readUint64(body, 8), length: body.readUInt32LE(16)};
}

/** @throws FileError EINVAL where less data came than the request says */
export function decodeWrite(body: Buffer) {
	const transfer = decodeTransfer(body);
	requireLength(body, lengths.writeIn + transfer.length);
	return transfer;
}

/** RELEASE, FLUSH, FSYNC and their like begin with the handle. */
export function decodeHandle(body: Buffer): number {
	requireLength(body, 8);
	return readUint64(body, 0);
}

export function decodeSetattr(body: Buffer) {
	requireLength(body, 88);
	return {valid: body.readUInt32LE(0), size: readUint64(body, 16)};
}

export function decodeFallocate(body: Buffer) {
	requireLength(body, 32);
	return {
		handle: readUint64(body, 0),
		offset: readUint64(body, 8),
		length: readUint64(body, 16),
		mode: body.readUInt32LE(24),
	};
}

export function decodeSeek(body: Buffer) {
	requireLength(body, 24);
	return {handle: readUint64(body, 0), offset: readUint64(body, 8), target: body.readUInt32LE(16)};
}

export function decodeInterrupt(body: Buffer): bigint {
	requireLength(body, 8);
	return body.readBigUInt64LE(0);
}
