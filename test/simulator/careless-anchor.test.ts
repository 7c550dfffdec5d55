/** The simulator finds a trust anchor that believes what it reads at its start, though it may be in the host's memory alone. */
import test from 'ava';
import {runHistory} from './history.js';

const historyCountMax = 400;

test('an anchor that believes a record which is not durable is found out', async t => {
	t.timeout(600_000);
	// A record that failed has to be read by a start and lost by a crash after it: some dozens of histories go by until then.
	let failure: unknown;
	for (let seed = 1; seed <= historyCountMax && failure === undefined; seed++) {
		await runHistory(seed, {kind: 'faults', settles: false}).catch((error: unknown) => {
			failure = error;
		});
	}

	t.regex(failure instanceof Error ? failure.message : 'not found', /older copy than the image|rolled back|is not on the medium/);
});
