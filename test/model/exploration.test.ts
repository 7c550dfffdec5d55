/** The commit protocol in every world of a small scope, and with each of its rules broken. */
import test from 'ava';
import {brokenRules} from './broken-rules.js';
import {explore} from './exploration.js';
import {soundRules, type Budget} from './commit-world.js';

const nothing: Budget = {writes: 0, flushes: 0, snapshots: 0, rekeyings: 0, powerLosses: 0, kills: 0, faults: 0};

/** What happens in a world at most. A loss of power may come between any two effects, and so may a kill. */
const scopes: Readonly<Record<string, Partial<Budget>>> = {
	'three flushes and a loss of power': {writes: 3, flushes: 3, powerLosses: 1},
	'two losses of power, one after the other': {writes: 2, flushes: 2, powerLosses: 2},
	'a snapshot with a name, and two losses of power': {writes: 1, flushes: 1, snapshots: 1, powerLosses: 2},
	'a snapshot beside two writes': {writes: 2, flushes: 1, snapshots: 1, powerLosses: 1},
	'a rekeying to its end, with a write': {writes: 1, rekeyings: 1, powerLosses: 1},
	'a rekeying with a snapshot': {snapshots: 1, rekeyings: 1, powerLosses: 1},
	'a fault of medium or anchor, a kill and a loss of power': {
		writes: 2,
		flushes: 2,
		powerLosses: 1,
		kills: 1,
		faults: 1,
	},
	'a fault while a snapshot is created': {writes: 1, flushes: 1, snapshots: 1, powerLosses: 1, faults: 1},
};

for (const [title, budget] of Object.entries(scopes)) {
	test.serial(`every invariant holds in every world: ${title}`, t => {
		t.timeout(120_000);
		const {worldCount, found} = explore(soundRules, {...nothing, ...budget});
		t.log(`${worldCount} worlds`);
		t.is(found, undefined);
		// Fewer would mean that something is not done any more.
		t.true(worldCount > 4000);
	});
}

for (const {rule, rules, budget} of brokenRules) {
	test.serial(`without this rule an invariant fails: ${rule}`, t => {
		t.timeout(120_000);
		const {worldCount, found} = explore(rules, {...nothing, ...budget});
		t.log(`after ${worldCount} worlds: ${found?.violation}`);
		t.truthy(found);
	});
}
