/** Replies to the kernel, put together. */
import {entryTypes, lengths, notifications, protocolMajor, protocolMinor} from './fuse-protocol.js';

const wordRange = 2 ** 32;

function writeUint64(bytes: Buffer, value: number, offset: number): void {
	bytes.writeUInt32LE(value % wordRange, offset);
	bytes.writeUInt32LE(Math.floor(value / wordRange), offset + 4);
}

/** The header of a reply with `payloadLength` bytes behind it. @param error 0, or a positive error number */
export function encodeHeader(unique: bigint, error: number, payloadLength: number): Buffer {
	const header = Buffer.allocUnsafe(lengths.outHeader);
	header.writeUInt32LE(lengths.outHeader + payloadLength, 0);
	header.writeInt32LE(-error, 4);
	header.writeBigUInt64LE(unique, 8);
	return header;
}

export interface InitReply {
	readonly maxReadahead: number;
	readonly flags: number;
	readonly maxBackground: number;
	readonly maxWrite: number;
	readonly maxPages: number;
}

export function encodeInit({maxReadahead, flags, maxBackground, maxWrite, maxPages}: InitReply): Buffer {
	const bytes = Buffer.alloc(64);
	bytes.writeUInt32LE(protocolMajor, 0);
	bytes.writeUInt32LE(protocolMinor, 4);
	bytes.writeUInt32LE(maxReadahead, 8);
	bytes.writeUInt32LE(flags, 12);
	bytes.writeUInt16LE(maxBackground, 16);
	bytes.writeUInt16LE(Math.floor((maxBackground * 3) / 4), 18);
	bytes.writeUInt32LE(maxWrite, 20);
	bytes.writeUInt32LE(1, 24);
	bytes.writeUInt16LE(maxPages, 28);
	return bytes;
}

export interface Attributes {
	readonly id: number;
	readonly kind: 'directory' | 'file';
	/** Permission bits. */
	readonly permissions: number;
	readonly byteLength: number;
	readonly uid: number;
	readonly gid: number;
}

const blockSize = 4096;
/** The unit of the `blocks` of a file. */
const sectorSize = 512;

/** Times are not kept: everything dates from 1970. */
function writeAttributes(
	bytes: Buffer,
	offset: number,
	{id, kind, permissions, byteLength, uid, gid}: Attributes,
): void {
	const target = bytes.subarray(offset, offset + lengths.attr);
	writeUint64(target, id, 0);
	writeUint64(target, byteLength, 8);
	writeUint64(target, Math.ceil(byteLength / sectorSize), 16);
	target.writeUInt32LE((kind === 'directory' ? 0o040000 : 0o100000) + permissions, 60);
	target.writeUInt32LE(kind === 'directory' ? 2 : 1, 64);
	target.writeUInt32LE(uid, 68);
	target.writeUInt32LE(gid, 72);
	target.writeUInt32LE(blockSize, 80);
}

/** @param validSeconds for how long the attributes hold */
export function encodeAttributes(attributes: Attributes, validSeconds: number): Buffer {
	const bytes = Buffer.alloc(16 + lengths.attr);
	writeUint64(bytes, validSeconds, 0);
	writeAttributes(bytes, 16, attributes);
	return bytes;
}

/** A name that was found. @param nameSeconds for how long the name holds */
export function encodeEntry(attributes: Attributes, nameSeconds: number, validSeconds: number): Buffer {
	const bytes = Buffer.alloc(40 + lengths.attr);
	writeUint64(bytes, attributes.id, 0);
	writeUint64(bytes, nameSeconds, 16);
	writeUint64(bytes, validSeconds, 24);
	writeAttributes(bytes, 40, attributes);
	return bytes;
}

export function encodeOpen(handle: number, flags: number): Buffer {
	const bytes = Buffer.alloc(16);
	writeUint64(bytes, handle, 0);
	bytes.writeUInt32LE(flags, 8);
	return bytes;
}

/** Where LSEEK has found something. */
export function encodeSeek(offset: number): Buffer {
	const bytes = Buffer.alloc(8);
	writeUint64(bytes, offset, 0);
	return bytes;
}

export function encodeWritten(byteLength: number): Buffer {
	const bytes = Buffer.alloc(8);
	bytes.writeUInt32LE(byteLength, 0);
	return bytes;
}

export interface DirectoryEntry {
	readonly id: number;
	readonly name: string;
	readonly kind: 'directory' | 'file';
}

function encodeDirectoryEntry({id, name, kind}: DirectoryEntry, nextOffset: number): Buffer {
	const nameBytes = Buffer.from(name);
	const bytes = Buffer.alloc(Math.ceil((24 + nameBytes.length) / 8) * 8);
	writeUint64(bytes, id, 0);
	writeUint64(bytes, nextOffset, 8);
	bytes.writeUInt32LE(nameBytes.length, 16);
	bytes.writeUInt32LE(entryTypes[kind], 20);
	nameBytes.copy(bytes, 24);
	return bytes;
}

/** The entries from number `first` on, as many as fit whole. */
export function encodeDirectory(entries: readonly DirectoryEntry[], first: number, byteLengthMax: number): Buffer {
	const parts: Buffer[] = [];
	let byteLength = 0;
	for (let i = first; i < entries.length; i++) {
		const part = encodeDirectoryEntry(entries[i], i + 1);
		byteLength += part.length;
		if (byteLength > byteLengthMax) {
			break;
		}

		parts.push(part);
	}

	return Buffer.concat(parts);
}

export function encodeFileSystemSize(blockCount: number): Buffer {
	const bytes = Buffer.alloc(80);
	writeUint64(bytes, blockCount, 0);
	bytes.writeUInt32LE(blockSize, 40);
	bytes.writeUInt32LE(255, 44);
	bytes.writeUInt32LE(blockSize, 48);
	return bytes;
}

/** Tells the kernel to forget all that it has cached of a file: its attributes and its content. */
export function encodeInvalidation(id: number): Buffer {
	const bytes = Buffer.alloc(lengths.outHeader + 24);
	bytes.writeUInt32LE(bytes.length, 0);
	bytes.writeInt32LE(notifications.invalidateInode, 4);
	writeUint64(bytes, id, 16);
	return bytes;
}
