import {Worker} from 'node:worker_threads';
import test from 'ava';
import {sharedMemory, WorkClaims} from './shared-work.js';

function claimsOf(unitCount: number, viewCount: number): WorkClaims[] {
	const memory = sharedMemory(WorkClaims.byteLength(unitCount));
	const views = Array.from({length: viewCount}, () => new WorkClaims(memory, unitCount));
	views[0].open();
	return views;
}

test('units are taken from both ends until none are left', t => {
	const [own, other] = claimsOf(7, 2);
	t.deepEqual(other.takeFirst(2, 2), {first: 0, count: 2});
	t.deepEqual(own.takeLast(1, 3), {first: 4, count: 3});
	t.is(own.freeCount, 2);
	t.deepEqual(own.takeLast(1, 3), {first: 2, count: 2});
	t.is(own.takeLast(1, 1), undefined);
	t.is(other.takeFirst(2, 1), undefined);
	t.is(own.freeCount, 0);
});

test('all are done when each is', t => {
	const [own, other] = claimsOf(3, 2);
	const there = other.takeFirst(2, 1)!;
	const here = own.takeLast(1, 5)!;
	t.deepEqual(here, {first: 1, count: 2});
	own.finish(here);
	t.false(own.areAllDone);
	other.finish(there);
	t.true(own.areAllDone);
	t.true(other.areAllDone);
});

test('what a thread leaves behind is free again, what it has done stays done', t => {
	const [own, other] = claimsOf(6, 2);
	other.finish(other.takeFirst(2, 2)!);
	other.takeFirst(2, 2);
	own.finish(own.takeLast(1, 6)!);
	t.is(own.takeLast(1, 1), undefined);
	t.is(own.release(2), 2);
	t.deepEqual(own.takeLast(1, 6), {first: 2, count: 2});
	own.finish({first: 2, count: 2});
	t.true(own.areAllDone);
	t.is(own.release(2), 0);
});

test('memory that is used again begins anew', t => {
	const memory = sharedMemory(WorkClaims.byteLength(9));
	const first = new WorkClaims(memory, 9);
	first.open();
	first.finish(first.takeFirst(1, 9)!);
	const second = new WorkClaims(memory, 4);
	second.open();
	t.is(second.freeCount, 4);
	t.false(second.areAllDone);
	t.deepEqual(second.takeLast(1, 9), {first: 0, count: 4});
});

test('threads at the same time never take the same unit', async t => {
	const unitCount = 200_000;
	const memory = sharedMemory(WorkClaims.byteLength(unitCount));
	const counts = sharedMemory(unitCount);
	new WorkClaims(memory, unitCount).open();
	const code = `
		import {workerData} from 'node:worker_threads';
		const {WorkClaims} = await import(workerData.module);
		const claims = new WorkClaims(workerData.memory, workerData.unitCount);
		const take = workerData.taker === 1 ? 'takeLast' : 'takeFirst';
		for (let claim; (claim = claims[take](workerData.taker, 1 + workerData.taker % 3));) {
			for (let i = claim.first; i < claim.first + claim.count; i++) {
				workerData.counts[i]++;
			}

			claims.finish(claim);
		}`;
	const module = new URL('shared-work.js', import.meta.url).href;
	await Promise.all(
		[1, 2, 3].map(
			async taker =>
				new Promise<void>((resolve, reject) => {
					const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), {
						workerData: {module, memory, counts, unitCount, taker},
					});
					worker.on('error', reject);
					worker.on('exit', () => {
						resolve();
					});
				}),
		),
	);
	t.true(counts.every(count => count === 1));
	t.true(new WorkClaims(memory, unitCount).areAllDone);
});
