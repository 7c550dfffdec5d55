import test from 'ava';
import {CostModel} from './cost-model.js';

const kind = 'aes-256-xts_seal';

interface Machine {
	readonly blockUs: number;
	readonly postUs: number;
	readonly reactionUs: number;
	/**
	 * How many blocks all threads together get done in the time in which one alone does one: as many as there are, on
	 * free CPUs.
	 */
	readonly speed: number;
}

const calm: Machine = {blockUs: 3, postUs: 20, reactionUs: 30, speed: 2};
const busy: Machine = {...calm, speed: 1};

/** Lets batches of one size come by; how many of them were helped with. */
function run(
	model: CostModel,
	{blockUs, postUs, reactionUs, speed}: Machine,
	{count, blockCount, freeCount = 1}: {count: number; blockCount: number; freeCount?: number},
): number {
	let helpedCount = 0;
	for (let i = 0; i < count; i++) {
		const helperCount = model.helpersFor(kind, blockCount, freeCount);
		const aloneUs = blockCount * blockUs;
		if (helperCount === 0) {
			model.noteAlone(kind, blockCount, aloneUs);
		} else {
			helpedCount++;
			model.noteHandOff({postUs, reactionUs});
			model.noteHelped(kind, {blockCount, helperCount, us: postUs + (aloneUs + reactionUs) / speed});
		}
	}

	return helpedCount;
}

test('few blocks are not worth a hand-off, many are, and how many depends on what a block costs', t => {
	const model = new CostModel();
	run(model, calm, {count: 1000, blockCount: 256});
	for (const blockCount of [0, 1, 8, 16]) {
		t.is(model.helpersFor(kind, blockCount, 7), 0);
	}

	t.true(model.helpersFor(kind, 128, 1) === 1);
	const quick = new CostModel();
	run(quick, {...calm, blockUs: 0.5}, {count: 1000, blockCount: 1024});
	t.is(quick.helpersFor(kind, 64, 1), 0);
	t.is(quick.helpersFor(kind, 1024, 1), 1);
});

test('no more threads than there is worth the while, and none where none is free', t => {
	const model = new CostModel();
	run(model, {...calm, speed: 4}, {count: 1000, blockCount: 1024, freeCount: 3});
	t.is(model.helpersFor(kind, 1024, 0), 0);
	t.is(model.helpersFor(kind, 8192, 3), 3);
	const some = model.helpersFor(kind, 128, 100);
	t.true(some > 0 && some < 10, `${some}`);
	t.true(model.helpersFor(kind, 8192, 100) > some);
});

test('where all CPUs are busy help stops, but for probes, and comes back when they are free', t => {
	const model = new CostModel();
	t.true(run(model, calm, {count: 1000, blockCount: 256}) > 900);
	t.true(model.status[`percent_with_help_${kind}`] < 70);
	run(model, busy, {count: 1000, blockCount: 256});
	const probed = run(model, busy, {count: 1920, blockCount: 256});
	t.is(probed, 80);
	t.true(model.status[`percent_with_help_${kind}`] > 90);
	run(model, calm, {count: 1000, blockCount: 256});
	t.is(run(model, calm, {count: 1920, blockCount: 256}), 1840);
	t.true(model.status.probes > 0);
});

test('small batches are never probes', t => {
	const model = new CostModel();
	t.is(run(model, calm, {count: 5000, blockCount: 8}), 0);
	t.is(model.status.probes, 0);
});

test('one interruption does not count, what lasts does', t => {
	const model = new CostModel();
	run(model, calm, {count: 1000, blockCount: 256});
	const {hand_off_us: before} = model.status;
	model.noteHandOff({postUs: 4000, reactionUs: 90_000});
	t.true(model.status.hand_off_us < before * 1.2);
	run(model, {...calm, reactionUs: 400}, {count: 1000, blockCount: 1024});
	t.true(model.status.hand_off_us > 350);
});
