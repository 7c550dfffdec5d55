/** Opens the container behind a `block` session with the record of a `trust_anchor` session. */
import {isSessionError, type Client} from '../../../runtime/sdk/session.js';
import type {block} from '../../sessions/block.js';
import type {trustAnchor} from '../../sessions/trust-anchor.js';
import {LogWalk, authenticFlushes, plainFlushes} from '../format/flush-log.js';
import {blockSize, superblockSlotCount} from '../format/geometry.js';
import {labelOf} from '../format/label.js';
import {openSuperblock, type OpenedSuperblock} from '../format/open-superblock.js';
import {
	anchoredSlot,
	readSlot,
	type SuperblockSearch,
	type Beyond,
	type NewerSuperblock,
	type Secured,
} from '../format/superblock-search.js';
import {judgeAuthenticity} from './superblock-authenticator.js';
import {nextSlot, type FlushLogArea, type Superblock} from '../format/superblock.js';

/** Blocks of the log that are read together: mostly few of them are in use. */
const logReadCount = 64;

export interface ContainerSessions {
	readonly block: Client<typeof block>;
	readonly trustAnchor: Client<typeof trustAnchor>;
}

/** The eight slots; those beyond the end of a shorter medium are zero. */
export async function readSuperblockSlots(
	medium: Client<typeof block>,
	mediumBlockCount: number,
): Promise<Uint8Array[]> {
	const slots = Buffer.alloc(superblockSlotCount * blockSize);
	const count = Math.min(superblockSlotCount, mediumBlockCount);
	if (count > 0) {
		await medium.read({extents: [0, count], data: slots.subarray(0, count * blockSize)});
	}

	return Array.from({length: superblockSlotCount}, (_, slot) =>
		slots.subarray(slot * blockSize, (slot + 1) * blockSize),
	);
}

/** What `openSuperblock` decides by. */
export async function readSuperblockSearch({block, trustAnchor}: ContainerSessions): Promise<SuperblockSearch> {
	const {blockCount, volatile: isVolatile = false} = await block.geometry({});
	const {secured} = await trustAnchor.status({});
	const slots = await readSuperblockSlots(block, blockCount);
	if (!secured) {
		return {slots, secured, log: undefined, mediumBlockCount: blockCount, isVolatile};
	}

	const anchored = anchoredSlot(slots, secured);
	const found =
		anchored === undefined
			? await findLog(block, slots, secured, blockCount)
			: await walkLog(block, slots, anchored, secured.hash, blockCount);
	const base = anchored ?? found?.slot;
	const beyond = await lookBeyond(
		{block, trustAnchor},
		{slots, secured, base, ahead: found?.walk.ahead ?? [], mediumBlockCount: blockCount},
	);
	return {
		slots,
		secured,
		log: anchored === undefined && found ? {slot: found.slot, entries: found.walk.entries} : undefined,
		mediumBlockCount: blockCount,
		isVolatile,
		beyond,
	};
}

interface FoundLog {
	readonly slot: number;
	readonly walk: LogWalk;
}

/** The way through the log behind a superblock; undefined where there is none. */
export async function walkLog(
	medium: Client<typeof block>,
	slots: readonly Uint8Array[],
	slot: number,
	anchored: Uint8Array,
	mediumBlockCount: number,
): Promise<FoundLog | undefined> {
	const read = readSlot(slots, slot);
	const area = read && 'superblock' in read ? read.superblock.flushLog : undefined;
	if (!area || area.firstPba + area.blockCount > mediumBlockCount) {
		return undefined;
	}

	const walk = new LogWalk(labelOf(slots[slot]), anchored);
	await readLog(medium, area, walk);
	return {slot, walk};
}

/** The log that leads from one of the superblocks to what the anchor keeps. */
async function findLog(
	medium: Client<typeof block>,
	slots: readonly Uint8Array[],
	secured: Secured,
	mediumBlockCount: number,
): Promise<FoundLog | undefined> {
	for (let slot = 0; slot < superblockSlotCount; slot++) {
		const found = await walkLog(medium, slots, slot, secured.hash, mediumBlockCount);
		if (found?.walk.hasArrived) {
			return found;
		}
	}

	return undefined;
}

/**
 * What was written after the state that the anchor keeps, by who had this anchor. Where superblocks carry
 * authenticators nothing else counts: nobody who writes to the medium alone can lock the owner out. Where they carry
 * none, the announced one may be there in part and yet be readable: then it has another hash, and is what a crash has
 * left.
 */
