/**
 * The small world that the commit protocol is explored in: a medium that keeps what is not synced apart, a trust
 * anchor, a device of two blocks on six places, and its clients. A world is a value: each step makes others of it. The
 * commit machine, the plans of a recovery and the judgement of what an opening finds are the product's own; `Rules` are
 * what a test may break of them.
 */
import {type Standing, judgeStanding} from '../../components/lib/format/open-superblock.js';
import type {Beyond} from '../../components/lib/format/superblock-search.js';
import type {LogEntry} from '../../components/lib/format/flush-log.js';
import {directoryPba, encodeDirectory, namesOf} from '../../components/lib/container/snapshot-directory.js';
import type {Superblock} from '../../components/lib/format/superblock.js';
import {openedState, transition} from '../../components/superblock_control/commit-machine.js';
import type {
	Transition,
	CommitEvent,
	Action,
	CommitState,
	MadeEdit,
	Level,
} from '../../components/superblock_control/commit-state.js';
import {
	checkpointRecovery,
	flushRecovery,
	type RecoveryStep,
} from '../../components/superblock_control/recovery-plan.js';
import {
	currentSnapshotOf,
	firstGenerationAfter,
	keptSnapshots,
	type StoredTrees,
	type SuperblockEdit,
} from '../../components/superblock_control/transition.js';
import {
	addressCount,
	contentOf,
	currentTree,
	dataCode,
	firstLogBlock,
	firstPlace,
	hashOf,
	keyIdOf,
	logBlockCount,
	placeCount,
	placesOf,
	placesOfAll,
	slotCount,
	treeBytes,
	treeOfBytes,
	vbaCount,
	versionOf,
	type Contents,
	type Entry,
	type Tree,
} from './numbered-blocks.js';

/** What a test may break. */
export interface Rules {
	readonly transition: typeof transition;
	readonly checkpointRecovery: typeof checkpointRecovery;
	readonly flushRecovery: typeof flushRecovery;
	/** What is found when the container is opened. */
	readonly judgeStanding: typeof judgeStanding;
	/** A sync of the log that fails is taken for done. */
	readonly overlooksFailedLogSync?: true;
}

export const soundRules: Rules = {transition, checkpointRecovery, flushRecovery, judgeStanding};

/** What the machine asks for, and what is left of it when a part is done. */
export type ModelAction =
	| Action
	| {readonly kind: 'announce'; readonly hash: Uint8Array}
	| {readonly kind: 'sync_after_announcement'}
	| {readonly kind: 'sync_cleared'}
	| {readonly kind: 'sync_appended'; readonly appended: CommitEvent}
	/** Nothing is synced after the entries. */
	| {readonly kind: 'append_alone'; readonly append: Extract<Action, {kind: 'append'}>}
	/** The trees as they were when storing began; what is written from then on is of the next state. */
	| {readonly kind: 'finish_storing'; readonly trees: StoredTrees};

export interface Write {
	readonly address: number;
	readonly content: number;
	/** A sync of it has failed: no later one brings it to the medium. */
	readonly isLost: boolean;
}

/** What the trust anchor remembers; contents in place of hashes. */
export interface AnchorRecord {
	readonly content: number;
	readonly generation: number;
	/** 0 where nothing is announced. */
	readonly intended: number;
}

interface Waiter {
	readonly level: Level;
	readonly change: number;
	/** Versions that were acknowledged when it was asked for. */
	readonly versions: readonly [number, number];
	readonly edit: SuperblockEdit['kind'] | undefined;
	readonly made: MadeEdit | undefined;
}

/** What is left to do at most. */
export interface Budget {
	readonly writes: number;
	readonly flushes: number;
	readonly snapshots: number;
	readonly rekeyings: number;
	readonly powerLosses: number;
	readonly kills: number;
	/** Failures of medium or trust anchor. */
	readonly faults: number;
}

/** A snapshot that somebody was told of. */
interface KeptSnapshot {
	readonly generation: number;
	readonly versions: readonly [number, number];
}

export interface World {
	readonly durable: readonly number[];
	readonly unsynced: readonly Write[];
	readonly record: AnchorRecord;
	/** What a loss of power leaves for certain. */
	readonly durableRecord: AnchorRecord;
	/** Records that were there before: copies of the anchor from another time. */
	readonly older: readonly AnchorRecord[];

	/** What is left of a recovery; undefined where the device runs. */
	readonly recovery: readonly RecoveryStep[] | undefined;
	readonly machine: CommitState;
	readonly action: ModelAction | undefined;
	readonly isLocked: boolean;
	readonly changeCount: number;
	readonly waiters: readonly Waiter[];
	/** The log is being taken over: no client is served yet. */
	readonly isReplaying: boolean;

	readonly tree: Tree;
	/** VBAs that the log has to name next, one bit each. */
	readonly dirty: number;
	/** The log cannot say what has changed. */
	readonly isUnloggable: boolean;
	/** Places that a state on its way refers to, or the log. */
	readonly frozen: number;
	/** Places that the pool knows to be in use by the secured state. */
	readonly horizon: number;
	/** Trees of kept snapshots that a rekeying has changed, by generation. */
	readonly rekeyed: ReadonlyArray<readonly [number, Tree]>;
	/** Of each VBA, the key that it is sealed with. */
	readonly keys: readonly [number, number];

	/** Newest version of each VBA that was ever written, and that an opening may not fall behind. */
	readonly written: readonly [number, number];
	readonly acknowledged: readonly [number, number];
	readonly kept: readonly KeptSnapshot[];
	readonly acknowledgedKeyId: number;
	/** Blocks that each key has sealed. */
	readonly sealed: readonly [number, number];
	readonly left: Budget;
}

