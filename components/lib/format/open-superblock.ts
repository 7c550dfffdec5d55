/**
 * Finds the one superblock that counts: the one whose hash the trust anchor keeps. Every other superblock in the image
 * is an older state, however valid it looks, and opening it would undo what was flushed.
 */
import type {FlushesAhead, LogEntry} from './flush-log.js';
import {superblockSlotCount} from './geometry.js';
import {labelOf} from './label.js';
import {SuperblockError, decodeSuperblock, isUnusedSlot, nextSlot, type Superblock} from './superblock.js';

/** What the trust anchor keeps about the newest superblock, as its session hands it out. */
export interface Secured {
	readonly hash: Uint8Array;
	/** Null where the anchor's format does not record it. */
	readonly generation: number | null;
	/** The container was being created: its first superblock may not have arrived on the medium. */
	readonly creating: boolean;
}

export type ContainerErrorKind =
	/** No slot holds a superblock. */
	| 'no_container'
	/** The container was never completed; there is no data in it yet. */
	| 'creation_interrupted'
	/** The image is an older state than the anchor's. */
	| 'rolled_back'
	/** The anchor is an older state than the image's. */
	| 'anchor_older'
	/** Image and anchor do not belong together. */
	| 'foreign'
	/** One of the two; the anchor does not record generations. */
	| 'rolled_back_or_foreign'
	/** A superblock that matters cannot be understood. */
	| 'damaged'
	/** The medium ends before the container does. */
	| 'truncated'
	/** A container shall be created where one may be already. */
	| 'occupied'
	/** The medium cannot take the container that shall be created. */
	| 'unsuitable_medium'
	/** There is no snapshot of that name. */
	| 'no_snapshot';

/** Why a container cannot be opened or created; the message is for the user and says what to do. */
export class ContainerError extends Error {
	override readonly name = 'ContainerError';

	constructor(
		readonly kind: ContainerErrorKind,
		message: string,
	) {
		super(message);
	}
}

export interface OpenedSuperblock {
	readonly slot: number;
	/** SHA-256 of the slot as it lies on the medium, which is what the trust anchor and the flush log refer to. */
	readonly hash: Uint8Array;
	readonly superblock: Superblock;
	/** What was flushed after it, oldest first. */
	readonly log: readonly LogEntry[];
	/** One flush behind that, which the trust anchor does not know; nobody has been told that it is durable. */
	readonly ahead: readonly LogEntry[];
	/**
	 * The trust anchor does not keep this superblock yet, but announced it: its checkpoint was cut off at the last step.
	 */
	readonly isAnnounced: boolean;
	/**
	 * A slot with a superblock that a crash has left; it must be gone before the trust anchor remembers anything else.
	 */
	readonly strayedSlot: number | undefined;
	/** False where the log goes on unknown to the trust anchor: what comes next has to be a superblock. */
	readonly isLogSettled: boolean;
}

/** A superblock that is newer than what the trust anchor keeps. */
export interface NewerSuperblock {
	readonly slot: number;
	readonly generation: number;
	/** It carries this anchor's authenticator. */
	readonly isAuthentic: boolean;
	/** The trust anchor said that it was about to be written. */
	readonly isAnnounced: boolean;
}

/** What lies on the medium beyond the state that the trust anchor keeps. */
export interface Beyond {
	/** Without the base that the anchor keeps: all that are not older than it. */
	readonly superblocks: readonly NewerSuperblock[];
	/** Behind the anchored state, or behind the superblock that was announced. */
	readonly flushes: FlushesAhead;
	readonly areFlushesAuthentic: boolean;
	/** Whoever wrote the record announces superblocks. */
	readonly announces: boolean;
	/**
	 * A superblock was announced and is not there, or in part: what is written over its rest, and torn, might make it
	 * whole after the next one was announced.
	 */
	readonly isAnnouncementOpen: boolean;
}

/** The flush log whose newest entry is the one that the anchor keeps. */
export interface AnchoredLog {
	/** Slot of the superblock before the first entry. */
	readonly slot: number;
	readonly entries: readonly LogEntry[];
}

/** A slot that says it holds a superblock. */
export type ReadSlot =
	{readonly slot: number; readonly superblock: Superblock} | {readonly slot: number; readonly fault: string};

export interface SuperblockSearch {
	/** The eight slots, 4096 bytes each. */
	readonly slots: readonly Uint8Array[];
	/** Null where the anchor has never secured a superblock. */
	readonly secured: Secured | null;
	/** Undefined where the anchor keeps no entry of a log. */
	readonly log: AnchoredLog | undefined;
	readonly mediumBlockCount: number;
	/** What is stored on the medium ends with whoever provides it. */
	readonly isVolatile?: boolean;
	/** Undefined where the anchor has secured nothing. */
	readonly beyond?: Beyond;
}

