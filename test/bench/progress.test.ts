import test from 'ava';
import {Progress, durationText} from './progress.js';

function make(plan: ReadonlyArray<readonly [string, number]>) {
	const lines: string[] = [];
	const clock = {ms: 0};
	const progress = new Progress({
		plan,
		write(text) {
			lines.push(text);
		},
		now: () => clock.ms,
	});
	return {progress, lines, clock};
}

test('what is left is what was planned, at the pace so far', t => {
	const {progress, lines, clock} = make([
		['process', 10],
		['nbd', 30],
	]);
	progress.begin('process');
	t.is(progress.secondsLeft, 40);
	clock.ms = 20_000;
	progress.end();
	progress.begin('nbd');
	// Twice as slow as planned.
	t.is(progress.secondsLeft, 60);
	clock.ms = 50_000;
	progress.report('half', 0.5);
	t.is(progress.secondsLeft, 30);
	// A step that does not say how far it is does not go back.
	progress.report('more');
	t.is(progress.secondsLeft, 30);
	t.is(lines.at(-1), '[bench] 2 of 2, nbd: more (about 30 s left)\n');
	progress.end();
	t.is(progress.secondsLeft, 0);
});

test('durations', t => {
	t.deepEqual(
		[0, 30, 90, 600].map(seconds => durationText(seconds)),
		['1 s', '30 s', '2 min', '10 min'],
	);
});