/** An invariant does not hold. */
export class Violation extends Error {
	override readonly name = 'Violation';
}

function require(condition: boolean, text: string): asserts condition {
	if (!condition) {
		throw new Violation(text);
	}
}

type Pair = readonly [number, number];

function withAt(pair: Pair, index: number, value: number): Pair {
	return index === 0 ? [value, pair[1]] : [pair[0], value];
}

const placeIn = (tree: Tree, vba: number): number => tree[2 * vba];
const codeIn = (tree: Tree, vba: number): number => tree[2 * vba + 1];

function withLeaf(tree: Tree, vba: number, place: number, code: number): Tree {
	return vba === 0 ? [place, code, tree[2], tree[3]] : [tree[0], tree[1], place, code];
}

/** What reads back. */
export function readAt({durable, unsynced}: Pick<World, 'durable' | 'unsynced'>, address: number): number {
	for (let i = unsynced.length - 1; i >= 0; i--) {
		if (unsynced[i].address === address) {
			return unsynced[i].content;
		}
	}

	return durable[address];
}

function writeTo(world: World, address: number, content: number): World {
	return {...world, unsynced: [...world.unsynced, {address, content, isLost: false}]};
}

function syncedWorld(world: World): World {
	const durable = [...world.durable];
	for (const {address, content, isLost} of world.unsynced) {
		if (!isLost) {
			durable[address] = content;
		}
	}

	// One that was lost stays readable until something else is written in its place.
	const unsynced = world.unsynced.filter(
		({address, isLost}, i) =>
			isLost && !world.unsynced.slice(i + 1).some(later => later.address === address && !later.isLost),
	);
	return {...world, durable, unsynced};
}

/** The key that a superblock has for a VBA. */
function keyFor({state, rekeyingVba, currentKey, previousKey}: Superblock, vba: number): number {
	return state === 'rekeying' && previousKey && vba >= rekeyingVba ? previousKey.id : currentKey.id;
}

/** The explored protocol: its rules, and the contents that came up so far. */
export class Protocol {
	readonly rules: Rules;
	readonly contents: Contents;

	constructor(rules: Rules, contents: Contents) {
		this.rules = rules;
		this.contents = contents;
	}

	/** A device whose two blocks were written once, opened. */
	start(superblock: Superblock, left: Budget): World {
		const durable = Array.from({length: addressCount}, () => 0);
		durable[0] = this.contents.superblock(superblock);
		const tree = currentTree(superblock);
		for (let vba = 0; vba < vbaCount; vba++) {
			durable[placeIn(tree, vba)] = codeIn(tree, vba);
		}

		const record = {content: durable[0], generation: superblock.lastSecuredGeneration, intended: 0};
		const blank: World = {
			durable,
			unsynced: [],
			record,
			durableRecord: record,
			older: [],
			recovery: undefined,
			machine: openedState({superblock, slot: 0, anchoredHash: hashOf(durable[0]), currentGeneration: 1}),
			action: undefined,
			isLocked: false,
			changeCount: 0,
			waiters: [],
			isReplaying: false,
			tree,
			dirty: 0,
			isUnloggable: false,
			frozen: 0,
			horizon: 0,
			rekeyed: [],
			keys: [1, 1],
			written: [0, 0],
			acknowledged: [0, 0],
			kept: [],
			acknowledgedKeyId: 1,
			sealed: [1, 0],
			left,
		};
		return this.#open(blank);
	}

	/** All worlds that one step makes of this one; `report` is told what the step was. @throws Violation */
	successors(world: World, report: (text: string, next: World) => void): void {
		if (world.recovery) {
			this.#recover(world, world.recovery, report);
		} else {
			this.#perform(world, report);
			if (!world.isReplaying && world.machine.kind !== 'interrupted') {
				this.#serve(world, report);
			}
		}

		this.#crash(world, report);
	}

	// ------------------------------------------------------------------ the commit machine

	#send(world: World, event: CommitEvent): World {
		const {state, notices = [], action}: Transition = this.rules.transition(world.machine, event);
		if (state.kind === 'interrupted' && world.machine.kind !== 'interrupted' && event.kind !== 'failed') {
			throw new Violation(state.error.message);
		}

		let next: World = {...world, machine: state, action};
		for (const notice of notices) {
			switch (notice.kind) {
				case 'unlock': {
					next = {...next, isLocked: false};
					break;
				}

				case 'checkpointed': {
					const made = notice.edits;
					next = {
						...next,
						waiters: next.waiters.map(waiter =>
							waiter.edit === undefined
								? waiter
								: {...waiter, made: made.find(({change}) => change === waiter.change)},
						),
					};
					break;
				}

				case 'settle': {
					next = this.#settle(next);
					break;
				}

				case 'refuse': {
					const {levels, upTo} = notice;
					next = {
						...next,
						waiters: next.waiters.filter(({change, level}) => change > upTo || !levels.includes(level)),
					};
					break;
				}

				default: {
					break;
				}
			}
		}

