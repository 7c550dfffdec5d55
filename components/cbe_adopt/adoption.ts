/**
 * Which state of a container can be adopted: the newest one that was written with the anchor and is whole at its roots.
 */
import {decodeLogEntry, authenticFlushes, type LogEntry} from '../lib/format/flush-log.js';
import {isImplied} from '../lib/format/fresh-layout.js';
import {blockSize} from '../lib/format/geometry.js';
import {labelOf} from '../lib/format/label.js';
import {walkLog, type ContainerSessions} from '../lib/container/open-container.js';
import {openSuperblock, type OpenedSuperblock} from '../lib/format/open-superblock.js';
import {
	readSlot,
	type SuperblockSearch,
	ContainerError,
	type ContainerErrorKind,
	type Secured,
} from '../lib/format/superblock-search.js';
import {judgeAuthenticity} from '../lib/container/superblock-authenticator.js';
import {nextSlot, type Superblock} from '../lib/format/superblock.js';
import {encodeEmptiedSlot} from '../lib/format/superblock-codec.js';
import type {RootNode} from '../sessions/tree-root.js';

/** Refusals after which the image may hold another state of the anchor's container. */
const adoptableKinds: ReadonlySet<ContainerErrorKind> = new Set([
	'rolled_back',
	'rolled_back_or_foreign',
	'damaged',
	'anchor_older',
]);

/** A state that could become the one that counts. */
export interface Candidate extends Pick<OpenedSuperblock, 'slot' | 'superblock' | 'hash'> {
	/** What was flushed after it and is authentic. */
	readonly log: readonly LogEntry[];
	/** The superblock carries this anchor's authenticator; false where superblocks of its version carry none. */
	readonly isAuthentic: boolean;
}

/** What the trust anchor has to keep for it. */
export function recordOf({log, hash, superblock: {lastSecuredGeneration}}: Candidate): Secured {
	return {
		hash: log.at(-1)?.hash ?? hash,
		generation: lastSecuredGeneration + (log.length > 0 ? 1 : 0),
		creating: false,
	};
}

/**
 * Why the image is refused; undefined where it is what the anchor expects. @throws ContainerError where nothing can be
 * adopted
 */
export function refusalOf(search: SuperblockSearch): ContainerError | undefined {
	try {
		openSuperblock(search);
		return undefined;
	} catch (error) {
		if (error instanceof ContainerError && adoptableKinds.has(error.kind)) {
			return error;
		}

		throw error;
	}
}

interface Found {
	readonly candidates: readonly Candidate[];
	/** Slots with superblocks that were not made with this anchor. */
	readonly forged: readonly number[];
}

/**
 * Superblocks of other states, the newest first. Of an image that is older than the anchor none that claims the
 * expected generation: it was altered.
 */
async function findCandidates(
	{trustAnchor}: ContainerSessions,
	{slots, mediumBlockCount}: SuperblockSearch,
	{secured, refusal}: {secured: Secured; refusal: ContainerError},
): Promise<Found> {
	const {authenticated} = await trustAnchor.marks({});
	const candidates: Candidate[] = [];
	const forged: number[] = [];
	for (const [slot, bytes] of slots.entries()) {
		const read = readSlot(slots, slot);
		if (!read || 'fault' in read || read.superblock.pbaCount > mediumBlockCount) {
			continue;
		}

		const {superblock} = read;
		const authenticity = await judgeAuthenticity(trustAnchor, bytes, superblock);
		if (authenticity === 'forged' || (authenticated && authenticity === 'unauthenticated')) {
			forged.push(slot);
		} else if (
			secured.generation === null ||
			refusal.kind === 'anchor_older' ||
			superblock.lastSecuredGeneration < secured.generation
		) {
			candidates.push({
				slot,
				superblock,
				log: [],
				hash: labelOf(bytes),
				isAuthentic: authenticity === 'authentic',
			});
		}
	}

	candidates.sort((a, b) => b.superblock.lastSecuredGeneration - a.superblock.lastSecuredGeneration);
	return {candidates, forged};
}

/**
 * The secured state without its flush log; undefined where it has none. @throws ContainerError where its trees are
 * damaged
 */
