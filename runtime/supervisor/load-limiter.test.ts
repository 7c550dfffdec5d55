import test from 'ava';
import {LoadLimiter, loadingDescriptorCount} from './load-limiter.js';

test('where descriptors are plenty nobody waits', t => {
	const limiter = new LoadLimiter(Infinity, () => undefined);
	const begun: number[] = [];
	for (let i = 0; i < 20; i++) {
		limiter.acquire(() => void begun.push(i));
	}

	t.is(begun.length, 20);
});

test('where they are few one loads after the other, in their order; one that is given up loses its turn', t => {
	const limiter = new LoadLimiter(100 + loadingDescriptorCount, () => 100);
	const begun: string[] = [];
	const [first, second, third, fourth] = ['first', 'second', 'third', 'fourth'].map(name =>
		limiter.acquire(() => void begun.push(name)),
	);
	t.deepEqual(begun, ['first']);
	second();
	first();
	first();
	t.deepEqual(begun, ['first', 'third']);
	fourth();
	third();
	t.deepEqual(begun, ['first', 'third']);
	limiter.acquire(() => void begun.push('fifth'));
	t.deepEqual(begun, ['first', 'third', 'fifth']);
});

test('as many load at once as there is room for, beside what is open', t => {
	let open = 60;
	const limiter = new LoadLimiter(60 + 3 * loadingDescriptorCount + 16, () => open);
	const begun: number[] = [];
	const ends = Array.from({length: 5}, (_, i) => limiter.acquire(() => void begun.push(i)));
	t.is(begun.length, 3);
	open += 1;
	ends[0]();
	t.is(begun.length, 3, 'two load, and a third one would not fit any more');
	ends[1]();
	t.is(begun.length, 4);
});
