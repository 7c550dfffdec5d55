import test from 'ava';
import {OptionError, parseOptions} from './options.js';

test('defaults', t => {
	const {assemblies, roundCount, rangeByteLength, profileDirectory, cells} = parseOptions([]);
	t.deepEqual(assemblies, ['deploy.xml', 'low_latency.xml']);
	t.is(roundCount, 5);
	t.is(rangeByteLength, 512 * 2 ** 20);
	t.is(profileDirectory, undefined);
	t.is(cells.length, 10);
});

test('lists', t => {
	const {cells, parts} = parseOptions(['--cells', 'seqread-4, flush-1', '--parts=limits']);
	t.deepEqual(cells.map(({name}) => name), ['seqread-4', 'flush-1']);
	t.deepEqual([...parts], ['limits']);
});

test('sizes of devices', t => {
	t.deepEqual(parseOptions([]).sizes, [1, 64]);
	t.deepEqual(parseOptions(['--parts', 'scale,cores', '--sizes', '1,1024']).sizes, [1, 1024]);
	t.throws(() => parseOptions(['--sizes', '1.5']), {instanceOf: OptionError});
});

for (const words of [['--cells', 'fast'], ['--rounds', '0'], ['--rounds', '1.5'], ['--range', '2048'], ['--parts', 'x'], ['--colour', 'red']]) {
	test(`refused: ${words.join(' ')}`, t => {
		t.throws(() => parseOptions(words), {instanceOf: OptionError});
	});
}
