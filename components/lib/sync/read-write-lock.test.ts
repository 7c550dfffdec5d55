import test from 'ava';
import {ReadWriteLock} from './read-write-lock.js';

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
	const lock = new ReadWriteLock('trees');
	await lock.lockShared();
	await lock.lockShared();
	lock.unlockShared();
	lock.unlockShared();
	t.is(await lock.exclusively(async () => 'done'), 'done');
});

test('an exclusive job waits for all who are inside, and newcomers wait for it', async t => {
	const lock = new ReadWriteLock('trees');
	const events: string[] = [];
	const job = opening();
	await lock.lockShared();
	await lock.lockShared();
	const exclusive = lock.exclusively(async () => {
		events.push('job begins');
		await job.promise;
		events.push('job ends');
	});
	const newcomer = lock.lockShared().then(() => events.push('newcomer'));
	lock.unlockShared();
	await settle();
	t.deepEqual(events, []);
	lock.unlockShared();
	await settle();
	t.deepEqual(events, ['job begins']);
	job.open();
	await Promise.all([exclusive, newcomer]);
	t.deepEqual(events, ['job begins', 'job ends', 'newcomer']);
});

test('exclusive jobs run one after another, also behind one that fails', async t => {
	const lock = new ReadWriteLock('trees');
	let running = 0;
	const job = async (): Promise<void> => {
		running++;
		t.is(running, 1);
		await settle();
		running--;
	};

	const failing = lock.exclusively(async () => {
		await job();
		throw new Error('the job fails');
	});
	const others = [lock.exclusively(job), lock.exclusively(job)];
	await t.throwsAsync(failing, {message: 'the job fails'});
	await Promise.all(others);
	await lock.lockShared();
	t.is(running, 0);
});