		return next;
	}

	/** A request or an edit beside what goes on: what is under way stays. */
	#deliver(world: World, event: CommitEvent): World {
		const {action} = world;
		const next = this.#send(world, event);
		return {...next, action: action ?? next.action};
	}

	#settle(world: World): World {
		const {durable} = world.machine.core;
		let next: World = {...world, waiters: world.waiters.filter(({level, change}) => change > durable[level])};
		for (const {level, change, versions, edit, made} of world.waiters) {
			if (change > durable[level]) {
				continue;
			}

			const {acknowledged} = next;
			next = {
				...next,
				isReplaying: false,
				acknowledged: [Math.max(acknowledged[0], versions[0]), Math.max(acknowledged[1], versions[1])],
			};
			if (edit !== undefined) {
				require(made !== undefined, `the edit ${edit} was acknowledged, and no superblock has made it`);
			}

			if (edit === 'keep_current' && made && made.after !== made.before) {
				const {root} = currentSnapshotOf(made.after);
				const tree = treeOfBytes(root.hash);
				const content: Pair = [versionOf(codeIn(tree, 0)), versionOf(codeIn(tree, 1))];
				require(content[0] >= versions[0] &&
					content[1] >= versions[1], 'a snapshot lacks what was acknowledged before it was asked for');
				next = {...next, kept: [...next.kept, {generation: root.generation, versions: content}]};
			}

			if (edit === 'begin_rekeying') {
				next = {...next, acknowledgedKeyId: 2};
			}
		}

		return next;
	}

	#want(world: World, level: Level, edit?: SuperblockEdit): World {
		const {tree} = world;
		const versions: Pair = [versionOf(codeIn(tree, 0)), versionOf(codeIn(tree, 1))];
		let next = world;
		if (edit) {
			const change = next.changeCount + 1;
			next = this.#deliver(
				{...next, changeCount: change},
				{kind: 'edited', edit: {change, edit, isOfTrees: false}},
			);
		}

		const change = next.changeCount;
		next = {...next, waiters: [...next.waiters, {level, change, versions, edit: edit?.kind, made: undefined}]};
		return this.#deliver(next, {kind: 'wanted', level, change});
	}

	#fail(world: World, code: string | undefined, isBeforeSync = false): World {
		return this.#send(world, {kind: 'failed', error: 'fault', code, isBeforeSync});
	}

	/** What the pending action may bring. */
	#perform(world: World, report: (text: string, next: World) => void): void {
		const {action, left} = world;
		if (!action) {
			return;
		}

		const hasFault = left.faults > 0;
		const faulty: World = hasFault ? {...world, left: {...left, faults: left.faults - 1}} : world;
		const written = (address: number, content: number, event: CommitEvent): void => {
			report(`${action.kind} ${address}`, this.#send(writeTo(world, address, content), event));
			if (hasFault) {
				report(`${action.kind} ${address} fails`, this.#fail(faulty, 'device_failed'));
				report(
					`${action.kind} ${address} fails half-way`,
					this.#fail(writeTo(faulty, address, -content), 'device_failed'),
				);
			}
		};
		const synced = (
			event: CommitEvent,
			then: (world: World) => World = next => this.#send(next, event),
			failed: (world: World) => World = next => this.#fail(next, 'device_failed'),
		): void => {
			report(action.kind, then(syncedWorld(world)));
			if (hasFault) {
				report(
					`${action.kind} fails`,
					failed({...faulty, unsynced: faulty.unsynced.map(write => ({...write, isLost: true}))}),
				);
			}
		};
		const remembered = (
			record: AnchorRecord,
			event: CommitEvent,
			then: (world: World) => World = next => this.#send(next, event),
		): void => {
			const older = [...world.older, world.record];
			report(`${action.kind}: the anchor remembers`, then({...world, record, durableRecord: record, older}));
			if (hasFault) {
				report(`${action.kind} fails: nothing was written`, this.#fail(faulty, 'storage_failed'));
				report(
					`${action.kind} fails: written, not durable`,
					this.#fail({...faulty, record, older}, 'storage_failed'),
				);
				report(
					`${action.kind} fails: written all the same`,
					this.#fail({...faulty, record, durableRecord: record, older}, 'storage_failed'),
				);
			}
		};

		switch (action.kind) {
			case 'lock': {
				report('lock', this.#send({...world, isLocked: true}, {kind: 'locked', change: world.changeCount}));
				break;
			}

			case 'take_changes': {
				this.#takeChanges(world, action.countMax, report);
				break;
			}

			case 'store_trees': {
				report('store trees', this.#store(world, action.nextGeneration - 1));
				if (hasFault) {
					report('storing fails', this.#fail(faulty, 'no_space'));
				}

				break;
			}

			case 'finish_storing': {
				const keyId = world.machine.core.latest.currentKey.id;
				const sealedCounts = {
					keyId,
					current: world.sealed[keyId - 1],
					previous: keyId === 2 ? world.sealed[0] : 0,
				};
				report('trees are stored', this.#send(world, {kind: 'stored', trees: action.trees, sealedCounts}));
				break;
			}

			case 'append': {
				this.#append(
					world,
					hasFault ? faulty : undefined,
					action,
					(next, appended) => ({
						...next,
						action: {kind: 'sync_appended', appended},
					}),
					report,
				);
				break;
			}

			case 'append_alone': {
				this.#append(
					world,
					hasFault ? faulty : undefined,
					action.append,
					(next, appended) => this.#send(next, appended),
					report,
				);
				break;
			}

			case 'sync_appended': {
				synced(
					action.appended,
					undefined,
					this.rules.overlooksFailedLogSync ? next => this.#send(next, action.appended) : undefined,
				);
				break;
			}

			case 'seal': {
				const {superblock, directory} = this.#named(action.before, action.superblock);
				const hash = hashOf(this.contents.superblock(superblock));
				report('seal', this.#send(world, {kind: 'sealed', superblock, directory, block: hash, hash}));
				break;
			}

			case 'empty_slot': {
				written(action.slot, 0, {kind: 'written'});
				break;
			}

			case 'write_directory': {
				written(action.address, this.contents.directory(action.data), {kind: 'written'});
				break;
			}

			case 'write_superblock': {
				written(action.slot, contentOf(action.block), {kind: 'written'});
				break;
			}

			case 'sync': {
				synced({kind: 'synced'});
				break;
			}

			case 'sync_and_announce': {
				synced({kind: 'announced'}, next => ({...next, action: {kind: 'announce', hash: action.hash}}));
				remembered({...world.record, intended: contentOf(action.hash)}, {kind: 'announced'}, next => ({
					...next,
					action: {kind: 'sync_after_announcement'},
				}));
				break;
			}

			case 'announce': {
				remembered({...world.record, intended: contentOf(action.hash)}, {kind: 'announced'});
				break;
			}

			case 'sync_after_announcement': {
				synced({kind: 'announced'});
				break;
			}

			case 'anchor': {
				remembered(
					{content: contentOf(action.hash), generation: action.generation, intended: 0},
					{kind: 'anchored', hasFlushKey: true},
				);
				break;
			}

			case 'clear_old_keys': {
				report('empty slots with old keys', {
					...this.#clearOldKeys(world, action.slot, action.superblock),
					action: {kind: 'sync_cleared'},
				});
				break;
			}

			case 'sync_cleared': {
				synced({kind: 'cleared'});
				break;
			}

			case 'advance': {
				report(
					'the pool advances',
					this.#send({...world, horizon: placesOfAll(action.superblock), frozen: 0}, {kind: 'advanced'}),
				);
				break;
			}
		}
	}

	#takeChanges(world: World, countMax: number, report: (text: string, next: World) => void): void {
		const {dirty, isUnloggable, machine, tree, changeCount: change} = world;
		const vbas = [0, 1].filter(vba => (dirty & (1 << vba)) !== 0);
		const used = machine.core.log?.tail.usedBlockCount ?? 0;
		if (isUnloggable || vbas.length > Math.min(countMax, logBlockCount - used)) {
			report('the log cannot say what has changed', this.#send(world, {kind: 'changes', changes: null, change}));
			return;
		}

		const addresses = vbas.map(vba => placeIn(tree, vba));
		const changes = {vbas, addresses, leaves: vbas, labels: Uint8Array.from(vbas, vba => codeIn(tree, vba))};
		const frozen = addresses.reduce((places, place) => places | (1 << place), world.frozen);
		report(
			`changes of ${vbas.join()} are taken for the log`,
			this.#send({...world, dirty: 0, frozen}, {kind: 'changes', changes, change}),
		);
	}

	#append(
		world: World,
		/** Undefined where there may be no fault any more. */
		faulty: World | undefined,
		{log: {tail}, changes, generation}: Extract<Action, {kind: 'append'}>,
		then: (world: World, appended: CommitEvent) => World,
		report: (text: string, next: World) => void,
	): void {
		let previous = contentOf(tail.hash);
		const writes: Write[] = changes.vbas.map((vba, i) => {
			const content = this.contents.entry({
				generation,
				previous,
				position: tail.usedBlockCount + i,
				flush: {number: tail.flushCount, left: changes.vbas.length - i - 1},
				changes: {
					vbas: [vba],
					addresses: [changes.addresses[i]],
					leaves: [changes.leaves[i]],
					labels: changes.labels.slice(i, i + 1),
				},
			});
			previous = content;
			return {address: firstLogBlock + tail.usedBlockCount + i, content, isLost: false};
		});
		const appended: CommitEvent = {
			kind: 'appended',
			tail: {
				usedBlockCount: tail.usedBlockCount + writes.length,
				flushCount: tail.flushCount + 1,
				hash: hashOf(previous),
			},
		};
		report('append to the log', then({...world, unsynced: [...world.unsynced, ...writes]}, appended));
		if (faulty) {
			for (const code of ['no_space', 'device_failed']) {
				report(`appending fails (${code})`, this.#fail(faulty, code, true));
			}

			// Nobody says that it was the writing.
			report('appending fails somehow', this.#fail(faulty, undefined));
			report(
				'appending fails, and all has arrived',
				this.#fail({...faulty, unsynced: [...faulty.unsynced, ...writes]}, 'device_failed', true),
			);
			report(
				'appending fails half-way',
				this.#fail({...faulty, unsynced: [...faulty.unsynced, ...writes.slice(0, -1)]}, 'no_space', true),
			);
		}
	}

	#store(world: World, generation: number): World {
		const {
			machine: {core},
			tree,
			rekeyed,
		} = world;
		const {superblock} = core;
		const snapshot = currentSnapshotOf(superblock);
		const rootOf = (content: Tree, address: number) => ({
			root: {hash: treeBytes(content), address, generation},
			leafCount: snapshot.leafCount,
			maxLevel: snapshot.maxLevel,
			degree: superblock.degree,
		});
		const frozen = rekeyed.reduce(
			(places, [, changed]) => places | placesOf(changed),
			world.frozen | placesOf(tree),
		);
		const trees = {
			// Each state has a root block of its own.
			tree: rootOf(tree, 100 + generation),
			freeTree: superblock.freeTree,
			metaTree: superblock.metaTree,
			snapshots: rekeyed.map(([kept, changed]) => ({generation: kept, tree: rootOf(changed, 200 + generation)})),
		};
		return {...world, dirty: 0, isUnloggable: false, frozen, rekeyed: [], action: {kind: 'finish_storing', trees}};
	}

	/** The superblock with the place of its snapshots' names: another one where they have changed. */
	#named(
		before: Superblock,
		superblock: Superblock,
	): {superblock: Superblock; directory: {address: number; data: Uint8Array} | undefined} {
		const place = before.snapshotDirectory;
		const names = namesOf(superblock);
		if (!place || [...names].join() === [...namesOf(before)].join()) {
			return {superblock, directory: undefined};
		}

		const data = encodeDirectory(names);
		const snapshotDirectory = {
			...place,
			place: place.place === 0 ? 1 : 0,
			hash: Uint8Array.of(...hashOf(this.contents.directory(data))),
		} as const;
		return {
			superblock: {...superblock, snapshotDirectory},
			directory: {address: directoryPba(snapshotDirectory), data},
		};
	}

	#clearOldKeys(world: World, slot: number, {currentKey, previousKey}: Superblock): World {
		let next = world;
		for (let other = 0; other < slotCount; other++) {
			const stale = this.contents.superblockOf(Math.abs(readAt(world, other)));
			const names = (id: number | undefined): boolean =>
				id === undefined || id === currentKey.id || id === previousKey?.id;
			if (other !== slot && stale && !(names(stale.currentKey.id) && names(stale.previousKey?.id))) {
				next = writeTo(next, other, 0);
			}
		}

		return next;
	}

	// ------------------------------------------------------------------ clients

	#serve(world: World, report: (text: string, next: World) => void): void {
		const {
			left,
			machine: {core},
		} = world;
		if (left.writes > 0) {
			for (let vba = 0; vba < vbaCount; vba++) {
				const next = this.#write({...world, left: {...left, writes: left.writes - 1}}, vba);
				if (next) {
					report(`write ${vba}`, next);
				}
			}
		}

		if (left.flushes > 0 && world.changeCount > core.durable.flush) {
			report('flush', this.#want({...world, left: {...left, flushes: left.flushes - 1}}, 'flush'));
		}

		if (left.snapshots > 0) {
			report(
				'create a snapshot',
				this.#want({...world, left: {...left, snapshots: left.snapshots - 1}}, 'checkpoint', {
					kind: 'keep_current',
					name: 'a',
					time: undefined,
				}),
			);
		}

		if (left.rekeyings > 0 && core.superblock.state === 'normal' && core.superblock.currentKey.id === 1) {
			report(
				'begin a rekeying',
				this.#want({...world, left: {...left, rekeyings: left.rekeyings - 1}}, 'checkpoint', {
					kind: 'begin_rekeying',
					key: {wrapped: new Uint8Array(32).fill(2), id: 2},
				}),
			);
		}

		if (
			world.acknowledgedKeyId === 2 &&
			!world.isLocked &&
			core.superblock.state === 'rekeying' &&
			world.keys[1] === 1
		) {
			this.#rekey(world, report);
		}
	}

	/** The places that may not be handed out. */
	#held({frozen, horizon, tree, rekeyed}: World): number {
		return rekeyed.reduce((places, [, changed]) => places | placesOf(changed), frozen | horizon | placesOf(tree));
	}

	#allocate(world: World): number | undefined {
		const held = this.#held(world);
		for (let place = firstPlace; place < firstPlace + placeCount; place++) {
			if ((held & (1 << place)) === 0) {
				return place;
			}
		}

		return undefined;
	}

	/** Undefined where the pool has nothing to hand out. */
	#write(world: World, vba: number): World | undefined {
		const own = placeIn(world.tree, vba);
		const fixed = world.rekeyed.reduce(
			(places, [, changed]) => places | placesOf(changed),
			world.frozen | world.horizon,
		);
		const place = (fixed & (1 << own)) === 0 ? own : this.#allocate(world);
		if (place === undefined) {
			return undefined;
		}

		const version = world.written[vba] + 1;
		return this.#seal(
			{
				...world,
				written: withAt(world.written, vba, version),
				dirty: world.dirty | (1 << vba),
				changeCount: world.changeCount + 1,
			},
			vba,
			place,
			dataCode(vba, version, world.keys[vba]),
		);
	}

	#seal(world: World, vba: number, place: number, code: number): World {
		const {tree, sealed} = world;
		const keyIndex = keyIdOf(code) - 1;
		return writeTo(
			{...world, tree: withLeaf(tree, vba, place, code), sealed: withAt(sealed, keyIndex, sealed[keyIndex] + 1)},
			place,
			code,
		);
	}

	/** Gives the next leaf of all trees the new key; the step that gives it to the last one ends the rekeying. */
	#rekey(world: World, report: (text: string, next: World) => void): void {
		const vba = world.keys[0] === 1 ? 0 : 1;
		const place = this.#allocate(world);
		if (place === undefined) {
			return;
		}

		const code = codeIn(world.tree, vba);
		const renew = (old: number): number => dataCode(vba, versionOf(old), 2);
		let next = this.#seal(
			{...world, keys: withAt(world.keys, vba, 2), isUnloggable: true},
			vba,
			place,
			renew(code),
		);
		const {latest} = next.machine.core;
		for (const {root} of keptSnapshots(latest)) {
			const tree =
				next.rekeyed.find(([generation]) => generation === root.generation)?.[1] ?? treeOfBytes(root.hash);
			const kept = codeIn(tree, vba);
			let own = place;
			if (kept !== code) {
				const other = this.#allocate(next);
				if (other === undefined) {
					return;
				}

				own = other;
				const current = next.tree;
				next = {...this.#seal(next, vba, own, renew(kept)), tree: current};
			}

			next = {
				...next,
				rekeyed: [
					...next.rekeyed.filter(([generation]) => generation !== root.generation),
					[root.generation, withLeaf(tree, vba, own, renew(kept))],
				],
			};
		}

		const change = next.changeCount + 1;
		const edit: SuperblockEdit = vba === 0 ? {kind: 'rekey', rekeyingVba: 1} : {kind: 'end_rekeying'};
		next = this.#deliver({...next, changeCount: change}, {kind: 'edited', edit: {change, edit, isOfTrees: true}});
		report(`rekey ${vba}`, this.#want(next, 'checkpoint'));
	}

	// ------------------------------------------------------------------ crashes and openings

	#crash(world: World, report: (text: string, next: World) => void): void {
		const {left} = world;
		// A commit that was interrupted has the component start over.
		const isInterrupted = world.machine.kind === 'interrupted';
		if (isInterrupted || left.kills > 0) {
			report('killed', this.#open(isInterrupted ? world : {...world, left: {...left, kills: left.kills - 1}}));
		}

		if (left.powerLosses > 0) {
			const records = world.durableRecord === world.record ? [world.record] : [world.record, world.durableRecord];
			for (const durable of this.#remains(world)) {
				for (const record of records) {
					report(
						'power lost',
						this.#open({
							...world,
							durable,
							unsynced: [],
							record,
							durableRecord: record,
							left: {...left, powerLosses: left.powerLosses - 1},
						}),
					);
				}
			}
		}
	}

	/** What may lie on the medium after the power failed: of each block any of what was written to it, or a part. */
	#remains(world: World): number[][] {
		let media = [[...world.durable]];
		const relevant = this.#relevantPlaces(world);
		for (const address of new Set(world.unsynced.map(write => write.address))) {
			// What nothing can refer to is read by nobody.
			if (address >= firstPlace && address < firstLogBlock && (relevant & (1 << address)) === 0) {
				continue;
			}

			const before = world.durable[address];
			const outcomes = new Set([before]);
			for (const {address: other, content} of world.unsynced) {
				if (other === address) {
					outcomes.add(content);
					if (content !== 0) {
						outcomes.add(-content);
					}

					// Sectors that two superblocks have in common may complete what the first has left in part; an
					// emptied slot shares none.
					if (address < slotCount && before < 0 && content !== 0) {
						outcomes.add(-before);
					}
				}
			}

			media = media.flatMap(durable => [...outcomes].map(content => durable.with(address, content)));
		}

		return media;
	}

	/** Places that a superblock or a log entry on the medium refers to. */
	#relevantPlaces({durable, unsynced}: World): number {
		let places = 0;
		const add = (content: number): void => {
			const superblock = this.contents.superblockOf(Math.abs(content));
			places |= superblock ? placesOfAll(superblock) : 0;
			const entry = this.contents.entryOf(content);
			places |= entry ? 1 << entry.changes.addresses[0] : 0;
		};

		for (const [address, content] of durable.entries()) {
			if (address < slotCount || address >= firstLogBlock) {
				add(content);
			}
		}

		for (const {content} of unsynced) {
			add(content);
		}

		return places;
	}

	/**
	 * The world with the device's memory gone, and the container opened again as far as nothing has to be written.
	 * @throws Violation
	 */
	#open(crashed: World): World {
		for (const record of crashed.older) {
			this.#requireNoOlder(crashed, record);
		}

		// What the anchor has read it makes durable before anybody relies on it.
		const world = {...crashed, durableRecord: crashed.record};
		const found = this.#find(world, world.record);
		require(!('refusal' in found), `what a crash has left is refused: ${'refusal' in found ? found.refusal : ''}`);
		const {standing, superblock, base} = found;
		const ahead = standing.ahead as readonly Entry[];
		const isTaken = ahead.length > 0 && this.#hasArrived(world, standing.ahead);
		const log = isTaken ? [...standing.log, ...ahead] : standing.log;
		const tree = treeWith(currentTree(superblock), log);
		this.#requireSound(world, superblock, tree);
		const opened = {...standing, superblock, hash: hashOf(base)};
		const recovery = standing.isAnnounced
			? this.rules.checkpointRecovery(opened)
			: isTaken
				? this.rules.flushRecovery(opened, {firstPba: firstLogBlock, blockCount: logBlockCount})
				: [];
		const isPlain = recovery.length === 0;
		const strayedSlot = isTaken ? undefined : standing.strayedSlot;
		const machine = openedState({
			superblock,
			slot: standing.slot,
			anchoredHash: log.at(-1)?.hash ?? hashOf(base),
			currentGeneration: firstGenerationAfter(superblock),
			hasFlushKey: true,
			strayedSlot,
			isLogSettled: standing.isLogSettled,
		});
		const next: World = {
			...world,
			recovery: isPlain ? undefined : recovery,
			machine,
			action: undefined,
			isLocked: false,
			changeCount: 0,
			waiters: [],
			isReplaying: log.length > 0,
			tree,
			dirty: 0,
			isUnloggable: log.length > 0,
			frozen: log.reduce((places, {changes}) => places | (1 << changes.addresses[0]), 0),
			horizon: placesOfAll(superblock),
			rekeyed: [],
			keys: [keyFor(superblock, 0), keyFor(superblock, 1)],
		};
		const cleared =
			standing.isAnnounced || strayedSlot !== undefined || superblock.previousKey
				? next
				: this.#clearOldKeys(next, standing.slot, superblock);
		return isPlain ? this.#run(cleared) : cleared;
	}

	/** The device serves its clients, as soon as it has taken over the log. Whatever they see now counts. */
	#run(world: World): World {
		const {tree} = world;
		const {superblock} = world.machine.core;
		const seen: World = {
			...world,
			recovery: undefined,
			acknowledged: [versionOf(codeIn(tree, 0)), versionOf(codeIn(tree, 1))],
			acknowledgedKeyId: Math.max(world.acknowledgedKeyId, superblock.currentKey.id),
			kept: keptSnapshots(superblock).map(({root}) => ({
				generation: root.generation,
				versions: [versionOf(root.hash[1]), versionOf(root.hash[3])],
			})),
		};
		return seen.isReplaying ? this.#want({...seen, changeCount: 1}, 'checkpoint') : seen;
	}

	#recover(
		world: World,
		[step, ...rest]: readonly RecoveryStep[],
		report: (text: string, next: World) => void,
	): void {
		const next = this.#recoveredBy(world, step);
		report(`recovery: ${step.kind}`, rest.length > 0 ? {...next, recovery: rest} : this.#run(next));
	}

	#recoveredBy(world: World, step: RecoveryStep): World {
		switch (step.kind) {
			case 'rewrite': {
				return step.addresses.reduce((next, address) => writeTo(next, address, readAt(world, address)), world);
			}

			case 'empty_slot': {
				return writeTo(world, step.slot, 0);
			}

			case 'sync': {
				return syncedWorld(world);
			}

			case 'anchor': {
				const record = {content: contentOf(step.hash), generation: step.generation, intended: 0};
				return {...world, record, durableRecord: record, older: [...world.older, world.record]};
			}
		}
	}

	/** What an opening with this record finds. */
	#find(
		world: World,
		record: AnchorRecord,
	): {standing: Standing; superblock: Superblock; base: number} | {refusal: string} {
		const slots = Array.from({length: slotCount}, (_, slot) => readAt(world, slot));
		const walk = (from: number): Entry[] => {
			const entries: Entry[] = [];
			for (let position = 0, previous = from; position < logBlockCount; position++) {
				const content = readAt(world, firstLogBlock + position);
				const entry = this.contents.entryOf(content);
				if (entry?.previous !== previous || entry.position !== position) {
					break;
				}

				entries.push(entry);
				previous = content;
			}

			return entries;
		};
		let base = slots.indexOf(record.content);
		let log: {slot: number; entries: Entry[]} | undefined;
		let ahead: Entry[] = [];
		if (base === -1) {
			for (const [slot, content] of slots.entries()) {
				const entries = this.contents.superblockOf(content) ? walk(content) : [];
				const end = entries.findIndex(({hash}) => contentOf(hash) === record.content);
				if (end !== -1) {
					base = slot;
					log = {slot, entries: entries.slice(0, end + 1)};
					ahead = entries.slice(end + 1);
				}
			}
		} else {
			ahead = walk(record.content);
		}

		const from = this.contents.superblockOf(slots[base]);
		if (!from) {
			return {refusal: 'no superblock leads to what the anchor keeps'};
		}

		const superblocks = slots.flatMap((content, slot) => {
			const other = slot === base ? undefined : this.contents.superblockOf(content);
			return other && other.lastSecuredGeneration > from.lastSecuredGeneration
				? [
						{
							slot,
							generation: other.lastSecuredGeneration,
							isAuthentic: true,
							isAnnounced: content === record.intended,
						},
					]
				: [];
		});
		const announced = superblocks.find(({isAnnounced}) => isAnnounced);
		const beyond: Beyond = {
			superblocks,
			flushes: flushesOf(announced ? walk(slots[announced.slot]) : ahead),
			areFlushesAuthentic: true,
			announces: true,
			isAnnouncementOpen: record.intended !== 0 && !announced,
		};
		try {
			const standing = this.rules.judgeStanding({
				base,
				secured: {hash: hashOf(record.content), generation: record.generation, creating: false},
				log,
				beyond,
			});
			const superblock = this.contents.superblockOf(slots[standing.slot]);
			return superblock
				? {standing, superblock, base: slots[standing.slot]}
				: {refusal: 'the superblock that counts is none'};
		} catch (error) {
			return {refusal: error instanceof Error ? error.message : String(error)};
		}
	}

	/** True where the data that a flush names are all there. */
	#hasArrived(world: World, ahead: readonly LogEntry[]): boolean {
		const newest = new Map(ahead.map(({changes}) => [changes.vbas[0], changes] as const));
		return [...newest.values()].every(({addresses, labels}) => readAt(world, addresses[0]) === labels[0]);
	}

	/** Everything that was acknowledged is there. @throws Violation */
	#requireSound(world: World, superblock: Superblock, tree: Tree): void {
		const {acknowledged, kept, acknowledgedKeyId, sealed} = world;
		const requireTree = (content: Tree, what: string): void => {
			for (let vba = 0; vba < vbaCount; vba++) {
				const code = codeIn(content, vba);
				require(readAt(world, placeIn(content, vba)) ===
					code, `${what}: block ${vba} is not what its label says`);
				require(keyIdOf(code) ===
					keyFor(
						superblock,
						vba,
					), `${what}: block ${vba} is not sealed with the key that the superblock has for it`);
			}
		};
		requireTree(tree, 'the device');
		for (let vba = 0; vba < vbaCount; vba++) {
			require(versionOf(codeIn(tree, vba)) >=
				acknowledged[vba], `block ${vba} is older than what was acknowledged`);
		}

		for (const {root} of keptSnapshots(superblock)) {
			requireTree(treeOfBytes(root.hash), `snapshot ${root.generation}`);
		}

		for (const {generation, versions} of kept) {
			const snapshot = keptSnapshots(superblock).find(({root}) => root.generation === generation);
			require(snapshot !== undefined, `snapshot ${generation} is gone`);
			require(versionOf(snapshot.root.hash[1]) === versions[0] &&
				versionOf(snapshot.root.hash[3]) === versions[1], `snapshot ${generation} has changed`);
		}

		const directory = superblock.snapshotDirectory;
		if (directory?.hash.some(byte => byte !== 0)) {
			const content = readAt(world, directoryPba(directory));
			require(content === contentOf(directory.hash), 'the names of the snapshots are not there');
		}

		require(superblock.currentKey.id >= acknowledgedKeyId, 'a rekeying that was begun is forgotten');
		const {current, previous} = superblock.sealedBlockCounts ?? {current: 0, previous: 0};
		const keyId = superblock.currentKey.id;
		require(current >= sealed[keyId - 1], 'the current key has sealed more blocks than the superblock says');
		require(!superblock.previousKey ||
			previous >= sealed[keyId - 2], 'the previous key has sealed more blocks than the superblock says');
	}

	/** An anchor from before is refused, or leads to what was acknowledged. @throws Violation */
	#requireNoOlder(world: World, record: AnchorRecord): void {
		const found = this.#find(world, record);
		if ('refusal' in found) {
			return;
		}

		const {standing, superblock} = found;
		const isTaken = standing.ahead.length > 0 && this.#hasArrived(world, standing.ahead);
		try {
			this.#requireSound(
				world,
				superblock,
				treeWith(currentTree(superblock), isTaken ? [...standing.log, ...standing.ahead] : standing.log),
			);
		} catch (error) {
			throw new Violation(
				`an older anchor is not refused: ${error instanceof Error ? error.message : String(error)}`,
			);
		}
	}
}

