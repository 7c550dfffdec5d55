import test from 'ava';
import {RequestQueue, type Outcomes, type Range} from './request-queue.js';

interface Batch {
	readonly pieces: readonly Range[];
	readonly end: (outcomes?: Outcomes) => void;
	readonly fail: (error: Error) => void;
}

const limits = {batchBlockCount: 8, batchCount: 2, pieceCount: 3, exclusive: true};

/** A queue whose batches end when the test says so. */
function scripted(changes: Partial<typeof limits> = {}): {queue: RequestQueue<Range>; batches: Batch[]} {
	const batches: Batch[] = [];
	const queue = new RequestQueue<Range>(
		{...limits, ...changes},
		async pieces =>
			new Promise<Outcomes>((resolve, reject) => {
				batches.push({
					pieces,
					end: outcomes => {
						resolve(outcomes ?? pieces.map(() => undefined));
					},
					fail: reject,
				});
			}),
	);
	return {queue, batches};
}

async function settle(): Promise<void> {
	await new Promise(resolve => {
		setImmediate(resolve);
	});
}

function range(vba: number, count = 1): Range {
	return {vba, count};
}

function vbasOf(batches: readonly Batch[]): number[][] {
	return batches.map(({pieces}) => pieces.map(({vba}) => vba));
}

test('what is asked for at the same time goes in one batch', async t => {
	const {queue, batches} = scripted();
	const added = [queue.add(range(1)), queue.add(range(5)), queue.add(range(9))];
	await settle();
	t.deepEqual(vbasOf(batches), [[1, 5, 9]]);
	batches[0].end();
	await Promise.all(added);
});

test('batches are bounded in pieces and blocks, but a large piece still goes alone', async t => {
	const {queue, batches} = scripted();
	for (const piece of [range(0, 6), range(10, 2), range(20, 1), range(30, 100)]) {
		void queue.add(piece);
	}

	await settle();
	t.deepEqual(vbasOf(batches), [[0, 10], [20]]);
	batches[0].end();
	await settle();
	t.deepEqual(vbasOf(batches), [[0, 10], [20], [30]]);
});

test('no more batches run than allowed; the others wait', async t => {
	const {queue, batches} = scripted({pieceCount: 1});
	for (let vba = 0; vba < 5; vba++) {
		void queue.add(range(vba));
	}

	await settle();
	t.is(batches.length, 2);
	batches[1].end();
	await settle();
	t.deepEqual(vbasOf(batches), [[0], [1], [2]]);
});

test('pieces that overlap run one after another, in the order of their arrival', async t => {
	const {queue, batches} = scripted();
	for (const piece of [range(0, 4), range(3, 2), range(4, 2)]) {
		void queue.add(piece);
	}

	await settle();
	t.deepEqual(
		batches.map(({pieces}) => pieces),
		[[range(0, 4), range(4, 2)]],
	);
	batches[0].end();
	await settle();
	t.deepEqual(batches[1].pieces, [range(3, 2)]);
});

test('without exclusion pieces may overlap', async t => {
	const {queue, batches} = scripted({exclusive: false});
	void queue.add(range(0, 4));
	void queue.add(range(3, 2));
	await settle();
	t.deepEqual(
		batches.map(({pieces}) => pieces),
		[[range(0, 4), range(3, 2)]],
	);
});

test('each piece gets its own outcome', async t => {
	const {queue, batches} = scripted();
	const good = queue.add(range(1));
	const bad = queue.add(range(5));
	await settle();
	batches[0].end([undefined, new Error('this one failed')]);
	await good;
	await t.throwsAsync(bad, {message: 'this one failed'});
});

test('a batch that fails as a whole fails each of its pieces, and the queue goes on', async t => {
	const {queue, batches} = scripted({batchCount: 1});
	const failing = [queue.add(range(1)), queue.add(range(2))];
	await settle();
	const later = queue.add(range(1));
	batches[0].fail(new Error('all failed'));
	for (const piece of failing) {
		await t.throwsAsync(piece, {message: 'all failed'});
	}

	await settle();
	batches[1].end();
	await later;
	await queue.settled();
	t.is(queue.running(range(1)), undefined);
});

test('whoever asks for a running piece is told when it ends', async t => {
	const {queue, batches} = scripted();
	void queue.add(range(4, 4));
	await settle();
	t.is(queue.running(range(0, 4)), undefined);
	t.is(queue.running(range(8, 1)), undefined);
	const ended = queue.running(range(7, 5));
	batches[0].end();
	await ended;
	t.is(queue.running(range(7, 5)), undefined);
});

test('whoever waits for what was asked for waits for all of it, also for what came just now', async t => {
	const {queue, batches} = scripted();
	const added = queue.add(range(1));
	let isSettled = false;
	// Begun before the turn of the event loop in which the batch would start has ended.
	const settled = queue.settled().then(() => {
		isSettled = true;
	});
	await settle();
	t.false(isSettled);
	t.deepEqual(vbasOf(batches), [[1]]);
	batches[0].end();
	await Promise.all([added, settled]);
	t.true(isSettled);
});

test('whoever waits for what was asked for does not wait for what busy clients ask for meanwhile', async t => {
	const {queue, batches} = scripted({pieceCount: 1});
	for (const vba of [1, 2, 3]) {
		void queue.add(range(vba));
	}

	await settle();
	let isSettled = false;
	void queue.settled().then(() => {
		isSettled = true;
	});
	for (const [ended, vba] of [4, 5].entries()) {
		void queue.add(range(vba));
		batches[ended].end();
		await settle();
		t.false(isSettled);
	}

	t.deepEqual(vbasOf(batches), [[1], [2], [3], [4]]);
	batches[2].end();
	await settle();
	// The fourth is running still, and the fifth with it.
	t.true(isSettled);
	t.deepEqual(vbasOf(batches), [[1], [2], [3], [4], [5]]);
});

test('whoever waits for the start of what this turn brings finds it started, as far as batches may run', async t => {
	const {queue, batches} = scripted();
	const started = queue.started();
	const added = [queue.add(range(1)), queue.add(range(3, 8)), queue.add(range(20, 8))];
	await started;
	t.deepEqual(vbasOf(batches), [[1], [3]]);
	batches[0].end();
	batches[1].end();
	await settle();
	batches[2].end();
	await Promise.all(added);
	t.deepEqual(vbasOf(batches), [[1], [3], [20]]);
});
