import test from 'ava';
import {BoundedJobs} from './bounded-jobs.js';

test('never more jobs than the limit run at once', async t => {
	const jobs = new BoundedJobs(3);
	let running = 0;
	let highest = 0;
	for (let i = 0; i < 20; i++) {
		await jobs.start(async () => {
			running++;
			highest = Math.max(highest, running);
			await new Promise(resolve => {
				setImmediate(resolve);
			});
			running--;
		});
	}

	await jobs.finish();
	t.is(running, 0);
	t.is(highest, 3);
});

test('a failure reaches the caller after the running jobs have ended', async t => {
	const jobs = new BoundedJobs(2);
	let ended = false;
	await jobs.start(async () => {
		throw new Error('broken');
	});
	await jobs
		.start(async () => {
			await new Promise(resolve => {
				setImmediate(resolve);
			});
			ended = true;
		})
		.catch(() => {
			ended = true;
		});
	await t.throwsAsync(jobs.finish(), {message: 'broken'});
	t.true(ended);
});
