import test from 'ava';
import {allEnded} from './all-ended.js';

test('a failure is reported once everything has ended, the first of the list', async t => {
	const ended: number[] = [];
	const job = async (index: number, turns: number, failure?: string) => {
		for (let i = 0; i < turns; i++) {
			await Promise.resolve();
		}

		ended.push(index);
		if (failure !== undefined) {
			throw new Error(failure);
		}
	};

	await t.throwsAsync(allEnded([job(0, 30), job(1, 20, 'one'), job(2, 1, 'two'), job(3, 10)]), {message: 'one'});
	t.deepEqual(ended, [2, 3, 1, 0]);
	await allEnded([job(4, 1)]);
	await allEnded([]);
});
