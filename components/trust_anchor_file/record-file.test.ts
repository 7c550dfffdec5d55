import test from 'ava';
import {freshMarks} from '../lib/anchor/served-store.js';
import {
	encodeEmptyRecordFile,
	encodeSlot,
	looksEmpty,
	readRecordFile,
	recordFileLength,
	slotLength,
	slotOffset,
	type NumberedRecord,
} from './record-file.js';

const recordKey = Buffer.alloc(32, 1);

function recordNumber(sequence: number): NumberedRecord {
	return {
		sequence,
		secured: {hash: new Uint8Array(32).fill(sequence), generation: sequence * 10, creating: sequence === 2},
		hasSlots: sequence > 3,
		marks: {
			intended: sequence % 2 === 1 ? new Uint8Array(32).fill(sequence + 1) : null,
			announces: true,
			authenticated: sequence > 4,
		},
	};
}

/** A file after the records 2 to `last` were written in turn. */
function fileAfter(last: number): Buffer {
	const content = encodeEmptyRecordFile(recordKey);
	for (let sequence = 2; sequence <= last; sequence++) {
		encodeSlot(recordNumber(sequence), recordKey).copy(content, slotOffset(sequence));
	}

	return content;
}

test('an empty file holds no superblock', t => {
	const content = encodeEmptyRecordFile(recordKey);
	t.true(looksEmpty(content));
	t.deepEqual(readRecordFile(content, recordKey), {
		newest: {sequence: 1, secured: null, hasSlots: false, marks: freshMarks},
		copyLost: false,
	});
});

test('the newest record counts', t => {
	for (const last of [2, 3, 4, 5]) {
		t.false(looksEmpty(fileAfter(last)));
		t.deepEqual(readRecordFile(fileAfter(last), recordKey), {newest: recordNumber(last), copyLost: false});
	}
});

test('a record without a generation stays one', t => {
	const content = encodeEmptyRecordFile(recordKey);
	const record = {
		sequence: 2,
		secured: {hash: new Uint8Array(32), generation: null, creating: false},
		hasSlots: false,
		marks: freshMarks,
	};
	encodeSlot(record, recordKey).copy(content, slotOffset(2));
	t.deepEqual(readRecordFile(content, recordKey)?.newest, record);
});

test('a write torn at any byte leaves the record before, or is whole', t => {
	const before = fileAfter(4);
	const slot = encodeSlot(recordNumber(5), recordKey);
	for (let length = 0; length <= slotLength; length++) {
		const torn = Buffer.from(before);
		slot.copy(torn, slotOffset(5), 0, length);
		const read = readRecordFile(torn, recordKey);
		t.true(read?.newest.sequence === 4 || read?.newest.sequence === 5, `after ${length} bytes`);
		if (read?.newest.sequence === 4) {
			t.deepEqual(read.newest, recordNumber(4));
		} else {
			t.deepEqual(read?.newest, recordNumber(5));
		}
	}
});

test('a flipped bit does no harm to the newest record, and in both of its copies it never brings an older one back', t => {
	const content = fileAfter(5);
	for (let bit = 0; bit < 128 * 8; bit++) {
		const altered = Buffer.from(content);
		altered[slotOffset(5) + (bit >> 3)] ^= 1 << (bit & 7);
		t.deepEqual(readRecordFile(altered, recordKey), {newest: recordNumber(5), copyLost: true}, `bit ${bit}`);
		altered[slotOffset(5) + slotLength / 2 + (bit >> 3)] ^= 1 << (bit & 7);
		t.is(readRecordFile(altered, recordKey), undefined, `bit ${bit} of both copies`);
	}
});

test('records of another key, in the wrong slot, or cut off do not count', t => {
	const content = fileAfter(5);
	t.is(readRecordFile(content, Buffer.alloc(32, 2)), undefined);
	const swapped = Buffer.alloc(recordFileLength);
	content.copy(swapped, slotOffset(1), slotOffset(0), slotOffset(0) + slotLength);
	content.copy(swapped, slotOffset(0), slotOffset(1), slotOffset(1) + slotLength);
	t.is(readRecordFile(swapped, recordKey), undefined);
	t.is(readRecordFile(content.subarray(0, 300), recordKey), undefined);
	t.is(readRecordFile(Buffer.alloc(0), recordKey), undefined);
});

test('a file that is cut off anywhere holds no record, even where one slot is whole', t => {
	const content = encodeEmptyRecordFile(recordKey);
	encodeSlot(
		{
			sequence: 4,
			secured: {hash: new Uint8Array(32).fill(1), generation: 7, creating: false},
			hasSlots: false,
			marks: freshMarks,
		},
		recordKey,
	).copy(content, slotOffset(4));
	for (let length = 0; length < content.length; length++) {
		// Without the last copy alone nothing is lost.
		t.is(
			readRecordFile(content.subarray(0, length), recordKey)?.newest.sequence,
			length === content.length - slotLength / 2 ? 4 : undefined,
		);
	}

	t.is(readRecordFile(content, recordKey)?.newest.sequence, 4);
});

test('a file of an earlier version, with one copy of each record, is read', t => {
	const content = fileAfter(5).subarray(0, 4096 + 512);
	content.fill(0, 512, 1024);
	t.deepEqual(readRecordFile(content, recordKey), {newest: recordNumber(5), copyLost: false});
	content[4096 + 40] ^= 1;
	t.is(readRecordFile(content, recordKey), undefined);
});