async function lookBeyond(
	{block, trustAnchor: anchor}: ContainerSessions,
	{
		slots,
		secured,
		base,
		ahead,
		mediumBlockCount,
	}: Pick<SuperblockSearch, 'slots' | 'mediumBlockCount'> & {
		secured: Secured;
		base: number | undefined;
		ahead: LogWalk['ahead'];
	},
): Promise<Beyond> {
	const {intended, announces, authenticated} = await anchor.marks({});
	const read = base === undefined ? undefined : readSlot(slots, base);
	const from = read && 'superblock' in read ? read.superblock : undefined;
	const isAuthenticated = from?.features !== undefined;
	const flushesOf = async (anchored: Uint8Array, entries: LogWalk['ahead']) =>
		isAuthenticated
			? authenticFlushes(anchored, entries, async hash => (await anchor.flush_key({hash})).key)
			: plainFlushes(entries);
	let flushes = await flushesOf(secured.hash, ahead);
	const superblocks: NewerSuperblock[] = [];
	for (const [slot, bytes] of slots.entries()) {
		const other = readSlot(slots, slot);
		if (slot !== base && other && 'superblock' in other && isNewer(other.superblock, from, secured)) {
			const authenticity = await judgeAuthenticity(anchor, bytes, other.superblock);
			if (authenticity !== 'forged' && (authenticity === 'authentic' || !authenticated)) {
				const isAnnounced = intended !== null && labelOf(bytes).equals(intended);
				superblocks.push({
					slot,
					generation: other.superblock.lastSecuredGeneration,
					isAuthentic: authenticity === 'authentic',
					isAnnounced,
				});
			}
		}
	}

	const announced = superblocks.find(({isAnnounced}) => isAnnounced);
	const isAnnouncementOpen = intended !== null && !announced;
	const rest =
		base !== undefined && isAnnouncementOpen
			? superblocks.find(({slot, isAuthentic}) => slot === nextSlot(base) && !isAuthentic)
			: undefined;
	// Nobody flushes after a superblock that is not whole.
	const isRest =
		rest !== undefined &&
		!(await walkLog(block, slots, rest.slot, labelOf(slots[rest.slot]), mediumBlockCount))?.walk.ahead.length;
	if (announced) {
		// What it covers does not matter any more; what was flushed after it was flushed with a newer anchor.
		const hash = labelOf(slots[announced.slot]);
		const behind = await walkLog(block, slots, announced.slot, hash, mediumBlockCount);
		flushes = await flushesOf(hash, behind?.walk.ahead ?? []);
	}

	return {
		superblocks: isRest ? superblocks.filter(other => other !== rest) : superblocks,
		flushes,
		announces,
		areFlushesAuthentic: isAuthenticated,
		isAnnouncementOpen,
	};
}

/** True where the superblock may be one that was written after what the anchor keeps. */
function isNewer(
	{lastSecuredGeneration, containerId}: Superblock,
	from: Superblock | undefined,
	secured: Secured,
): boolean {
	if (!from) {
		return secured.generation !== null && lastSecuredGeneration >= secured.generation;
	}

	const ofSameContainer = Buffer.from(containerId ?? []).equals(Buffer.from(from.containerId ?? []));
	return ofSameContainer && lastSecuredGeneration > from.lastSecuredGeneration;
}

/** The last secured state of the container. @throws ContainerError, SessionError */
export async function openContainer(sessions: ContainerSessions): Promise<OpenedSuperblock> {
	return openSuperblock(await readSuperblockSearch(sessions));
}

/** Reads as much of the log as the walk needs. @throws SessionError where a block that it needs cannot be read */
async function readLog(
	medium: Client<typeof block>,
	{firstPba, blockCount}: FlushLogArea,
	walk: LogWalk,
): Promise<void> {
	for (let begin = 0; begin < blockCount; begin += logReadCount) {
		if (
			!(await takeBlocks(
				medium,
				{firstPba: firstPba + begin, blockCount: Math.min(logReadCount, blockCount - begin)},
				walk,
			))
		) {
			return;
		}
	}
}

/**
 * Reads blocks together or, where that fails, one by one: perhaps only one beyond the newest entry is bad. False where
 * the walk needs no further block.
 */
async function takeBlocks(
	medium: Client<typeof block>,
	{firstPba, blockCount}: FlushLogArea,
	walk: LogWalk,
): Promise<boolean> {
	const data = Buffer.alloc(blockCount * blockSize);
	try {
		await medium.read({extents: [firstPba, blockCount], data});
	} catch (error) {
		if (isSessionError(error) && blockCount === 1 && walk.hasArrived) {
			// What lies behind the anchored entry is none that the opening needs.
			return false;
		}

		if (!isSessionError(error) || blockCount === 1) {
			throw error;
		}

		for (let i = 0; i < blockCount; i++) {
			if (!(await takeBlocks(medium, {firstPba: firstPba + i, blockCount: 1}, walk))) {
				return false;
			}
		}

		return true;
	}

	for (let i = 0; i < blockCount; i++) {
		if (!walk.take(data.subarray(i * blockSize, (i + 1) * blockSize))) {
			return false;
		}
	}

	return true;
}
