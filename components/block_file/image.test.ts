import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {hostFault} from './host-fault.js';
import {Image} from './image.js';

const now = () => performance.now();

test('after a failed sync, writes, growth and syncs fail for good; reads go on', async t => {
	const path = join(temporaryDirectory(), 'image');
	fs.writeFileSync(path, Buffer.alloc(8192, 4));
	const fd = fs.openSync(path, 'r+');
	// A device that cannot be synced (EINVAL) stands in for a disk that fails, and is exchanged for the file
	// afterwards.
	const unsyncable = fs.openSync('/dev/null', 'r+');
	const file = {fd: unsyncable, kind: 'file' as const, byteLength: 8192};
	const image = new Image(file, {path, writable: true, growable: true, now});
	await t.throwsAsync(image.sync(), {
		code: 'device_failed',
		message: /EINVAL.*nothing more is accepted until a restart/,
	});
	(file as {fd: number}).fd = fd;
	fs.closeSync(unsyncable);
	await t.throwsAsync(image.sync(), {code: 'device_failed'});
	t.throws(
		() => {
			void image.write([0, 1], Buffer.alloc(4096));
		},
		{code: 'device_failed'},
	);
	t.throws(
		() => {
			image.grow(5);
		},
		{code: 'device_failed'},
	);
	const data = Buffer.alloc(4096);
	await image.read([1, 1], data);
	t.deepEqual(data, Buffer.alloc(4096, 4));
	await image.close();
});

test('where the host makes no holes, cleared blocks are written as zeroes, and the host is not asked again', async t => {
	const path = join(temporaryDirectory(), 'image');
	const byteLength = 3 * 2 ** 20;
	fs.writeFileSync(path, Buffer.alloc(byteLength, 4));
	let askedCount = 0;
	const punch = () => {
		askedCount++;
		return false;
	};

	const image = new Image(
		{fd: fs.openSync(path, 'r+'), kind: 'file', byteLength},
		{path, writable: true, growable: false, punch, now},
	);
	image.clear([1, 600, 700, 1]);
	await image.close();
	t.is(askedCount, 1);
	const expected = Buffer.alloc(byteLength, 4)
		.fill(0, 4096, 601 * 4096)
		.fill(0, 700 * 4096, 701 * 4096);
	t.true(fs.readFileSync(path).equals(expected));
});

test.serial('a large write reaches the file whole, in pieces that the page cache can keep apart', async t => {
	const path = join(temporaryDirectory(), 'image');
	const byteLength = 2 ** 20;
	fs.writeFileSync(path, Buffer.alloc(byteLength, 4));
	const image = new Image(
		{fd: fs.openSync(path, 'r+'), kind: 'file', byteLength},
		{path, writable: true, growable: false, now},
	);
	const data = Buffer.alloc(byteLength - 8192);
	for (let i = 0; i < data.length; i += 4096) {
		data.writeUInt32LE(i + 1, i);
	}

	const lengths: number[] = [];
	const {writeSync} = fs;
	const recording = (...words: [fd: number, data: Uint8Array, offset: number, length: number, position: number]) => {
		lengths.push(words[3]);
		return writeSync(...words);
	};
	Object.assign(fs, {writeSync: recording});
	try {
		await image.write([1, 254], data);
	} finally {
		Object.assign(fs, {writeSync});
	}

	await image.close();
	t.deepEqual(lengths, [...new Array<number>(7).fill(131_072), 131_072 - 8192]);
	t.true(fs.readFileSync(path).equals(Buffer.concat([Buffer.alloc(4096, 4), data, Buffer.alloc(4096, 4)])));
});

test("system errors become the session's errors, with reason and path", t => {
	const systemError = (code: string) => Object.assign(new Error(`${code}: reason, write`), {code, syscall: 'write'});
	for (const [code, expected] of [
		['ENOSPC', 'no_space'],
		['EDQUOT', 'no_space'],
		['EFBIG', 'no_space'],
		['EIO', 'device_failed'],
		['EBADF', 'device_failed'],
	]) {
		const fault = hostFault(systemError(code), 'writing', '/a/path');
		t.is(fault.code, expected);
		t.is(fault.message, `writing /a/path failed: ${code}: reason, write`);
	}

	t.throws(() => hostFault(new TypeError('a bug'), 'writing', '/a/path'), {instanceOf: TypeError});
});

test('an image whose folder is missing cannot be made, and that is what is said', t => {
	const path = join(temporaryDirectory(), 'missing', 'image');
	const image = new Image(undefined, {path, writable: true, growable: true, now});
	t.throws(
		() => {
			image.grow(5);
		},
		{
			code: 'device_failed',
			message: /^the image .* cannot be made: the folder .*\/missing does not exist; make the folder/,
		},
	);
});