export async function candidateWithoutLog(
	medium: ContainerSessions['block'],
	{slots, log}: SuperblockSearch,
): Promise<Candidate | undefined> {
	const read = log && readSlot(slots, log.slot);
	if (!read || 'fault' in read) {
		return undefined;
	}

	if (!(await hasWholeRoots(medium, read.superblock))) {
		throw new ContainerError(
			'damaged',
			'the trees do not match their superblock; put back another copy of the image',
		);
	}

	return {...read, log: [], hash: labelOf(slots[read.slot]), isAuthentic: true};
}

function requireOneContainer(found: readonly Candidate[]): void {
	const ids = new Set(
		found.map(({superblock: {containerId}}) => (containerId ? Buffer.from(containerId).toString('hex') : '')),
	);
	if (ids.size > 1) {
		throw new ContainerError(
			'foreign',
			`the image holds superblocks of ${ids.size} different containers; put back an image of one container`,
		);
	}
}

function rootsOf({snapshots, freeTree, metaTree}: Superblock): RootNode[] {
	return [...snapshots.flatMap(snapshot => (snapshot ? [snapshot.root] : [])), freeTree.root, metaTree.root];
}

async function hasWholeRoots(medium: ContainerSessions['block'], superblock: Superblock): Promise<boolean> {
	const data = Buffer.alloc(blockSize);
	for (const {address, hash} of rootsOf(superblock)) {
		// An implied one need not lie there: what it is the superblock says.
		if (!isImplied(superblock.fresh?.virtualBlockDevice, hash)) {
			await medium.read({extents: [address, 1], data});
			if (!labelOf(data).equals(hash)) {
				return false;
			}
		}
	}

	return true;
}

/** What was flushed after the candidate, as far as it is authentic. */
async function withLog(
	{block, trustAnchor}: ContainerSessions,
	{slots, mediumBlockCount}: SuperblockSearch,
	candidate: Candidate,
): Promise<Candidate> {
	const found = candidate.isAuthentic
		? await walkLog(block, slots, candidate.slot, candidate.hash, mediumBlockCount)
		: undefined;
	const {whole} = await authenticFlushes(
		candidate.hash,
		found?.walk.ahead ?? [],
		async hash => (await trustAnchor.flush_key({hash})).key,
	);
	return {...candidate, log: whole.flat()};
}

/**
 * The newest other state whose root blocks are all what its superblock expects. @throws ContainerError where there is
 * none
 */
export async function findCandidate(
	sessions: ContainerSessions,
	search: SuperblockSearch,
	expectation: {secured: Secured; refusal: ContainerError},
): Promise<Candidate> {
	const {candidates, forged} = await findCandidates(sessions, search, expectation);
	requireOneContainer(candidates);
	for (const candidate of candidates) {
		if (await hasWholeRoots(sessions.block, candidate.superblock)) {
			return withLog(sessions, search, candidate);
		}
	}

	const foreign =
		forged.length > 0 ? ` (the superblock in slot ${forged.join(', ')} was not made with this trust anchor)` : '';
	throw new ContainerError(
		'damaged',
		`the image holds no other state that was written with this trust anchor and whose trees match its superblock${foreign}; put back another copy of the image`,
	);
}

/**
 * Takes away what would make the trust anchor look older than the image once it keeps the candidate: newer superblocks,
 * what is left of one that was announced, since the anchor forgets that it was, and a flush log that is given up.
 */
export async function clearBeyond(
	{block, trustAnchor}: ContainerSessions,
	{slots}: SuperblockSearch,
	{slot: adopted, superblock, hash, log}: Candidate,
): Promise<void> {
	const {intended} = await trustAnchor.marks({});
	for (const slot of slots.keys()) {
		const read = readSlot(slots, slot);
		const isNewer =
			read !== undefined &&
			'superblock' in read &&
			read.superblock.lastSecuredGeneration > superblock.lastSecuredGeneration;
		if (isNewer || (intended && slot === nextSlot(adopted))) {
			await block.write({extents: [slot, 1], data: encodeEmptiedSlot()});
		}
	}

	const {flushLog} = superblock;
	if (flushLog && log.length === 0) {
		const first = Buffer.alloc(blockSize);
		await block.read({extents: [flushLog.firstPba, 1], data: first});
		if (decodeLogEntry(first, hash, 0)) {
			await block.write({extents: [flushLog.firstPba, 1], data: new Uint8Array(blockSize)});
		}
	}

	await block.sync({});
}
