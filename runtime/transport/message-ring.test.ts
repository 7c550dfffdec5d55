import test from 'ava';
import {makeRing, RingReader, RingWriter} from './message-ring.js';

interface Ring {
	readonly writer: RingWriter;
	readonly reader: RingReader;
	readonly received: unknown[][];
}

function ringWith(onMessage?: (number: number, ring: Ring) => void): Ring {
	const memory = makeRing();
	const ring: Ring = {
		writer: new RingWriter(memory),
		reader: new RingReader(memory, (number, kind, content) => {
			ring.received.push([number, kind, ...content]);
			onMessage?.(number, ring);
		}),
		received: [],
	};
	return ring;
}

test('messages arrive in order, over many turns of the ring, whatever their sizes', t => {
	const {writer, reader, received} = ringWith();
	let sent = 0;
	for (let i = 0; i < 3000; i++) {
		for (let batch = (i * 7) % 5; batch > 0; batch--) {
			t.true(writer.write(sent, 1, [Array.from({length: (sent * 131) % 900}, (_, at) => at)]));
			sent++;
		}

		reader.empty();
	}

	t.is(received.length, sent);
	for (const [i, [number, , vector]] of received.entries()) {
		t.is(number, i);
		t.is((vector as number[]).length, (i * 131) % 900);
	}

	t.false(reader.isFilled);
});

test('a ring that is full takes nothing more until it was read', t => {
	const {writer, reader, received} = ringWith();
	let count = 0;
	while (writer.write(count, 0, [new Uint8Array(1000)])) {
		count++;
	}

	t.true(count > 100 && count < 135, String(count));
	t.false(writer.write(count, 0, [new Uint8Array(1000)]));
	reader.empty();
	t.is(received.length, count);
	t.true(writer.write(count, 0, [new Uint8Array(1000)]));
});

test('a message that is larger than the ring is not taken', t => {
	const {writer, reader} = ringWith();
	t.false(writer.write(0, 0, [new Uint8Array(200_000)]));
	t.false(reader.isFilled);
});

test('after a message went beside the ring, all others do until it was taken', t => {
	const {writer, reader} = ringWith();
	t.true(writer.write(0, 0, []));
	writer.noteAside();
	t.false(writer.write(1, 0, []));
	reader.empty();
	t.false(writer.write(1, 0, []));
	reader.noteAside();
	t.true(writer.write(1, 0, []));
});

test('what comes while messages are handed on waits for the next look', t => {
	const ring = ringWith((number, {writer}) => {
		if (number < 3) {
			writer.write(number + 1, 0, []);
		}
	});
	ring.writer.write(0, 0, []);
	ring.reader.empty();
	t.is(ring.received.length, 1);
	t.true(ring.reader.isFilled);
	while (ring.reader.isFilled) {
		ring.reader.empty();
	}

	t.is(ring.received.length, 4);
});

test('a reader that is closed by a message hands on no other, and a message that throws is not handed on twice', t => {
	const closing = ringWith((_number, {reader}) => {
		reader.close();
	});
	closing.writer.write(0, 0, []);
	closing.writer.write(1, 0, []);
	closing.reader.empty();
	t.is(closing.received.length, 1);

	const throwing = ringWith(number => {
		if (number === 0) {
			throw new Error('no');
		}
	});
	throwing.writer.write(0, 0, []);
	throwing.writer.write(1, 0, []);
	t.throws(() => {
		throwing.reader.empty();
	});
	throwing.reader.empty();
	t.deepEqual(
		throwing.received.map(([number]) => number),
		[0, 1],
	);
});
