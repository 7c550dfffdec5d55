/**
 * What ends a commit that a crash has cut off, as pure plans. What lies on the medium is written once more before it is
 * anchored: it may lie in the host's memory alone, and a sync that failed before says no more of it.
 */
import {newestChanges} from '../lib/format/flush-log.js';
import type {OpenedSuperblock} from '../lib/format/open-superblock.js';
import type {FlushLogArea} from '../lib/format/superblock.js';
import type {Generation, Pba} from '../sessions/vocabulary.js';
import {firstGenerationAfter} from './transition.js';

/** One step, after the one before it. */
export type RecoveryStep =
	/** Writes what lies there once more. */
	| {readonly kind: 'rewrite'; readonly addresses: readonly Pba[]}
	| {readonly kind: 'empty_slot'; readonly slot: number}
	| {readonly kind: 'sync'}
	| {readonly kind: 'anchor'; readonly hash: Uint8Array; readonly generation: Generation};

/** Of a superblock that was announced and has arrived. What it refers to was synced before it was written. */
export function checkpointRecovery({
	slot,
	hash,
	superblock: {lastSecuredGeneration},
}: Pick<OpenedSuperblock, 'slot' | 'hash' | 'superblock'>): RecoveryStep[] {
	return [
		{kind: 'rewrite', addresses: [slot]},
		{kind: 'sync'},
		{kind: 'anchor', hash, generation: lastSecuredGeneration},
	];
}

/**
 * Of a flush behind the anchored log that is all there. Before it is anchored nothing but its own blocks may be
 * written: until then the log that counts is the one before it, which may name a place that this flush gives up, and
 * that a log with this flush no longer keeps from being handed out.
 */
export function flushRecovery(
	{superblock, log, ahead, strayedSlot}: Pick<OpenedSuperblock, 'superblock' | 'log' | 'ahead' | 'strayedSlot'>,
	{firstPba}: FlushLogArea,
): RecoveryStep[] {
	return [
		{kind: 'rewrite', addresses: newestChanges(ahead).addresses},
		{kind: 'rewrite', addresses: ahead.map((_, i) => firstPba + log.length + i)},
		...(strayedSlot === undefined ? [] : [{kind: 'empty_slot', slot: strayedSlot} as const]),
		{kind: 'sync'},
		...ahead
			.slice(-1)
			.map(({hash}) => ({kind: 'anchor', hash, generation: firstGenerationAfter(superblock)}) as const),
	];
}
