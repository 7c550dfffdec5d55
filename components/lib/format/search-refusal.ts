/** Why no superblock counts, and what a person can do about it. */
import {superblockSlotCount} from './geometry.js';
import {type Beyond, ContainerError, type Secured, type SuperblockSearch, readSlot} from './superblock-search.js';
import type {Superblock} from './superblock.js';

export function anchorOlder(secured: Secured | null, found: string): ContainerError {
	const known =
		secured && secured.generation !== null
			? `generation ${secured.generation}`
			: 'an older state, whose generation it does not record';
	return new ContainerError(
		'anchor_older',
		`the trust anchor is an older copy than the image: ${found}, the trust anchor knows ${known}; nothing was changed: put the newest trust anchor back (its directory as it was when the image was last used)`,
	);
}

export function truncated(mediumBlockCount: number, {pbaCount}: Superblock): ContainerError {
	return new ContainerError(
		'truncated',
		`the image is truncated: it has ${mediumBlockCount} blocks, the container needs ${pbaCount}; put the complete image back`,
	);
}

/** Why no slot holds what the anchor expects. */
export function explainMissing({
	slots,
	secured,
	mediumBlockCount,
	isVolatile,
	beyond,
}: SuperblockSearch): ContainerError {
	const used = slots.map((_, slot) => readSlot(slots, slot)).filter(read => read !== undefined);
	const damaged = used.filter(read => 'fault' in read);
	const found = used.flatMap(read =>
		'superblock' in read
			? [
					{
						slot: read.slot,
						generation: read.superblock.lastSecuredGeneration,
						hasLog: read.superblock.flushLog !== undefined,
						containerId: read.superblock.containerId,
					},
				]
			: [],
	);
	const generations = found.map(({generation}) => generation);
	if (secured && !secured.creating && mediumBlockCount > 0 && mediumBlockCount < superblockSlotCount) {
		return new ContainerError(
			'truncated',
			`the image is truncated: it has ${mediumBlockCount} blocks, its superblocks alone take ${superblockSlotCount}; put the complete image back`,
		);
	}

	if (secured?.creating && generations.every(generation => generation === 0)) {
		return new ContainerError(
			'creation_interrupted',
			'the creation of the container was interrupted before it was complete; it holds no data yet: create it again',
		);
	}

	if (used.length === 0 && secured && isVolatile) {
		return new ContainerError(
			'no_container',
			`the medium is memory, which is empty at each start, and the trust anchor expects ${expected(secured)}. ` +
				'If that was in memory, too, it has ended, and its trust anchor with it opens nothing any more: start with a new state directory (--state DIR). ' +
				'If this trust anchor was ever used with an image, it holds the only keys to it: keep it, and start with the deployment file that names the image. Nothing was changed',
		);
	}

	if (used.length === 0) {
		return new ContainerError(
			'no_container',
			secured
				? `there is no container in the image, but the trust anchor expects ${expected(secured)}; put the image back that belongs to this trust anchor`
				: 'there is no container in the image; "runtime run cbe_init" with the same deployment file and --state makes one. Where there should be one, put its image in the place of this one',
		);
	}

	if (secured === null) {
		return new ContainerError(
			'foreign',
			'the image holds a container, but this trust anchor has never secured one: it is a foreign trust anchor; put back the one that belongs to the image',
		);
	}

	const cut = used.find(
		read =>
			'superblock' in read &&
			read.superblock.flushLog &&
			read.superblock.pbaCount > mediumBlockCount &&
			read.superblock.lastSecuredGeneration + 1 === secured.generation,
	);
	if (cut && 'superblock' in cut) {
		// The log that would lead from it to what the anchor secured lies beyond the end.
		return truncated(mediumBlockCount, cut.superblock);
	}

	return explainUnanchored({secured, beyond}, found, damaged);
}

/** A superblock that the anchor does not vouch for. */
interface UnanchoredSuperblock {
	readonly slot: number;
	readonly generation: number;
	readonly hasLog: boolean;
	readonly containerId: Uint8Array | undefined;
}

/**
 * The anchor knows one hash alone, so an older state and another container look the same to it; the user can compare
 * ids.
 */
function orForeign(superblocks: readonly UnanchoredSuperblock[]): string {
	const ids = new Set(
		superblocks.flatMap(({containerId}) => (containerId ? [Buffer.from(containerId).toString('hex')] : [])),
	);
	return ids.size === 0
		? ' or the image of another container'
		: ` or the image of another container (the id of this one is ${[...ids].join(' or ')})`;
}

function explainUnanchored(
	{secured, beyond}: {secured: Secured; beyond: Beyond | undefined},
	superblocks: readonly UnanchoredSuperblock[],
	damaged: ReadonlyArray<{slot: number; fault: string}>,
): ContainerError {
	const faults = damaged.map(({slot, fault}) => `slot ${slot}: ${fault}`).join('; ');
	if (superblocks.length === 0) {
		return new ContainerError(
			'damaged',
			`no superblock of the image can be used (${faults}); put back an undamaged copy of the image's newest state`,
		);
	}

	const found = Math.max(...superblocks.map(({generation}) => generation));
	const newest = Math.max(
		...(beyond?.superblocks ?? []).filter(({isAuthentic}) => isAuthentic).map(({generation}) => generation),
	);
	if (newest > 0) {
		return anchorOlder(secured, `the image holds generation ${newest}`);
	}

	if (secured.generation === null) {
		return new ContainerError(
			'rolled_back_or_foreign',
			`the image (newest generation ${found}) is not the state that the trust anchor last secured: an older copy of the image was put back, or image and trust anchor do not belong together; put the newest image back, or accept the older one for good with cbe_adopt`,
		);
	}

	// A superblock of another container may have the same generation, but as a rule it is this one with a few bytes
	// changed.
	const altered = superblocks.find(({generation}) => generation === secured.generation);
	if (altered && found === secured.generation) {
		return new ContainerError(
			'damaged',
			`altered or damaged superblock of generation ${altered.generation} in slot ${altered.slot}: it is not the one that the trust anchor secured, or it is that of another container; put back an undamaged copy of the image's newest state`,
		);
	}

	if (found >= secured.generation) {
		return new ContainerError(
			'foreign',
			`foreign image or foreign trust anchor: the image holds generation ${found}, the trust anchor secured another superblock of generation ${secured.generation}, or it is an older copy of itself; put back image and trust anchor that belong together, both as they were last used`,
		);
	}

	if (damaged.length > 0) {
		return new ContainerError(
			'damaged',
			`the superblock of generation ${secured.generation} that the trust anchor expects is missing, and damaged superblocks were found (${faults}); put back an undamaged copy of the image's newest state`,
		);
	}

	// The log of the newest superblock leads to the generation after it.
	const orLog = superblocks.some(({generation, hasLog}) => hasLog && generation + 1 === secured.generation)
		? ', or its flush log was altered'
		: '';
	return new ContainerError(
		'rolled_back',
		`rolled back: the image holds generation ${found}, the trust anchor expects generation ${secured.generation}: an older copy of the image${orForeign(superblocks)} was put back${orLog}; put the newest one back, or accept this one for good with cbe_adopt (runtime run cbe_adopt)`,
	);
}

function expected({generation}: Secured): string {
	return generation === null ? 'one' : `generation ${generation}`;
}
