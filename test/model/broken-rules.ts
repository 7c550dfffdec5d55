/** The commit protocol with one of its rules broken: each has to be found by the exploration. */
import {transition} from '../../components/superblock_control/commit-machine.js';
import type {Transition, CommitEvent, Action, CommitState} from '../../components/superblock_control/commit-state.js';
import {soundRules, type Budget, type ModelAction, type Rules} from './commit-world.js';

type Machine = typeof transition;

/** The machine with its answers changed. */
function changed(change: (result: Transition, state: CommitState, event: CommitEvent) => Transition): Rules {
	return {...soundRules, transition: (state, event) => change(transition(state, event), state, event)};
}

/** Another action in the place of what the machine asks for in this state. */
function instead(kind: CommitState['kind'], action: (asked: Action, state: CommitState) => ModelAction): Rules {
	return changed(result =>
		result.state.kind === kind && result.action
			? {...result, action: action(result.action, result.state) as Action}
			: result,
	);
}

/** What the machine waits for in this state is taken for done. */
function skipping(kind: CommitState['kind'], answer: CommitEvent): Rules {
	const skip: Machine = (state, event) => {
		const result = transition(state, event);
		if (result.state.kind !== kind || result.state.kind === state.kind) {
			return result;
		}

		const next = transition(result.state, answer);
		return {...next, notices: [...(result.notices ?? []), ...(next.notices ?? [])]};
	};
	return {...soundRules, transition: skip};
}

/** Somebody is told that changes are durable as soon as this state is reached. */
function answeringAt(kind: CommitState['kind']): Rules {
	return changed((result, before) => {
		const {state} = result;
		if (state.kind !== kind || before.kind === kind) {
			return result;
		}

		const covered = 'covered' in state ? state.covered : 'sealed' in state ? state.sealed.covered : 0;
		const durable =
			'sealed' in state ? {flush: covered, checkpoint: covered} : {...state.core.durable, flush: covered};
		const edits =
			'sealed' in state
				? [{kind: 'checkpointed', superblock: state.sealed.superblock, edits: state.sealed.edits} as const]
				: [];
		return {
			...result,
			state: {...state, core: {...state.core, durable}},
			notices: [...(result.notices ?? []), ...edits, {kind: 'settle'}],
		};
	});
}

/** What the exploration finds at the latest with so much left to happen. */
const losses: Partial<Budget> = {writes: 2, flushes: 2, powerLosses: 2};
const faults: Partial<Budget> = {writes: 2, flushes: 2, powerLosses: 1, faults: 1};
const snapshots: Partial<Budget> = {writes: 2, flushes: 1, snapshots: 1, powerLosses: 1};
const rekeyings: Partial<Budget> = {writes: 1, flushes: 1, rekeyings: 1, powerLosses: 1};

export interface BrokenRule {
	/** As a sentence. */
	readonly rule: string;
	/** The protocol without it. */
	readonly rules: Rules;
	readonly budget: Partial<Budget>;
}

