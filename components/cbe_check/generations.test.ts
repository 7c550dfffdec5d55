/** Containers whose generations are not those that this program secures. */
import fs from 'node:fs';
import {gunzipSync} from 'node:zlib';
import test from 'ava';
import {MemoryAnchor} from '../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {runTool} from '../../test/support/tool-run.js';
import {blockSize} from '../container/geometry.js';
import {labelOf} from '../container/label.js';
import {decodeSuperblock, encodeSuperblock} from '../container/superblock.js';
import checkTool from './component.js';

// Compiled tests run from dist/components/cbe_check.
const directory = new URL('../../../test/golden/', import.meta.url);

function load(name: string) {
	const image = gunzipSync(fs.readFileSync(new URL(`${name}.img.gz`, directory)));
	const description = JSON.parse(fs.readFileSync(new URL(`${name}.json`, directory), 'utf8')) as {trust_anchor: {superblock_hash_file: string}};
	const hash = Buffer.from(description.trust_anchor.superblock_hash_file, 'hex');
	const slot = Array.from({length: 8}, (_, i) => i).find(i => labelOf(image.subarray(i * blockSize, (i + 1) * blockSize)).equals(hash))!;
	return {image, hash, slot};
}

async function check(image: Buffer, hash: Uint8Array) {
	return runTool(checkTool, {medium: new MemoryMedium(image), anchor: new MemoryAnchor({secured: {hash, generation: null, creating: false}})});
}

test('a snapshot of the original, cut off right after it, is healthy: the last secured generation is the newest snapshot\'s minus one', async t => {
	const {image, hash, slot} = load('o_snapshot_then_power_cut');
	const {lastSecuredGeneration, snapshots, currentSnapshot} = decodeSuperblock(image.subarray(slot * blockSize, (slot + 1) * blockSize));
	t.is(snapshots[currentSnapshot]?.root.generation, lastSecuredGeneration + 1);
	const {exitValue, message, log} = await check(image, hash);
	t.is(exitValue, 0, [message, ...log.map(({text}) => text)].join('\n'));
	t.deepEqual(log.filter(({level}) => level !== 'info'), []);
});

test('a newest snapshot that is older than the pool\'s trees is told of, and no fault', async t => {
	const {image, slot} = load('o_snapshot_then_power_cut');
	const slots = image.subarray(slot * blockSize, (slot + 1) * blockSize);
	const superblock = decodeSuperblock(slots);
	const changed = encodeSuperblock({...superblock, lastSecuredGeneration: 20, snapshots: superblock.snapshots.map((snapshot, i) => snapshot && i === superblock.currentSnapshot ? {...snapshot, root: {...snapshot.root, generation: 1}} : snapshot)});
	slots.set(changed);
	const {log} = await check(image, labelOf(changed));
	t.true(log.some(({text, level}) => level === 'warning' && text.includes('the newest snapshot is of generation 1, the pool\'s trees of 2')));
});
