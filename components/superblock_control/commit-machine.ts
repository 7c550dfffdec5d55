/**
 * The commit protocol as a pure machine: `(state, event) → (state, effects)`. Everything that decides in which order
 * medium and trust anchor change stands here, and nothing here waits, reads a clock or touches a server; `commit.ts`
 * performs the effects.
 *
 * A *flush* makes changes durable by the flush log: entries, sync, trust anchor. A *checkpoint* makes them part of the
 * trees: trees, sync and announcement, superblock, sync, trust anchor; then the next generation counts. What holds in
 * between, and what a crash leaves, is told in docs/commit-protocol.md; every history of small scopes is gone through
 * in test/model/.
 *
 * Changes are numbered as they are acknowledged. A request names the number up to which it wants them durable, so one
 * commit serves all that wait for it.
 */
import {emptyLog, logRoom, type LeafChanges, type LogTail} from '../lib/format/flush-log.js';
import {directoryPba} from '../lib/container/snapshot-directory.js';
import {nextSlot, type Superblock} from '../lib/format/superblock.js';
import type {Generation} from '../sessions/vocabulary.js';
import {sealedUnder, withReservedCounts, type SealedCounts} from './key-use.js';
import {dropsKey} from './old-keys.js';
import {
	currentSnapshotOf,
	edited,
	firstGenerationAfter,
	hasSlotForChange,
	securedSuperblock,
	type StoredTrees,
} from './transition.js';
import {
	type Answer,
	type CommitEvent,
	CommitInterrupted,
	type CommitState,
	type Core,
	type Level,
	type LogState,
	type MadeEdit,
	type Notice,
	type Opened,
	type SealedCheckpoint,
	type Transition,
} from './commit-state.js';

function invariant(condition: boolean, text: string): asserts condition {
	if (!condition) {
		throw new Error(`the commit protocol is broken: ${text}`);
	}
}

const areSame = (a: Uint8Array, b: Uint8Array): boolean => a === b || Buffer.compare(a, b) === 0;

export function openedState({
	superblock,
	slot,
	anchoredHash,
	currentGeneration,
	hasFlushKey = false,
	strayedSlot,
	isLogSettled = true,
}: Opened): CommitState {
	const log = superblock.flushLog && {
		area: superblock.flushLog,
		form: superblock.features ? ('authenticated' as const) : ('plain' as const),
		tail: emptyLog(anchoredHash),
		hasKey: hasFlushKey,
		isSettled: isLogSettled && strayedSlot === undefined,
		isIncomplete: false,
		isBroken: false,
	};
	const none = {flush: 0, checkpoint: 0};
	return {
		kind: 'idle',
		core: {
			superblock,
			slot,
			latest: superblock,
			generation: currentGeneration,
			anchoredHash,
			log,
			strayedSlot,
			durable: none,
			wanted: none,
			edits: [],
			counts: none,
		},
	};
}

/**
 * The state after the event, and what has to be done. A rule that is about to be broken interrupts the commit instead.
 */
export function transition(state: CommitState, event: CommitEvent): Transition {
	try {
		return decide(state, event);
	} catch (error) {
		return interrupt(state.core, state.core.generation, error);
	}
}

function decide(state: CommitState, event: CommitEvent): Transition {
	const {core} = state;
	switch (event.kind) {
		case 'wanted': {
			return want(state, event.level, event.change);
		}

		case 'edited': {
			invariant(
				event.edit.change > (core.edits.at(-1)?.change ?? core.durable.checkpoint),
				'edits have to come in the order of their numbers',
			);
			return {state: {...state, core: {...core, edits: [...core.edits, event.edit]}}};
		}

		case 'flush_key': {
			return {state: {...state, core: {...core, log: core.log && {...core.log, hasKey: event.hasKey}}}};
		}

		case 'failed': {
			return fail(state, event);
		}

		default: {
			return goOn(state, event);
		}
	}
}

const bothLevels: readonly Level[] = ['flush', 'checkpoint'];

