/**
 * Finds the one superblock that counts: the one whose hash the trust anchor keeps. Every other superblock in the image
 * is an older state, however valid it looks, and opening it would undo what was flushed.
 */
import type {LogEntry} from './flush-log.js';
import {labelOf} from './label.js';
import {nextSlot, type Superblock} from './superblock.js';
import {
	anchoredSlot,
	type Beyond,
	ContainerError,
	type NewerSuperblock,
	readSlot,
	type Secured,
	type SuperblockSearch,
} from './superblock-search.js';
import {anchorOlder, explainMissing, truncated} from './search-refusal.js';

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
