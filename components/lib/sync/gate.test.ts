import test from 'ava';
import {Gate} from './gate.js';

/** A promise and what settles it. */
function opening(): {promise: Promise<void>; open: () => void} {
	let open = (): void => undefined;
	const promise = new Promise<void>(resolve => {
		open = resolve;
	});
	return {promise, open};
}

/** Lets everything that can happen happen. */
async function settle(): Promise<void> {
	await new Promise(resolve => {
		setImmediate(resolve);
	});
}

test('many are inside together', async t => {
	const gate = new Gate();
	await gate.enter();
	await gate.enter();
	gate.leave();
	gate.leave();
	t.is(await gate.exclusively(async () => 'done'), 'done');
});

test('an exclusive job waits for all who are inside, and newcomers wait for it', async t => {
	const gate = new Gate();
	const events: string[] = [];
	const job = opening();
	await gate.enter();
	await gate.enter();
	const exclusive = gate.exclusively(async () => {
		events.push('job begins');
		await job.promise;
		events.push('job ends');
	});
	const newcomer = gate.enter().then(() => events.push('newcomer'));
	gate.leave();
	await settle();
	t.deepEqual(events, []);
	gate.leave();
	await settle();
	t.deepEqual(events, ['job begins']);
	job.open();
	await Promise.all([exclusive, newcomer]);
	t.deepEqual(events, ['job begins', 'job ends', 'newcomer']);
});

test('exclusive jobs run one after another, also behind one that fails', async t => {
	const gate = new Gate();
	let running = 0;
	const job = async (): Promise<void> => {
		running++;
		t.is(running, 1);
		await settle();
		running--;
	};

	const failing = gate.exclusively(async () => {
		await job();
		throw new Error('the job fails');
	});
	const others = [gate.exclusively(job), gate.exclusively(job)];
	await t.throwsAsync(failing, {message: 'the job fails'});
	await Promise.all(others);
	await gate.enter();
	t.is(running, 0);
});
