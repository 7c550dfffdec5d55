/** The device takes its locks in the order of the table, whatever happens to it; `runHistory` fails where it does not. */
import test from 'ava';
import {watchLockOrder} from '../../components/lib/sync/lock-order.js';
import {runHistory} from './history.js';
import type {HistoryKind} from './plan.js';

const kinds: readonly HistoryKind[] = ['operations', 'long_operations', 'faults', 'full_host', 'restarts'];

/** What a history has to meet, or the watch would have seen nothing. */
const expected = [
	'device switch > device access',
	'device access > container',
	'device access > content',
	'device access > commit',
	'container > commit',
	'content > request queue',
	'commit > trees and superblock',
	'trees and superblock > trees',
	'trees > placement',
	'placement > pool',
	'pool > cache transfer',
];

test('no history takes locks in a wrong order, and all of the order is seen', async t => {
	t.timeout(600_000);
	const {pairs, violations} = watchLockOrder();
	for (const kind of kinds) {
		for (const seed of [1, 2]) {
			await runHistory(seed, {kind});
		}
	}

	t.deepEqual(violations, []);
	t.deepEqual(
		expected.filter(pair => !pairs.has(pair)),
		[],
		[...pairs.keys()].join(', '),
	);
});
