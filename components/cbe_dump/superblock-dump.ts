/** Superblock slots as records. */
import {newestChanges} from '../lib/format/flush-log.js';
import {superblockSlotCount} from '../lib/format/geometry.js';
import {labelOf} from '../lib/format/label.js';
import {anchoredSlot, readSlot, type SuperblockSearch, type AnchoredLog} from '../lib/format/superblock-search.js';
import type {PoolRoot, Snapshot, Superblock} from '../lib/format/superblock.js';
import {namesOf} from '../lib/container/snapshot-directory.js';
import {hex, type DumpRecord} from './dump-record.js';

function poolRecord(name: string, {root, maxLevel, degree, leafCount}: PoolRoot): DumpRecord {
	return {
		kind: 'pool',
		depth: 1,
		fields: {
			tree: name,
			pba: root.address,
			generation: root.generation,
			max_level: maxLevel,
			degree,
			leaves: leafCount,
			hash: hex(root.hash),
		},
	};
}

function snapshotRecord(slot: number, {root, maxLevel, leafCount, keep, time}: Snapshot, current: boolean): DumpRecord {
	return {
		kind: 'snapshot',
		depth: 1,
		fields: {
			slot,
			generation: root.generation,
			current,
			keep,
			time: time ?? null,
			pba: root.address,
			max_level: maxLevel,
			leaves: leafCount,
			hash: hex(root.hash),
		},
	};
}

function superblockFields(superblock: Superblock): DumpRecord['fields'] {
	const {
		state,
		lastSecuredGeneration,
		pbaCount,
		degree,
		cipher,
		innerBlocks,
		containerId,
		currentKey,
		previousKey,
		rekeyingVba,
		resizing,
		flushLog,
		snapshotDirectory,
	} = superblock;
	return {
		state,
		generation: lastSecuredGeneration,
		blocks: pbaCount,
		degree,
		cipher,
		inner_blocks: innerBlocks ?? null,
		container_id: containerId ? hex(containerId) : null,
		current_key_id: currentKey.id,
		previous_key_id: previousKey?.id ?? null,
		flush_log_pba: flushLog?.firstPba ?? null,
		flush_log_blocks: flushLog?.blockCount ?? null,
		snapshot_directory_pba: snapshotDirectory?.firstPba ?? null,
		snapshot_directory_place: snapshotDirectory?.place ?? null,
		rekeying_vba: state === 'rekeying' ? rekeyingVba : null,
		blocks_left_to_add: resizing.pbaCount > 0 ? resizing.pbaCount : null,
	};
}

function slotRecords(slots: readonly Uint8Array[], slot: number, anchored: boolean): DumpRecord[] {
	const read = readSlot(slots, slot);
	const hash = hex(labelOf(slots[slot]));
	if (read === undefined) {
		return [{kind: 'slot', depth: 0, fields: {slot, unused: true}}];
	}

	if ('fault' in read) {
		return [{kind: 'slot', depth: 0, fields: {slot, anchored, hash, fault: read.fault}}];
	}

	const {superblock} = read;
	return [
		{kind: 'slot', depth: 0, fields: {slot, anchored, hash, ...superblockFields(superblock)}},
		...superblock.snapshots.flatMap((snapshot, index) =>
			snapshot ? [snapshotRecord(index, snapshot, index === superblock.currentSnapshot)] : [],
		),
		poolRecord('free tree', superblock.freeTree),
		poolRecord('meta tree', superblock.metaTree),
	];
}

/** Every slot, the one that the trust anchor secured marked as `anchored`. */
export function superblockRecords({slots, secured, log}: SuperblockSearch): DumpRecord[] {
	const anchored = anchoredSlot(slots, secured);
	return [
		...Array.from({length: superblockSlotCount}, (_, slot) => slotRecords(slots, slot, slot === anchored)).flat(),
		...(log ? logRecords(log) : []),
	];
}

/** The names of the snapshots that the trust anchor vouches for. */
export function nameRecords(superblock: Superblock): DumpRecord[] {
	return [...namesOf(superblock)].map(([generation, name]): DumpRecord => ({
		kind: 'name',
		depth: 0,
		fields: {generation, name},
	}));
}

/** The flush log that the trust anchor vouches for. */
function logRecords({slot, entries}: AnchoredLog): DumpRecord[] {
	return [
		{kind: 'log', depth: 0, fields: {slot, entries: entries.length, blocks: newestChanges(entries).vbas.length}},
		...entries.map(({generation, changes, hash}, i): DumpRecord => ({
			kind: 'log_entry',
			depth: 1,
			fields: {
				position: i,
				anchored: i === entries.length - 1,
				generation,
				blocks: changes.vbas.length,
				hash: hex(hash),
			},
		})),
	];
}