function want(state: CommitState, level: Level, change: number): Transition {
	if (state.kind === 'interrupted') {
		return {state, notices: [{kind: 'refuse', levels: bothLevels, upTo: Infinity, error: state.error}]};
	}

	if (change <= state.core.wanted[level] && state.kind !== 'idle') {
		return {state};
	}

	const core = {...state.core, wanted: {...state.core.wanted, [level]: Math.max(change, state.core.wanted[level])}};
	return state.kind === 'idle' ? begin(core) : {state: {...state, core}};
}

/** The next commit, where somebody waits for one. */
function begin(core: Core, notices?: readonly Notice[]): Transition {
	const {wanted, durable} = core;
	return wanted.flush > durable.flush || wanted.checkpoint > durable.checkpoint
		? {state: {kind: 'locking', core}, notices, action: {kind: 'lock'}}
		: {state: {kind: 'idle', core}, notices};
}

/** Changes that still fit into the log. */
function roomIn(log: LogState | undefined): number {
	return log ? logRoom(log.area, log.tail, log.form, log.hasKey) : 0;
}

/** True where the log may say what has changed. */
function canFlush({log, wanted, durable, edits, latest}: Core): boolean {
	return (
		log !== undefined &&
		log.isSettled &&
		!log.isIncomplete &&
		!log.isBroken &&
		roomIn(log) > 0 &&
		wanted.checkpoint <= durable.checkpoint &&
		edits.length === 0 &&
		latest.state === 'normal'
	);
}

function expect<K extends Answer['kind']>(
	state: CommitState,
	event: Answer,
	kind: K,
): asserts event is Extract<Answer, {kind: K}> {
	invariant(event.kind === kind, `"${event.kind}" is no answer to what "${state.kind}" waits for`);
}

/** What the action was for has come to pass. */
function goOn(state: CommitState, event: Answer): Transition {
	const {core} = state;
	switch (state.kind) {
		case 'locking': {
			expect(state, event, 'locked');
			return canFlush(core)
				? {
						state: {kind: 'taking', core, covered: event.change},
						action: {kind: 'take_changes', countMax: roomIn(core.log)},
					}
				: store(core, event.change);
		}

		case 'taking': {
			expect(state, event, 'changes');
			return event.changes ? append(core, state.covered, event.changes) : store(core, event.change);
		}

		case 'appending': {
			expect(state, event, 'appended');
			const tail = requireNext(core, event.tail);
			return {
				state: {kind: 'anchoring_flush', core, covered: state.covered, tail},
				action: {kind: 'anchor', hash: tail.hash, generation: core.generation},
			};
		}

		case 'anchoring_flush': {
			expect(state, event, 'anchored');
			return flushed(core, state, event.hasFlushKey);
		}

		default: {
			return goOnWithCheckpoint(state, event);
		}
	}
}

/** The same where the log has no part in it. */
function goOnWithCheckpoint(
	state: Exclude<CommitState, {kind: 'locking' | 'taking' | 'appending' | 'anchoring_flush'}>,
	event: Answer,
): Transition {
	const {core} = state;
	switch (state.kind) {
		case 'storing': {
			expect(state, event, 'stored');
			return seal(core, state.covered, event);
		}

		case 'sealing': {
			expect(state, event, 'sealed');
			const {superblock, directory, block, hash} = event;
			const named = {...core, latest: superblock};
			const sealed = {...state.checkpoint, superblock, directory, slot: nextSlot(core.slot), block, hash};
			return core.strayedSlot === undefined ? name(named, sealed) : empty(named, sealed, core.strayedSlot);
		}

		case 'emptying': {
			expect(state, event, 'written');
			return {state: {...state, kind: 'syncing_emptied'}, action: {kind: 'sync'}};
		}

		case 'syncing_emptied': {
			expect(state, event, 'synced');
			return name({...core, strayedSlot: undefined}, state.sealed);
		}

		case 'naming': {
			expect(state, event, 'written');
			return announce(core, state.sealed);
		}

		case 'announcing': {
			expect(state, event, 'announced');
			return write(core, state.sealed, state.sealed.hash);
		}

		case 'writing': {
			expect(state, event, 'written');
			return {state: {kind: 'syncing', core, sealed: state.sealed}, action: {kind: 'sync'}};
		}

		case 'syncing': {
			expect(state, event, 'synced');
			const {sealed} = state;
			return {
				state: {...state, kind: 'anchoring'},
				action: {kind: 'anchor', hash: sealed.hash, generation: sealed.superblock.lastSecuredGeneration},
			};
		}

		case 'anchoring': {
			expect(state, event, 'anchored');
			return replace(core, state.sealed, event.hasFlushKey);
		}

		case 'clearing_keys': {
			expect(state, event, 'cleared');
			return advance(core, state.sealed);
		}

		case 'advancing': {
			expect(state, event, 'advanced');
			return begin(core, [{kind: 'advanced'}, {kind: 'settle'}]);
		}

		case 'idle':
		case 'interrupted': {
			throw new Error(
				`the commit protocol is broken: "${event.kind}" is no answer to what "${state.kind}" waits for`,
			);
		}
	}
}

