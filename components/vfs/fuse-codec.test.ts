/** Requests as the kernel writes them, and replies as it reads them, byte by byte after `linux/fuse.h`. */
import test from 'ava';
import {
	decodeFallocate,
	decodeHandle,
	decodeHeader,
	decodeInit,
	decodeInterrupt,
	decodeName,
	decodeOpen,
	decodeSetattr,
	decodeTransfer,
	decodeWrite,
	readUint64,
} from './fuse-request.js';
import {
	encodeAttributes,
	encodeDirectory,
	encodeEntry,
	encodeHeader,
	encodeInvalidation,
	encodeOpen,
	encodeWritten,
} from './fuse-reply.js';

function hex(text: string): Buffer {
	return Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
}

const header = '68000000 1a000000 0200000000000000 0100000000000000 00000000 00000000 00000000 0000 0000';

test('the header of a request', t => {
	const bytes = Buffer.concat([hex(header), Buffer.alloc(64)]);
	t.deepEqual(decodeHeader(bytes), {byteLength: 104, opcode: 26, unique: 2n, nodeId: 1});
});

test('a request that is shorter or longer than it says is none', t => {
	t.is(decodeHeader(Buffer.alloc(0)), undefined);
	t.is(decodeHeader(hex(header).subarray(0, 39)), undefined);
	t.is(decodeHeader(hex(header)), undefined);
	t.is(decodeHeader(Buffer.concat([hex(header), Buffer.alloc(65)])), undefined);
});

test('INIT, OPEN, INTERRUPT', t => {
	t.deepEqual(decodeInit(hex('07000000 26000000 00001000 fbffff73')), {
		major: 7,
		minor: 38,
		maxReadahead: 2 ** 20,
		flags: 0x73ff_fffb,
	});
	t.deepEqual(decodeOpen(hex('02800000 00000000')), {flags: 0x8002});
	t.is(decodeInterrupt(hex('ffffffffffffffff')), 2n ** 64n - 1n);
});

test('WRITE carries its data behind 40 bytes', t => {
	const write = hex('0500000000000000 0010000002000000 03000000 00000000 0000000000000000 01800000 00000000 616263');
	t.deepEqual(decodeWrite(write), {handle: 5, offset: 2 * 2 ** 32 + 4096, length: 3});
	t.throws(() => decodeWrite(write.subarray(0, 42)), {code: 'EINVAL'}, 'data is missing');
});

test('FALLOCATE and SETATTR', t => {
	t.deepEqual(decodeFallocate(hex('0700000000000000 0010000000000000 0020000000000000 03000000 00000000')), {
		handle: 7,
		offset: 4096,
		length: 8192,
		mode: 3,
	});
	const setattr = Buffer.alloc(88);
	setattr.writeUInt32LE(8, 0);
	setattr.writeUInt32LE(77, 16);
	t.deepEqual(decodeSetattr(setattr), {valid: 8, size: 77});
});

test('names end with a zero byte', t => {
	t.is(decodeName(Buffer.from('create_snapshot\0')), 'create_snapshot');
	t.is(decodeName(Buffer.from('\u00E4\0rest')), '\u00E4');
	t.throws(() => decodeName(Buffer.from('endless')), {code: 'EINVAL'});
	t.throws(() => decodeName(Buffer.alloc(0)), {code: 'EINVAL'});
});

test('bodies cut off anywhere are refused, never read beyond', t => {
	const decoders = [
		[decodeInit, 16],
		[decodeOpen, 8],
		[decodeTransfer, 40],
		[decodeWrite, 40],
		[decodeHandle, 8],
		[decodeSetattr, 88],
		[decodeFallocate, 32],
		[decodeInterrupt, 8],
	] as const;
	for (const [decode, byteLength] of decoders) {
		t.notThrows(() => decode(Buffer.alloc(byteLength)));
		for (let length = 0; length < byteLength; length++) {
			t.throws(() => decode(Buffer.alloc(length)), {name: 'FileError', code: 'EINVAL'});
		}
	}
});

test('numbers of 64 bits', t => {
	t.is(readUint64(hex('ffffffffffff1f00'), 0), Number.MAX_SAFE_INTEGER);
	t.true(readUint64(hex('ffffffffffffffff'), 0) > Number.MAX_SAFE_INTEGER);
});

test('replies begin with length, negative error number and the name of the request', t => {
	t.deepEqual(encodeHeader(258n, 0, 5), hex('15000000 00000000 0201000000000000'));
	t.deepEqual(encodeHeader(2n ** 64n - 1n, 22, 0), hex('10000000 eaffffff ffffffffffffffff'));
	t.deepEqual(encodeOpen(9, 5), hex('0900000000000000 05000000 00000000'));
	t.deepEqual(encodeWritten(4096), hex('00100000 00000000'));
	t.deepEqual(
		encodeInvalidation(5),
		hex('28000000 02000000 0000000000000000 0500000000000000 0000000000000000 0000000000000000'),
	);
});

const file = {id: 2 ** 33 + 1, kind: 'file', permissions: 0o600, byteLength: 2 ** 32 + 513, uid: 3, gid: 4} as const;

test('attributes', t => {
	const expected = hex(`
		0100000000000000 00000000 00000000
		0100000002000000 0102000001000000 0200800000000000
		0000000000000000 0000000000000000 0000000000000000 00000000 00000000 00000000
		80810000 01000000 03000000 04000000 00000000 00100000 00000000`);
	t.deepEqual(encodeAttributes(file, 1), expected);
	const entry = encodeEntry(file, 0, 1);
	t.deepEqual(entry.subarray(40), expected.subarray(16));
	t.deepEqual(
		entry.subarray(0, 40),
		hex('0100000002000000 0000000000000000 0000000000000000 0100000000000000 00000000 00000000'),
	);
	t.is(encodeAttributes({...file, kind: 'directory', permissions: 0o500}, 0).readUInt32LE(16 + 60), 0o040500);
});

test('directories are handed out in whole entries of 8 bytes and more, from where the last reply ended', t => {
	const entries = [
		{id: 1, name: '.', kind: 'directory'},
		{id: 5, name: 'twelve bytes', kind: 'file'},
	] as const;
	const first = hex('0100000000000000 0100000000000000 01000000 04000000 2e00000000000000');
	const second = hex('0500000000000000 0200000000000000 0c000000 08000000 7477656c7665206279746573 00000000');
	t.deepEqual(encodeDirectory(entries, 0, 4096), Buffer.concat([first, second]));
	t.deepEqual(encodeDirectory(entries, 0, 71), first);
	t.deepEqual(encodeDirectory(entries, 1, 4096), second);
	t.deepEqual(encodeDirectory(entries, 2, 4096), Buffer.alloc(0));
	t.deepEqual(encodeDirectory(entries, 2 ** 40, 4096), Buffer.alloc(0));
});
