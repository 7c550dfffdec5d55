/** What a container in its state cannot do, and what helps: refused before anything is acknowledged. */
import {SessionError} from '../../runtime/sdk/session.js';
import {hasLostPreviousKey, snapshotSlotCount, type Superblock} from '../lib/format/superblock.js';
import {hasSlotForChange} from './transition.js';

/** Why nothing can be written at all, undefined where it can. */
export function readOnlyReason(superblock: Superblock): string | undefined {
	return hasLostPreviousKey(superblock)
		? `a rekeying was going on in this container, and the key before it was never stored (the original leaves it so): blocks from VBA ${superblock.rekeyingVba} on, in snapshots too, cannot be decrypted by anybody. The device is read-only: copy what can be read, or have the rekeying ended with these blocks given up (give_up_lost_blocks="yes" of superblock_control)`
		: undefined;
}

/** Why nothing can be written until something is done, undefined where it can. */
function fullReason(superblock: Superblock): string | undefined {
	return hasSlotForChange(superblock)
		? undefined
		: `all ${snapshotSlotCount} snapshot slots hold kept snapshots, so that there is none for a changed state; discard one first: runtime snapshot discard N`;
}

/** What `status` says of it. */
export function restrictionOf(superblock: Superblock): string | undefined {
	return readOnlyReason(superblock) ?? fullReason(superblock);
}

/** Before content is changed. @throws SessionError `read_only`, `no_space` */
export function requireWritable(superblock: Superblock): void {
	const readOnly = readOnlyReason(superblock);
	if (readOnly !== undefined) {
		throw new SessionError('read_only', readOnly);
	}

	requireSlot(superblock);
}

/** @throws SessionError `no_space` */
export function requireSlot(superblock: Superblock): void {
	const full = fullReason(superblock);
	if (full !== undefined) {
		throw new SessionError('no_space', full);
	}
}

/** Before the container as a whole is changed. @throws SessionError `refused` */
export function requireChangeable(superblock: Superblock, {needsSlot}: {readonly needsSlot: boolean}): void {
	const reason = readOnlyReason(superblock) ?? (needsSlot ? fullReason(superblock) : undefined);
	if (reason !== undefined) {
		throw new SessionError('refused', reason);
	}
}
