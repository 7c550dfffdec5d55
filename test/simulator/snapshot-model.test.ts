import test from 'ava';
import {SimulationFailure} from './simulation-failure.js';
import {SnapshotModel} from './snapshot-model.js';

const judged = {hasTimes: false, areNamesLegible: true};

test('a snapshot that was named during a discard that was refused has its name', t => {
	const model = new SnapshotModel();
	const name = model.nextName();
	model.beginDiscard(5);
	model.endNaming(name, 5);
	model.cancelDiscard(5);
	t.notThrows(() => {
		model.judgeMarks([{generation: 5, name}], judged);
	});
	t.throws(
		() => {
			model.judgeMarks([{generation: 5, name: undefined}], judged);
		},
		{instanceOf: SimulationFailure},
	);
});

test('a name that was asked for is not that of a snapshot that is gone', t => {
	const model = new SnapshotModel();
	const name = model.nextName();
	model.beginDiscard(5);
	model.endDiscard(5);
	model.endNaming(name, 5);
	t.throws(
		() => {
			model.judgeMarks([{generation: 5, name}], judged);
		},
		{instanceOf: SimulationFailure},
	);
});
