import test from 'ava';
import {progressLine, stateLine} from './operation-report.js';

test('the lines that control files show', t => {
	t.is(stateLine({phase: 'idle', lastResult: 'none'}), 'idle last-result:none\n');
	t.is(stateLine({phase: 'in-progress', lastResult: 'none'}), 'in-progress last-result:none\n');
	t.is(stateLine({phase: 'idle', lastResult: 'success'}), 'idle last-result:success\n');
});

test('progress has percent, rate and time left', t => {
	const running = {
		phase: 'in-progress',
		lastResult: 'none',
		done: 1,
		total: 8,
		bytesPerSecond: 3 * 2 ** 20,
		secondsLeft: 3725.2,
	} as const;
	t.is(progressLine(running), 'in-progress 12.5% rate:3.0MiB/s time-left:01:02:06\n');
	t.is(
		progressLine({...running, total: 0, done: 0, secondsLeft: undefined}),
		'in-progress 0.0% rate:3.0MiB/s time-left:unknown\n',
	);
	t.is(progressLine({...running, phase: 'idle', lastResult: 'failed'}), 'idle last-result:failed\n');
});