/** Writes what the log can say behind its tail. Where nothing has changed on the medium there is nothing to say. */
function append(core: Core, covered: number, changes: LeafChanges): Transition {
	const {log, generation} = core;
	if (changes.vbas.length === 0) {
		return begin({...core, durable: {...core.durable, flush: covered}}, [{kind: 'unlock'}, {kind: 'settle'}]);
	}

	invariant(
		log !== undefined && log.isSettled && !log.isIncomplete && !log.isBroken,
		'a log that cannot be relied on is not written',
	);
	invariant(core.strayedSlot === undefined, 'what a crash has left is emptied before anything else is anchored');
	invariant(areSame(log.tail.hash, core.anchoredHash), 'an entry follows what the trust anchor keeps');
	invariant(
		core.superblock.state === 'normal' && core.latest === core.superblock,
		'the log counts only behind an anchored superblock in state normal',
	);
	invariant(
		generation === firstGenerationAfter(core.superblock),
		"changes carry the generation after the superblock's",
	);
	invariant(changes.vbas.length <= roomIn(log), 'a flush fits into the log');
	return {
		state: {kind: 'appending', core, covered},
		notices: unlock,
		action: {kind: 'append', log, changes, generation},
	};
}

const unlock: readonly Notice[] = [{kind: 'unlock'}];

function requireNext({log}: Core, tail: LogTail): LogTail {
	invariant(
		log !== undefined &&
			tail.usedBlockCount > log.tail.usedBlockCount &&
			tail.usedBlockCount <= log.area.blockCount,
		"entries lie behind the log's tail, and in its area",
	);
	invariant(tail.flushCount === log.tail.flushCount + 1, 'flushes are counted one by one');
	return tail;
}

/** The trust anchor keeps the entries: what they say is durable. */
function flushed(
	core: Core,
	{covered, tail}: {readonly covered: number; readonly tail: LogTail},
	hasKey: boolean,
): Transition {
	const log = core.log && {...core.log, tail, hasKey};
	const counts = {...core.counts, flush: core.counts.flush + 1};
	return begin({...core, log, anchoredHash: tail.hash, durable: {...core.durable, flush: covered}, counts}, [
		{kind: 'settle'},
	]);
}

function store(core: Core, covered: number): Transition {
	// With no snapshot slot for another record the kept snapshot stays the current state, under its own root block.
	const isRootKept = currentSnapshotOf(core.superblock).keep && hasSlotForChange(core.superblock);
	return {
		state: {kind: 'storing', core, covered},
		action: {kind: 'store_trees', nextGeneration: core.generation + 1, isRootKept},
	};
}

/**
 * Composes the superblock for stored trees. Edits that came meanwhile are for the next one: this one may lack what was
 * acknowledged before them.
 */