function treeWith(tree: Tree, log: readonly LogEntry[]): Tree {
	return log.reduce(
		(next, {changes: {vbas, addresses, labels}}) => withLeaf(next, vbas[0], addresses[0], labels[0]),
		tree,
	);
}

function flushesOf(entries: readonly Entry[]): Beyond['flushes'] {
	const whole: Entry[][] = [];
	for (let begin = 0; begin < entries.length;) {
		const {
			flush: {number, left},
		} = entries[begin];
		const part = entries.slice(begin, begin + left + 1);
		if (part.length <= left || part.some(({flush}, i) => flush.number !== number || flush.left !== left - i)) {
			return {whole, isBegun: true};
		}

		whole.push(part);
		begin += left + 1;
	}

	return {whole, isBegun: false};
}

const machineKeys = new WeakMap<CommitState, string>();

/** The whole world in one text: two worlds of the same text have the same futures. */
export function keyOf({contents}: Protocol, world: World): string {
	const {machine, action} = world;
	let machineKey = machineKeys.get(machine);
	if (machineKey === undefined) {
		machineKey = keyOfMachine(contents, machine);
		machineKeys.set(machine, machineKey);
	}

	const stored =
		action?.kind === 'finish_storing'
			? [action.trees.tree.root.hash, ...action.trees.snapshots.map(({tree}) => tree.root.hash)].join()
			: '';
	return [
		world.durable.join(),
		world.unsynced.map(({address, content, isLost}) => `${address}:${content}${isLost ? '!' : ''}`).join(),
		recordKey(world.record),
		recordKey(world.durableRecord),
		world.older.map(recordKey).join(),
		world.recovery?.length ?? '',
		action?.kind ?? '',
		stored,
		`${world.isLocked}${world.isReplaying}${world.isUnloggable}`,
		world.changeCount,
		world.waiters
			.map(
				({level, change, versions, edit, made}) =>
					`${level}${change}:${versions.join()}${edit}${made !== undefined}`,
			)
			.join(),
		world.tree.join(),
		world.dirty,
		world.frozen,
		world.horizon,
		world.rekeyed.join(),
		world.keys.join(),
		world.written.join(),
		world.acknowledged.join(),
		world.kept.map(({generation, versions}) => `${generation}:${versions.join()}`).join(),
		world.acknowledgedKeyId,
		world.sealed.join(),
		Object.values(world.left).join(),
		machineKey,
	].join(';');
}

