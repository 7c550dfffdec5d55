import test from 'ava';
import {emptySlot, isEmpty, slotLength} from './key-slot.js';
import {
	copyLength,
	encodeSlotsFile,
	freshTable,
	readSlotsFile,
	settlingWrites,
	slotCount,
	slotsFileLength,
	updateWrites,
	withSlots,
	type CopyWrite,
	type SlotTable,
} from './slots-file.js';

function slotOf(value: number): Buffer {
	return Buffer.alloc(slotLength, value);
}

/** One assertion for many bytes. */
function areSame(slots: readonly Buffer[] | undefined, expected: readonly Buffer[]): boolean {
	return slots !== undefined && Buffer.concat(slots).equals(Buffer.concat(expected));
}

const before: SlotTable = freshTable([slotOf(1), slotOf(2)]);

/** The slots after one was changed and one given up. */
function slotsAfter({slots}: SlotTable): Buffer[] {
	return [slotOf(3), Buffer.from(emptySlot), ...slots.slice(2)];
}

function apply(content: Buffer, {offset, data}: CopyWrite, length = data.length): Buffer {
	const written = Buffer.from(content);
	data.copy(written, offset, 0, length);
	return written;
}

function firstBytes(content: Buffer): number[] | undefined {
	return readSlotsFile(content)?.slots.map(slot => slot[0]);
}

test('a table is read as it was written', t => {
	t.deepEqual(readSlotsFile(encodeSlotsFile(before)), {...before, staleCopy: undefined, isDamaged: false});
	t.is(before.slots.length, slotCount);
	t.is(encodeSlotsFile(before).length, slotsFileLength);
});

test('an update that is cut at any byte leaves the slots before it or those after, and the next one starts with the torn copy', t => {
	const start = encodeSlotsFile(before);
	const present = readSlotsFile(start)!;
	const table = withSlots(present, slotsAfter(present));
	let content = start;
	let sawAfter = false;
	for (const write of updateWrites(present, table)) {
		for (let length = 0; length <= write.data.length; length++) {
			const cut = apply(content, write, length);
			const read = readSlotsFile(cut)!;
			t.false(read.isDamaged);
			const isAfter = read.slots[0][0] === 3;
			t.true(
				areSame(read.slots, isAfter ? table.slots : present.slots),
				`cut after ${length} bytes at ${write.offset}`,
			);
			t.false(sawAfter && !isAfter, 'what was durable stays');
			if (read.staleCopy !== undefined) {
				const settled = settlingWrites(read).reduce((written, settling) => apply(written, settling), cut);
				t.is(readSlotsFile(settled)?.staleCopy, undefined);
				const [next] = updateWrites(read, withSlots(read, slotsAfter(read)));
				t.is(
					next.offset === 0 ? 0 : 1,
					read.staleCopy,
					'the copy that is whole is kept until the other one is',
				);
			}
		}

		content = apply(content, write);
		sawAfter = true;
	}

	t.deepEqual(readSlotsFile(content), {...table, staleCopy: undefined, isDamaged: false});
	t.false(content.includes(slotOf(2)), 'a slot that was given up is in neither copy');
});

test('a settling that is cut at any byte loses nothing', t => {
	const [first] = updateWrites(readSlotsFile(encodeSlotsFile(before))!, withSlots(before, slotsAfter(before)));
	const content = apply(encodeSlotsFile(before), first);
	const read = readSlotsFile(content)!;
	const [settling] = settlingWrites(read);
	for (let length = 0; length <= settling.data.length; length++) {
		t.true(areSame(readSlotsFile(apply(content, settling, length))?.slots, read.slots));
	}
});

test('a write of which any one sector is lost or garbage leaves the other copy', t => {
	const present = readSlotsFile(encodeSlotsFile(before))!;
	const [first] = updateWrites(present, withSlots(present, slotsAfter(present)));
	for (let sector = 0; sector < copyLength; sector += 512) {
		for (const filling of [0, 0x55]) {
			const content = apply(encodeSlotsFile(before), first);
			content.fill(filling, first.offset + sector, first.offset + sector + 512);
			const values = firstBytes(content);
			t.true(values?.[0] === 1 || values?.[0] === 3);
			t.is(readSlotsFile(content)?.isDamaged, false);
		}
	}
});

test('every flipped bit of one copy leaves the other one', t => {
	const content = encodeSlotsFile(before);
	for (let byte = 0; byte < copyLength; byte++) {
		const altered = Buffer.from(content);
		altered[byte] ^= 1 << (byte % 8);
		const read = readSlotsFile(altered);
		t.true(areSame(read?.slots, before.slots), `byte ${byte}`);
		t.is(read?.staleCopy, 0);
	}
});

test('where neither copy is whole, nothing but what is intact by itself is taken, and files that are none are refused', t => {
	const content = encodeSlotsFile(before);
	content[100] ^= 1;
	content[8192 + 100] ^= 1;
	const read = readSlotsFile(content);
	t.is(read?.isDamaged, true);
	t.true(isEmpty(read!.slots[7]));
	t.is(readSlotsFile(Buffer.alloc(slotsFileLength)), undefined);
	t.is(readSlotsFile(Buffer.alloc(0)), undefined);
	t.is(readSlotsFile(encodeSlotsFile(before).subarray(0, 1000)), undefined);
});