function seal(
	core: Core,
	covered: number,
	{trees, sealedCounts}: {readonly trees: StoredTrees; readonly sealedCounts: SealedCounts | undefined},
): Transition {
	const {generation} = core;
	const edits: MadeEdit[] = [];
	let composed = securedSuperblock(core.superblock, generation, trees);
	for (const {change, edit} of core.edits.filter(pending => pending.change <= covered)) {
		const before = composed;
		composed = edited(before, edit);
		edits.push({change, before, after: composed});
	}

	const superblock = withReservedCounts(composed, sealedCounts);
	invariant(
		generation === firstGenerationAfter(core.superblock),
		"a superblock has the generation after the last one's",
	);
	requireCounted(superblock, sealedCounts);
	const log = core.log && {...core.log, isIncomplete: false};
	const left = core.edits.filter(pending => pending.change > covered);
	return {
		state: {
			kind: 'sealing',
			core: {...core, log, latest: superblock, generation: generation + 1, edits: left},
			checkpoint: {covered, superblock, edits},
		},
		notices: [{kind: 'unlock'}, {kind: 'taken', superblock}],
		action: {kind: 'seal', before: core.superblock, superblock},
	};
}

/** Also after a crash a superblock names at least as many blocks as its keys have sealed. */
function requireCounted(superblock: Superblock, sealedCounts: SealedCounts | undefined): void {
	if (sealedCounts) {
		const {current, previous} = sealedUnder(superblock, sealedCounts);
		const {sealedBlockCounts: named} = superblock;
		invariant(
			named !== undefined && named.current >= current && named.previous >= previous,
			'a superblock names no fewer blocks than its keys have sealed',
		);
	}
}

function empty(core: Core, sealed: SealedCheckpoint, slot: number): Transition {
	invariant(slot !== core.slot, 'the superblock that counts is never overwritten');
	return {state: {kind: 'emptying', core, sealed}, action: {kind: 'empty_slot', slot}};
}

function name(core: Core, sealed: SealedCheckpoint): Transition {
	const {directory} = sealed;
	if (!directory) {
		return announce(core, sealed);
	}

	const {snapshotDirectory: counting} = core.superblock;
	invariant(
		counting !== undefined && directory.address !== directoryPba(counting),
		'the names that count are never overwritten',
	);
	return {
		state: {kind: 'naming', core, sealed},
		action: {kind: 'write_directory', address: directory.address, data: directory.data},
	};
}

/**
 * Both come before the superblock: whoever finds it there can tell a crash from an anchor that is older than the
 * medium.
 */
function announce(core: Core, sealed: SealedCheckpoint): Transition {
	invariant(
		core.strayedSlot === undefined,
		'what a crash has left is emptied before the next superblock is announced',
	);
	return {state: {kind: 'announcing', core, sealed}, action: {kind: 'sync_and_announce', hash: sealed.hash}};
}

function write(core: Core, sealed: SealedCheckpoint, announcedHash: Uint8Array): Transition {
	const {slot, block, superblock, hash} = sealed;
	invariant(areSame(announcedHash, hash), 'a superblock is announced before it is written');
	invariant(slot === nextSlot(core.slot), 'a superblock is written to the slot behind the last one');
	invariant(
		superblock.lastSecuredGeneration === firstGenerationAfter(core.superblock),
		"a superblock has the generation after the last one's",
	);
	return {state: {kind: 'writing', core, sealed, announcedHash}, action: {kind: 'write_superblock', slot, block}};
}

/** The trust anchor keeps the superblock: it counts, and its log is empty. */
function replace(core: Core, sealed: SealedCheckpoint, hasKey: boolean): Transition {
	const {superblock, slot, hash} = sealed;
	const log = core.log && {...core.log, tail: emptyLog(hash), hasKey, isSettled: true};
	const replaced = {...core, superblock, slot, anchoredHash: hash, log};
	return dropsKey(core.superblock, superblock)
		? {state: {kind: 'clearing_keys', core: replaced, sealed}, action: {kind: 'clear_old_keys', slot, superblock}}
		: advance(replaced, sealed);
}