/** Decodes one slot; undefined where it holds no superblock. */
export function readSlot(slots: readonly Uint8Array[], slot: number): ReadSlot | undefined {
	if (isUnusedSlot(slots[slot])) {
		return undefined;
	}

	try {
		return {slot, superblock: decodeSuperblock(slots[slot])};
	} catch (error) {
		if (error instanceof SuperblockError) {
			return {slot, fault: error.message};
		}

		throw error;
	}
}

/** The slot whose hash the anchor keeps. */
export function anchoredSlot(slots: readonly Uint8Array[], secured: Secured | null): number | undefined {
	const slot = secured ? slots.findIndex(block => labelOf(block).equals(secured.hash)) : -1;
	return slot === -1 ? undefined : slot;
}

/** The last secured state of the container. @throws ContainerError */
export function openSuperblock(search: SuperblockSearch): OpenedSuperblock {
	const {slots, secured, log, mediumBlockCount, beyond} = search;
	const base = anchoredSlot(slots, secured) ?? log?.slot;
	if (base === undefined) {
		throw explainMissing(search);
	}

	const standing = judgeStanding({base, secured, log, beyond});
	const {slot} = standing;
	const read = readSlot(slots, slot);
	if (read === undefined || 'fault' in read) {
		throw new ContainerError(
			'damaged',
			`the superblock in slot ${slot} is the one the trust anchor secured, but cannot be used: ${read?.fault ?? 'its state is 0'}`,
		);
	}

	const {superblock} = read;
	if (mediumBlockCount < superblock.pbaCount) {
		throw truncated(mediumBlockCount, superblock);
	}

	return {...standing, hash: labelOf(slots[slot]), superblock};
}

/** Which superblock counts, what was flushed behind it, and what a crash has left, whatever the blocks say. */
export type Standing = Omit<OpenedSuperblock, 'hash' | 'superblock'>;

/**
 * `base`: the slot of the superblock that the trust anchor keeps, or that its log begins behind. @throws ContainerError
 * where more lies there than a crash can leave
 */
export function judgeStanding({
	base,
	secured,
	log,
	beyond,
}: Pick<SuperblockSearch, 'secured' | 'log' | 'beyond'> & {readonly base: number}): Standing {
	const ahead = judgeBeyond(secured, beyond);
	const slot = ahead.announced?.slot ?? base;
	return {
		slot,
		log: log?.slot === slot ? log.entries : [],
		ahead: ahead.announced ? [] : ahead.flush,
		isAnnounced: ahead.announced !== undefined,
		strayedSlot: ahead.strayed?.slot ?? (beyond?.isAnnouncementOpen ? nextSlot(slot) : undefined),
		isLogSettled: ahead.announced !== undefined || ahead.isLogSettled,
	};
}

interface Ahead {
	readonly announced: NewerSuperblock | undefined;
	readonly strayed: NewerSuperblock | undefined;
	readonly flush: readonly LogEntry[];
	readonly isLogSettled: boolean;
}

/**
 * What a crash can have left beyond the state that the anchor keeps: one superblock that it announced, or one flush.
 * Anything more was written with a newer anchor. @throws ContainerError
 */
function judgeBeyond(secured: Secured | null, beyond: Beyond | undefined): Ahead {
	const {
		superblocks = [],
		flushes: {whole, isBegun} = {whole: [], isBegun: false},
		announces = true,
		areFlushesAuthentic = false,
	} = beyond ?? {};
	const flushCount = whole.length + (isBegun ? 1 : 0);
	const newest = Math.max(...superblocks.map(({generation}) => generation));
	const [only, ...others] = superblocks;
	// A program that announces nothing can still have left one.
	if (only && !(others.length === 0 && (only.isAnnounced || !announces))) {
		throw anchorOlder(secured, `the image holds generation ${newest}`);
	}

	if (flushCount > (only?.isAnnounced ? 0 : 1) && !(only && !only.isAnnounced)) {
		throw anchorOlder(
			secured,
			`the flush log holds ${flushCount === 1 ? 'a flush' : `${flushCount} flushes`} that the anchor does not know`,
		);
	}

	return {
		announced: only?.isAnnounced ? only : undefined,
		strayed: only?.isAnnounced ? undefined : only,
		flush: areFlushesAuthentic && whole.length === 1 ? whole[0] : [],
		isLogSettled: flushCount === 0,
	};
}

function anchorOlder(secured: Secured | null, found: string): ContainerError {
	const known =
		secured && secured.generation !== null
			? `generation ${secured.generation}`
			: 'an older state, whose generation it does not record';
	return new ContainerError(
		'anchor_older',
		`the trust anchor is an older copy than the image: ${found}, the trust anchor knows ${known}; nothing was changed: put the newest trust anchor back (its directory as it was when the image was last used)`,
	);
}

function truncated(mediumBlockCount: number, {pbaCount}: Superblock): ContainerError {
	return new ContainerError(
		'truncated',
		`the image is truncated: it has ${mediumBlockCount} blocks, the container needs ${pbaCount}; put the complete image back`,
	);
}

/** Why no slot holds what the anchor expects. */
function explainMissing({slots, secured, mediumBlockCount, isVolatile, beyond}: SuperblockSearch): ContainerError {
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
