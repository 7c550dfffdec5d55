import test from 'ava';
import {RestartBudget, restartCountMax, restartWindowMs} from './restart-budget.js';

test('restarts are bounded in any window of time, with growing pauses', t => {
	const budget = new RestartBudget();
	const pauses = Array.from({length: restartCountMax}, () => budget.take(1000)!.pauseMs);
	t.deepEqual(pauses, [0, 50, 100, 200, 400]);
	t.is(budget.take(1000 + restartWindowMs - 1), undefined);
	t.deepEqual(budget.take(1000 + restartWindowMs), {count: 1, pauseMs: 0});
});
