/**
 * The simulator finds a trust anchor that believes what it reads at its start, though it may be in the host's memory
 * alone.
 */
import test from 'ava';
import {runHistory} from './history.js';

const historyCountMax = 30;

test('an anchor that believes a record which is not durable is found out', async t => {
	t.timeout(600_000);
	let failure: unknown;
	for (let seed = 1; seed <= historyCountMax && failure === undefined; seed++) {
		await runHistory(seed, {kind: 'restarts', settles: false}).catch(async (error: unknown) => {
			failure = error;
			// It is nothing else: all goes well in the same history with an anchor that is not careless.
			await t.notThrowsAsync(runHistory(seed, {kind: 'restarts'}));
		});
	}

	t.is(failure instanceof Error ? failure.name : 'not found', 'SimulationFailure');
});
