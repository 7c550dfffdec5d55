/**
 * The key file. Offset, size: magic 0,8 · version 8,4 · zero 12,4 · master key 16,32 · SHA-256 of everything before
 * 48,32. The checksum finds damage; it is no protection against anybody, as whoever writes the file knows the key.
 */
import {createHash} from 'node:crypto';
import {masterKeyLength} from '../lib/anchor/master-keys.js';

const magic = Buffer.from('CBE TA K');
const version = 1;
const versionOffset = 8;
const keyOffset = 16;
const checksumOffset = keyOffset + masterKeyLength;
export const keyFileLength = checksumOffset + 32;

function checksumOf(content: Buffer): Buffer {
	return createHash('sha256').update(content.subarray(0, checksumOffset)).digest();
}

/** The caller wipes the result. */
export function encodeKeyFile(masterKey: Uint8Array): Buffer {
	const content = Buffer.alloc(keyFileLength);
	magic.copy(content);
	content.writeUInt32LE(version, versionOffset);
	content.set(masterKey, keyOffset);
	checksumOf(content).copy(content, checksumOffset);
	return content;
}

export type DecodedKeyFile = {readonly masterKey: Buffer} | {readonly fault: string};

/** The caller wipes the content and the key, which is a copy. */
export function decodeKeyFile(content: Buffer): DecodedKeyFile {
	if (!content.subarray(0, magic.length).equals(magic)) {
		return {fault: 'it is no key file'};
	}

	if (content.length !== keyFileLength) {
		return {
			fault: content.length < keyFileLength ? `it is cut off after ${content.length} bytes` : 'it is too long',
		};
	}

	const found = content.readUInt32LE(versionOffset);
	if (found !== version) {
		return {fault: `its version is ${found}, this program knows version ${version}`};
	}

	if (!checksumOf(content).equals(content.subarray(checksumOffset))) {
		return {fault: 'its checksum does not match'};
	}

	return {masterKey: Buffer.from(content.subarray(keyOffset, checksumOffset))};
}
