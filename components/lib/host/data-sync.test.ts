import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../../../test/support/component-stand.js';
import {DataSync} from './data-sync.js';

/** A clock on which every sync takes as long as the test says. */
function timedSync() {
	const fd = fs.openSync(join(temporaryDirectory(), 'file'), 'w+');
	const clock = {nowMs: 0, stepMs: 0};
	const sync = new DataSync(() => {
		const {nowMs} = clock;
		clock.nowMs += clock.stepMs;
		return nowMs;
	});
	const run = async (stepMs: number, count = 1) => {
		clock.stepMs = stepMs;
		for (let i = 0; i < count; i++) {
			await sync.run(fd);
		}

		return sync.atOnce;
	};

	return {run, sync};
}

test('quick syncs run at once, slow ones are handed over', async t => {
	const {run} = timedSync();
	t.true(await run(0.1, 100));
	t.false(await run(3));
	t.false(await run(3, 100));
});

test('syncs that are quick again and again run at once again', async t => {
	const {run} = timedSync();
	await run(3);
	t.false(await run(0.1, 15));
	t.false(await run(3));
	t.false(await run(0.1, 15));
	t.true(await run(0.1));
	t.true(await run(0.1, 100));
});

test("the host's failure is the caller's, either way", async t => {
	const {run, sync} = timedSync();
	// No device of characters can be synced.
	const fd = fs.openSync('/dev/null', 'r+');
	await t.throwsAsync(sync.run(fd), {code: 'EINVAL'});
	await run(3);
	await t.throwsAsync(sync.run(fd), {code: 'EINVAL'});
});
