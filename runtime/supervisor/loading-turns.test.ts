import test from 'ava';
import {LoadingTurns, loadingDescriptorCount} from './loading-turns.js';

test('where descriptors are plenty nobody waits', t => {
	const turns = new LoadingTurns(Infinity, () => undefined);
	const begun: number[] = [];
	for (let i = 0; i < 20; i++) {
		turns.take(() => void begun.push(i));
	}

	t.is(begun.length, 20);
});

test('where they are few one loads after the other, in their order; one that is given up loses its turn', t => {
	const turns = new LoadingTurns(100 + loadingDescriptorCount, () => 100);
	const begun: string[] = [];
	const [first, second, third, fourth] = ['first', 'second', 'third', 'fourth'].map(name =>
		turns.take(() => void begun.push(name)),
	);
	t.deepEqual(begun, ['first']);
	second();
	first();
	first();
	t.deepEqual(begun, ['first', 'third']);
	fourth();
	third();
	t.deepEqual(begun, ['first', 'third']);
	turns.take(() => void begun.push('fifth'));
	t.deepEqual(begun, ['first', 'third', 'fifth']);
});

test('as many load at once as there is room for, beside what is open', t => {
	let open = 60;
	const turns = new LoadingTurns(60 + 3 * loadingDescriptorCount + 16, () => open);
	const begun: number[] = [];
	const ends = Array.from({length: 5}, (_, i) => turns.take(() => void begun.push(i)));
	t.is(begun.length, 3);
	open += 1;
	ends[0]();
	t.is(begun.length, 3, 'two load, and a third one would not fit any more');
	ends[1]();
	t.is(begun.length, 4);
});
