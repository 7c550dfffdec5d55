import test from 'ava';
import {loadGolden, type GoldenName} from '../../test/support/golden.js';
import {MemoryAnchor} from '../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {runTool} from '../../test/support/tool-run.js';
import dumpTool from './component.js';

interface Line {
	readonly kind: string;
	readonly [field: string]: unknown;
}

function world(name: GoldenName) {
	const {image, description} = loadGolden(name);
	const hash = Buffer.from(description.trust_anchor.superblock_hash_file, 'hex');
	return {
		medium: new MemoryMedium(image),
		anchor: new MemoryAnchor({secured: {hash, generation: null, creating: false}}),
		description,
	};
}

async function dump(name: GoldenName, config: Record<string, string>) {
	const {medium, anchor, description} = world(name);
	const outcome = await runTool(dumpTool, {medium, anchor, config});
	return {...outcome, lines: outcome.log.map(({text}) => text), description};
}

async function dumpJson(name: GoldenName, config: Record<string, string>) {
	const {lines, description, exitValue} = await dump(name, {...config, format: 'json'});
	return {records: lines.map(line => JSON.parse(line) as Line), description, exitValue};
}

test('superblocks: every slot, the anchored one marked, with snapshots and pools', async t => {
	const {records, description, exitValue} = await dumpJson('d64_b_snaps', {});
	t.is(exitValue, 0);
	t.is(records.filter(({kind}) => kind === 'slot').length, 8);
	const anchored = records.filter(record => record['anchored'] === true);
	t.is(anchored.length, 1);
	t.like(anchored[0], {
		slot: description.superblock.superblock_slot,
		state: 'normal',
		generation: 6,
		blocks: 2295,
		current_key_id: 1,
	});
	const own = records.slice(records.indexOf(anchored[0]) + 1);
	for (const {gen, pba, keep, is_current: current, hash} of description.snapshots) {
		t.truthy(
			own.find(
				record =>
					record.kind === 'snapshot' &&
					record['generation'] === gen &&
					record['pba'] === pba &&
					record['keep'] === keep &&
					record['current'] === current &&
					record['hash'] === hash,
			),
		);
	}
});

test('leaves: every leaf of every tree where the description says', async t => {
	const {records, description} = await dumpJson('d64_e_extended', {detail: 'leaves'});
	const {pba_accounting: accounting, snapshots} = description;
	const leaves = records.filter(({kind}) => kind === 'leaf');
	t.is(leaves.length, snapshots.find(snapshot => snapshot.is_current)!.leaves);
	t.is(records.filter(({kind}) => kind === 'entry').length, accounting.ft_leaves + accounting.mt_leaves);
	t.is(
		records.filter(({kind}) => kind === 'block').length,
		accounting.ft_inner + accounting.mt_inner + accounting.vbd_current - leaves.length,
	);
});

test('one tree of one snapshot, inner blocks alone', async t => {
	const {records} = await dumpJson('d64_b_snaps', {detail: 'trees', tree: 'vbd', snapshot: '2'});
	t.is(records.filter(({kind}) => kind === 'block').length, 5);
	t.is(records.filter(({kind}) => kind === 'leaf').length, 0);
	t.is(records.filter(({kind}) => kind === 'tree').length, 1);
});

test('leaves: as many as asked for, with the blocks on the way to them and a word about the rest', async t => {
	const {records} = await dumpJson('d64_a_init', {detail: 'leaves', tree: 'ft', first: '100', count: '30'});
	const entries = records.filter(({kind}) => kind === 'entry');
	t.deepEqual(
		entries.map(record => record['leaf']),
		Array.from({length: 30}, (_, i) => 100 + i),
	);
	t.deepEqual(
		records.filter(({kind}) => kind === 'block').map(record => record['first_vba']),
		[0, 64, 128],
	);
	t.like(
		records.find(({kind}) => kind === 'rest'),
		{first: 130, leaves: 1024 - 130},
	);
});

test('no word is said twice', async t => {
	const {lines} = await dump('d64_b_snaps', {detail: 'leaves'});
	t.deepEqual(
		lines.filter(line => /\b([a-z]+) \1\b/.test(line)),
		[],
	);
});

test('text is indented by level', async t => {
	const {lines} = await dump('d64_a_init', {detail: 'leaves', tree: 'ft'});
	t.truthy(
		lines.find(line => line.startsWith('tree ft, leaves 1024')),
		lines.at(-1),
	);
	t.truthy(
		lines.find(line => /^ {2}block level 2, pba 1253, generation 0, first_vba 0, hash [\da-f]{64}$/.test(line)),
	);
	t.truthy(lines.find(line => /^ {6}entry leaf 0, pba 213, alloc_generation 0, free_generation 0/.test(line)));
});

test('a damaged block is marked and its nodes are not followed', async t => {
	const {medium, anchor, description} = world('d64_b_snaps');
	medium.image[description.superblock.free_tree.pba * 4096 + 5] ^= 1;
	const {log, exitValue} = await runTool(dumpTool, {medium, anchor, config: {detail: 'leaves', tree: 'ft'}});
	t.is(exitValue, 0);
	t.regex(log.at(-1)?.text ?? '', /^ {2}block level 2, .*damaged$/);
});

test('superblocks are shown also where none can be opened', async t => {
	const {medium} = world('d64_b_snaps');
	const {log, exitValue, message} = await runTool(dumpTool, {medium, anchor: new MemoryAnchor()});
	t.is(exitValue, -1);
	t.regex(message ?? '', /never secured/);
	t.true(log.filter(({text}) => text.startsWith('slot ')).length === 8);
});

test('an unknown snapshot is refused with the names of those there are', async t => {
	const {exitValue, message} = await dump('d64_b_snaps', {detail: 'trees', snapshot: '99'});
	t.is(exitValue, -1);
	t.regex(message ?? '', /no snapshot 99; there are 6, 2, 4/);
});

test('no key is ever printed, wrapped or not', async t => {
	for (const name of ['d64_b_snaps', 'd64_d_rekeying_fixed'] as const) {
		for (const format of ['text', 'json']) {
			const {lines, description} = await dump(name, {detail: 'leaves', format});
			const all = lines.join('\n');
			const {current_key: current, previous_key: previous} = description.superblock;
			for (const key of [
				current.on_disc,
				previous.on_disc,
				...description.generated_block_keys.map(({plain}) => plain),
			]) {
				t.false(/[1-9a-f]/.test(key) && all.includes(key));
			}
		}
	}
});