const protocols: Readonly<Record<string, readonly [Rules, Partial<Budget>]>> = {
	'what a superblock refers to is durable before it is written': [
		instead('announcing', action =>
			action.kind === 'sync_and_announce' ? {kind: 'announce', hash: action.hash} : action,
		),
		losses,
	],
	'a superblock is announced before it is written': [
		instead('announcing', () => ({kind: 'sync_after_announcement'})),
		losses,
	],
	'a superblock is durable before it is anchored': [skipping('syncing', {kind: 'synced'}), losses],
	'a superblock is durable before anybody is told': [answeringAt('syncing'), losses],
	'a superblock is written before it is anchored': [skipping('writing', {kind: 'written'}), losses],
	'a superblock never takes the slot of the one that counts': [
		instead('writing', (action, {core}) =>
			action.kind === 'write_superblock' ? {...action, slot: core.slot} : action,
		),
		losses,
	],
	'data and entries are durable before they are anchored': [
		instead('appending', action => (action.kind === 'append' ? {kind: 'append_alone', append: action} : action)),
		losses,
	],
	'a failed sync of the log is no failed writing of it': [
		{
			...soundRules,
			transition: (state, event) =>
				transition(state, event.kind === 'failed' ? {...event, isBeforeSync: true} : event),
		},
		faults,
	],
	'a flush is anchored before anybody is told': [answeringAt('anchoring_flush'), losses],
	"entries lie behind the log's tail": [
		instead('appending', action =>
			action.kind === 'append' && action.log.tail.usedBlockCount > 0
				? {
						...action,
						log: {
							...action.log,
							tail: {...action.log.tail, usedBlockCount: action.log.tail.usedBlockCount - 1},
						},
					}
				: action,
		),
		losses,
	],
	'an entry names the hash that the anchor keeps': [
		instead('appending', (action, {core}) =>
			action.kind === 'append' && action.log.tail.usedBlockCount > 0
				? {
						...action,
						log: {
							...action.log,
							tail: {
								...action.log.tail,
								hash:
									core.latest === core.superblock
										? core.anchoredHash.map(byte => byte ^ 1)
										: core.anchoredHash,
							},
						},
					}
				: action,
		),
		losses,
	],
	'changes that the log has not taken need a checkpoint': [
		changed(result => ({
			...result,
			state: {
				...result.state,
				core: {
					...result.state.core,
					log: result.state.core.log && {...result.state.core.log, isIncomplete: false},
				},
			},
		})),
		faults,
	],
	'nothing goes on after a failure half-way': [
		{
			...soundRules,
			overlooksFailedLogSync: true,
			transition: (state, event) =>
				event.kind === 'failed' && state.kind === 'syncing'
					? transition(state, {kind: 'synced'})
					: transition(state, event),
		},
		faults,
	],
	'the pool goes by the anchored superblock': [
		{
			...soundRules,
			transition: (state, event) => {
				if (state.kind === 'writing' && event.kind === 'advanced') {
					// The pool advanced before; now the superblock is written.
					const {slot, block} = state.sealed;
					return {state, action: {kind: 'write_superblock', slot, block}};
				}

				const result = transition(state, event);
				return result.state.kind === 'writing' && state.kind !== 'writing'
					? {...result, action: {kind: 'advance', superblock: result.state.sealed.superblock}}
					: result;
			},
		},
		snapshots,
	],
	'what a crash has left in a slot is emptied before the next is announced': [
		changed(result => ({
			...result,
			state: {...result.state, core: {...result.state.core, strayedSlot: undefined}},
		})),
		{writes: 1, flushes: 1, snapshots: 1, powerLosses: 2},
	],
	'a log behind which more may lie is not written': [
		changed(result => ({
			...result,
			state: {
				...result.state,
				core: {...result.state.core, log: result.state.core.log && {...result.state.core.log, isSettled: true}},
			},
		})),
		faults,
	],
	'a commit covers what was acknowledged before its trees were taken': [
		{
			...soundRules,
			transition: (state, event) => {
				// Edits and changes that come while trees are stored are taken for parts of them.
				if (state.kind === 'storing' && event.kind === 'stored') {
					const last = Math.max(
						state.core.wanted.flush,
						state.core.wanted.checkpoint,
						...state.core.edits.map(({change}) => change),
					);
					return transition({...state, covered: Math.max(state.covered, last)}, event);
				}

				return transition(state, event);
			},
		},
		snapshots,
	],
	'trees and superblock change together': [
		changed((result, _state, event) =>
			event.kind === 'locked' ? {...result, notices: [{kind: 'unlock'}, ...(result.notices ?? [])]} : result,
		),
		rekeyings,
	],
	'a superblock names at least as many blocks as its keys have sealed': [
		{
			...soundRules,
			transition: (state, event) =>
				event.kind === 'stored'
					? transition(state, {
							...event,
							sealedCounts: event.sealedCounts && {
								...event.sealedCounts,
								current: event.sealedCounts.current - 2 ** 20,
							},
						})
					: transition(state, event),
		},
		losses,
	],
	'the names that count are never overwritten': [
		instead('naming', (action, {core}) =>
			action.kind === 'write_directory' && core.superblock.snapshotDirectory
				? {
						...action,
						address: core.superblock.snapshotDirectory.firstPba + core.superblock.snapshotDirectory.place,
					}
				: action,
		),
		snapshots,
	],
	'old keys are given up only when the superblock without them counts': [
		{
			...soundRules,
			transition: (state, event) => {
				if (state.kind === 'writing' && event.kind === 'cleared') {
					const {slot, block} = state.sealed;
					return {state, action: {kind: 'write_superblock', slot, block}};
				}

				const result = transition(state, event);
				const {state: after} = result;
				return after.kind === 'writing' &&
					state.kind !== 'writing' &&
					after.sealed.superblock.currentKey.id !== after.core.superblock.previousKey?.id &&
					after.core.superblock.previousKey &&
					!after.sealed.superblock.previousKey
					? {
							...result,
							action: {
								kind: 'clear_old_keys',
								slot: after.sealed.slot,
								superblock: after.sealed.superblock,
							},
						}
					: result;
			},
		},
		rekeyings,
	],
	'a superblock that was announced is written once more before it is anchored': [
		{
			...soundRules,
			checkpointRecovery: opened => soundRules.checkpointRecovery(opened).filter(({kind}) => kind !== 'rewrite'),
		},
		{writes: 1, snapshots: 1, powerLosses: 1, faults: 1},
	],
	'a flush that was cut off is written once more before it is anchored': [
		{
			...soundRules,
			flushRecovery: (opened, area) =>
				soundRules.flushRecovery(opened, area).filter(({kind}) => kind !== 'rewrite'),
		},
		faults,
	],
	'a recovery syncs before it anchors': [
		{
			...soundRules,
			checkpointRecovery: opened => soundRules.checkpointRecovery(opened).filter(({kind}) => kind !== 'sync'),
			flushRecovery: (opened, area) => soundRules.flushRecovery(opened, area).filter(({kind}) => kind !== 'sync'),
		},
		losses,
	],
	'a superblock that is newer than the anchor, and was not announced, is refused': [
		{
			...soundRules,
			judgeStanding: search =>
				soundRules.judgeStanding({
					...search,
					beyond: search.beyond && {
						...search.beyond,
						superblocks: search.beyond.superblocks.filter(({isAnnounced}) => isAnnounced),
					},
				}),
		},
		losses,
	],
	'more than one flush behind the anchor is refused': [
		{
			...soundRules,
			judgeStanding: search =>
				soundRules.judgeStanding({
					...search,
					beyond: search.beyond && {
						...search.beyond,
						flushes: {whole: search.beyond.flushes.whole.slice(0, 1), isBegun: false},
					},
				}),
		},
		losses,
	],
	'a flush that is all there behind the anchor is taken over': [
		{
			...soundRules,
			judgeStanding: search => ({...soundRules.judgeStanding(search), ahead: [], isLogSettled: true}),
		},
		losses,
	],
};

export const brokenRules: readonly BrokenRule[] = Object.entries(protocols).map(([rule, [rules, budget]]) => ({
	rule,
	rules,
	budget,
}));