function keyOfMachine(contents: Contents, machine: CommitState): string {
	const {core} = machine;
	const parts: Array<number | string> = [
		machine.kind,
		contents.superblock(core.superblock),
		core.slot,
		contents.superblock(core.latest),
		core.generation,
		contentOf(core.anchoredHash),
		core.log
			? `${core.log.tail.usedBlockCount},${core.log.tail.flushCount},${contentOf(core.log.tail.hash)},${core.log.isSettled},${core.log.isIncomplete},${core.log.isBroken}`
			: '',
		core.strayedSlot ?? '',
		core.durable.flush,
		core.durable.checkpoint,
		core.wanted.flush,
		core.wanted.checkpoint,
		core.edits.map(({change, edit, isOfTrees}) => `${change}${edit.kind}${isOfTrees}`).join(),
		'covered' in machine ? machine.covered : '',
		'tail' in machine ? contentOf(machine.tail.hash) : '',
		'sealed' in machine ? `${contentOf(machine.sealed.hash)},${machine.sealed.covered}` : '',
		'checkpoint' in machine
			? `${contents.superblock(machine.checkpoint.superblock)},${machine.checkpoint.covered}`
			: '',
	];
	return parts.join(';');
}

function recordKey({content, generation, intended}: AnchorRecord): string {
	return `${content}.${generation}.${intended}`;
}
