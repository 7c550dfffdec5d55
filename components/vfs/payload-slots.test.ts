import test from 'ava';
import {TestEnvironment} from '../../test/support/test-environment.js';
import {largeSlotCount, smallSlotCount, transferByteLengthMax} from './file-system-limits.js';
import {PayloadSlots} from './payload-slots.js';

const dataOffset = 80;

test('a slot takes a write of full length, its data begins with a page', t => {
	const slots = new PayloadSlots(new TestEnvironment(), () => undefined);
	t.is(slots.next()!.length, dataOffset + transferByteLengthMax);
	const {data} = slots.hold(dataOffset, transferByteLengthMax);
	t.is(data.byteOffset % 4096, 0);
});

test('short data is copied, so the large slot stays free', t => {
	const slots = new PayloadSlots(new TestEnvironment(), () => undefined);
	for (let i = 0; i < smallSlotCount; i++) {
		slots.next()!.fill(i, dataOffset, dataOffset + 10);
		const {data} = slots.hold(dataOffset, 10);
		slots.next()!.fill(0xff);
		t.deepEqual(data, Buffer.alloc(10, i));
	}
});

test('when all is in use there is none, until one is released', t => {
	let freed = 0;
	const slots = new PayloadSlots(new TestEnvironment(), () => {
		freed++;
	});
	const held = Array.from({length: largeSlotCount}, () => {
		t.truthy(slots.next());
		return slots.hold(dataOffset, transferByteLengthMax);
	});
	t.is(slots.next(), undefined);
	held[3].release();
	t.is(freed, 1);
	t.truthy(slots.next());
	held[4].release();
	t.is(freed, 1, 'only the end of scarcity is told');
});
