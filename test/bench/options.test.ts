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
	t.deepEqual(
		cells.map(({name}) => name),
		['seqread-4', 'flush-1'],
	);
	t.deepEqual([...parts], ['limits']);
});

test('cells of the disk are chosen beside the others', t => {
	const names = (words: string[]) => parseOptions(words).coldCells.map(({name}) => name);
	const all = ['cold-randread-1', 'cold-randread-32', 'cold-randread-64k', 'cold-seqread-4'];
	t.deepEqual(names([]), all);
	t.deepEqual(names(['--cells', 'seqread-4']), all);
	t.deepEqual(names(['--cells', 'seqread-4,cold-seqread-4']), ['cold-seqread-4']);
	t.deepEqual(
		parseOptions(['--cells', 'seqread-4,cold-seqread-4']).cells.map(({name}) => name),
		['seqread-4'],
	);
});

test('sizes of devices', t => {
	t.deepEqual(parseOptions([]).sizes, [1, 64]);
	t.deepEqual(parseOptions(['--parts', 'scale,cores', '--sizes', '1,1024']).sizes, [1, 1024]);
	t.throws(() => parseOptions(['--sizes', '1.5']), {instanceOf: OptionError});
});

test('assemblies without a list are all that are shipped, in a table of their own', t => {
	for (const words of [['--assemblies'], ['--assemblies', '--rounds', '1'], ['--rounds', '1', '--assemblies']]) {
		const {assemblies, parts} = parseOptions(words);
		t.is(assemblies[0], 'deploy.xml');
		t.true(assemblies.includes('low_latency.xml') && assemblies.includes('raw.xml'));
		t.deepEqual([...parts], ['assemblies']);
	}

	t.deepEqual([...parseOptions(['--assemblies', '--parts', 'rekeying']).parts], ['rekeying']);
	const {assemblies, parts} = parseOptions(['--assemblies', 'ram.xml']);
	t.deepEqual(assemblies, ['ram.xml']);
	t.deepEqual([...parts], ['nbd', 'process', 'limits']);
});

for (const words of [
	['--cells', 'fast'],
	['--rounds', '0'],
	['--rounds', '1.5'],
	['--range', '2048'],
	['--parts', 'x'],
	['--colour', 'red'],
]) {
	test(`refused: ${words.join(' ')}`, t => {
		t.throws(() => parseOptions(words), {instanceOf: OptionError});
	});
}
