/** Containers whose generations are not those that this program secures. */
import fs from 'node:fs';
import {gunzipSync} from 'node:zlib';
import test from 'ava';
import {MemoryAnchor} from '../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {runTool} from '../../test/support/tool-run.js';
import {blockSize} from '../lib/format/geometry.js';
import {labelOf} from '../lib/format/label.js';
import type {Superblock} from '../lib/format/superblock.js';
import {encodeSuperblock, decodeSuperblock} from '../lib/format/superblock-codec.js';
import checkTool from './component.js';

// Compiled tests run from dist/components/cbe_check.
const directory = new URL('../../../test/golden/', import.meta.url);

function load(name: string) {
	const image = gunzipSync(fs.readFileSync(new URL(`${name}.img.gz`, directory)));
	const description = JSON.parse(fs.readFileSync(new URL(`${name}.json`, directory), 'utf8')) as {
		trust_anchor: {superblock_hash_file: string};
	};
	const hash = Buffer.from(description.trust_anchor.superblock_hash_file, 'hex');
	const slot = Array.from({length: 8}, (_, i) => i).find(i =>
		labelOf(image.subarray(i * blockSize, (i + 1) * blockSize)).equals(hash),
	)!;
	return {image, hash, slot};
}

async function check(image: Buffer, hash: Uint8Array) {
	return runTool(checkTool, {
		medium: new MemoryMedium(image),
		anchor: new MemoryAnchor({secured: {hash, generation: null, creating: false}}),
	});
}

test("a snapshot of the original, cut off right after it, is healthy: the last secured generation is the newest snapshot's minus one", async t => {
	const {image, hash, slot} = load('o_snapshot_then_power_cut');
	const {lastSecuredGeneration, snapshots, currentSnapshot} = decodeSuperblock(
		image.subarray(slot * blockSize, (slot + 1) * blockSize),
	);
	t.is(snapshots[currentSnapshot]?.root.generation, lastSecuredGeneration + 1);
	const {exitValue, message, log} = await check(image, hash);
	t.is(exitValue, 0, [message, ...log.map(({text}) => text)].join('\n'));
	t.deepEqual(
		log.filter(({level}) => level !== 'info'),
		[],
	);
});

/** The container with another superblock, which the trust anchor has secured. */
function withSuperblock(name: string, change: (superblock: Superblock) => Superblock) {
	const {image, slot} = load(name);
	const bytes = image.subarray(slot * blockSize, (slot + 1) * blockSize);
	const changed = encodeSuperblock(change(decodeSuperblock(bytes)));
	bytes.set(changed);
	return {image, hash: labelOf(changed)};
}

/** The superblock in which the snapshot of one generation says that it is of another. */
function redated(superblock: Superblock, from: number, to: number): Superblock {
	return {
		...superblock,
		snapshots: superblock.snapshots.map(snapshot =>
			snapshot?.root.generation === from ? {...snapshot, root: {...snapshot.root, generation: to}} : snapshot,
		),
	};
}

function warningsOf({log}: Awaited<ReturnType<typeof check>>): string[] {
	return log.flatMap(({text, level}) => (level === 'warning' ? [text] : []));
}

test("a newest snapshot that is older than the pool's trees is told of, and no fault", async t => {
	const {image, hash} = withSuperblock('o_snapshot_then_power_cut', superblock =>
		redated({...superblock, lastSecuredGeneration: 20}, 2, 1),
	);
	const warnings = warningsOf(await check(image, hash));
	t.true(
		warnings.some(text =>
			text.includes(
				"the newest snapshot is of generation 1, the pool's trees of 2: this program goes on from 20",
			),
		),
		warnings.join('\n'),
	);
	// Its tree is of the generation that it no longer says.
	t.true(
		warnings.some(text =>
			/^snapshot 1: \d+ of its nodes are newer than itself \(the first: PBA \d+ \(snapshot 1, level \d, VBA .*\), generation 2\): /.test(
				text,
			),
		),
		warnings.join('\n'),
	);
});

test("a newest snapshot that is older than the last secured state is told of, where the pool's trees are not newer", async t => {
	const {image, hash} = withSuperblock('o_snapshot_then_power_cut', superblock => ({
		...superblock,
		lastSecuredGeneration: 20,
	}));
	const checked = await check(image, hash);
	t.deepEqual(warningsOf(checked), [
		'the newest snapshot is of generation 2, the last secured state of 20: this program goes on from 20, the original would go back; a flush after a write mends it',
	]);
	t.is(checked.exitValue, 0);
});

test('nodes that are newer than the older snapshot whose tree has them are told of, shared ones too', async t => {
	const healthy = load('d64_b_snaps');
	t.deepEqual(warningsOf(await check(healthy.image, healthy.hash)), []);
	const {image, hash} = withSuperblock('d64_b_snaps', superblock => redated(superblock, 4, 3));
	const warnings = warningsOf(await check(image, hash));
	t.is(warnings.length, 1);
	t.regex(
		warnings[0],
		/^snapshot 3: \d+ of its nodes are newer than itself \(the first: PBA \d+ \(snapshot 3, level 1, VBA .*\), generation 4\): their blocks are not held for it/,
	);

	// The original left it so.
	const original = load('o_rekeying_damaged');
	const found = warningsOf(await check(original.image, original.hash));
	t.is(found.length, 1);
	t.regex(
		found[0],
		/^snapshot 6: 4 of its nodes are newer than itself \(the first: PBA 836 \(snapshot 6, level 1, VBA 48 and up\), generation 48\)/,
	);
});