function advance(core: Core, {covered, superblock, edits}: SealedCheckpoint): Transition {
	invariant(core.superblock === superblock, 'the pool goes by what the trust anchor keeps');
	return {
		state: {
			kind: 'advancing',
			core: {
				...core,
				durable: {flush: covered, checkpoint: covered},
				counts: {...core.counts, checkpoint: core.counts.checkpoint + 1},
			},
			covered,
		},
		notices: [{kind: 'checkpointed', superblock, edits}],
		action: {kind: 'advance', superblock},
	};
}

function fail(state: CommitState, {error, code, isBeforeSync}: Extract<CommitEvent, {kind: 'failed'}>): Transition {
	const {core} = state;
	switch (state.kind) {
		// What changed is still to be taken.
		case 'taking': {
			return refuse(core, error, {levels: bothLevels, upTo: Infinity, isLocked: true});
		}

		case 'storing': {
			return refuse(core, error, {levels: bothLevels, upTo: state.covered, isLocked: true});
		}

		case 'appending': {
			return isBeforeSync ? leaveLog(core, error, code) : interrupt(core, core.generation, error);
		}

		// The state counts, and what waits for it has it; the pool goes on with what it has.
		case 'advancing': {
			return refuse(core, error, {levels: bothLevels, upTo: state.covered, isLocked: false});
		}

		case 'idle':
		case 'interrupted': {
			throw new Error(`the commit protocol is broken: "${state.kind}" waits for nothing that could fail`);
		}

		case 'anchoring_flush':
		case 'locking': {
			return interrupt(core, core.generation, error);
		}

		case 'sealing': {
			return interrupt(core, state.checkpoint.superblock.lastSecuredGeneration, error);
		}

		case 'emptying':
		case 'syncing_emptied':
		case 'naming':
		case 'announcing':
		case 'writing':
		case 'syncing':
		case 'anchoring':
		case 'clearing_keys': {
			return interrupt(core, state.sealed.superblock.lastSecuredGeneration, error);
		}
	}
}

/**
 * Entries could not be written, and nothing has happened. The device does not name these changes again, so a checkpoint
 * has to follow, whatever happens now. A log with a bad block is of no use until the device is opened again; a full
 * host may have room the next time.
 */
function leaveLog(core: Core, error: unknown, code: string | undefined): Transition {
	const isBroken = code !== 'no_space';
	const log = core.log && {...core.log, isIncomplete: true, isBroken: core.log.isBroken || isBroken};
	return {
		state: {kind: 'locking', core: {...core, log}},
		...(isBroken && {
			notices: [{kind: 'log_broken', reason: error instanceof Error ? error.message : String(error)}],
		}),
		action: {kind: 'lock'},
	};
}

/** Nothing has happened: whoever waits for what was to be covered is told so, and the others are served next. */
function refuse(
	core: Core,
	error: unknown,
	{levels, upTo, isLocked}: {readonly levels: readonly Level[]; readonly upTo: number; readonly isLocked: boolean},
): Transition {
	const left = (level: Level): number =>
		levels.includes(level) && core.wanted[level] <= upTo ? 0 : core.wanted[level];
	const edits = levels.includes('checkpoint')
		? core.edits.filter(({change, isOfTrees}) => isOfTrees || change > upTo)
		: core.edits;
	return begin({...core, wanted: {flush: left('flush'), checkpoint: left('checkpoint')}, edits}, [
		...(isLocked ? unlock : []),
		{kind: 'refuse', levels, upTo, error},
	]);
}

function interrupt(core: Core, generation: Generation, cause: unknown): Transition {
	const error = new CommitInterrupted(
		`the checkpoint of generation ${generation} failed: ${cause instanceof Error ? cause.message : String(cause)}`,
	);
	return {
		state: {kind: 'interrupted', core, error},
		notices: [
			{kind: 'interrupted', error, levels: bothLevels},
			{kind: 'refuse', levels: bothLevels, upTo: Infinity, error},
		],
	};
}
