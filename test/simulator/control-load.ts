/** Clients that change the container as a whole, judged by the model: snapshots, reverting, rekeying, extension. */
import {blockSize} from '../../components/sessions/block.js';
import {isSessionError} from '../../runtime/sdk/session.js';
import {stampsOf, type Stamp} from './content.js';
import {requireNoKeys} from './key-probe.js';
import {wasLockedOut} from './load-judgement.js';
import type {LongOperation} from './operations-model.js';
import type {Random} from './random.js';
import type {Content} from './snapshot-model.js';
import {SimulationFailure} from './simulation-failure.js';
import type {Subject} from './subject.js';

/** What a request of the control session came to: undefined where it was refused for one of these reasons. */
async function unlessRefused<T>(
	subject: Subject,
	codes: () => readonly string[],
	job: Promise<T>,
): Promise<T | undefined> {
	const note = subject.lock.note();
	try {
		return await job;
	} catch (error) {
		if (wasLockedOut(subject, error, note)) {
			return undefined;
		}

		if (isSessionError(error) && (codes().includes(error.code) || subject.excuses.includes(error.code))) {
			return undefined;
		}

		throw isSessionError(error)
			? new SimulationFailure(`a control request failed without a reason: ${error.code}: ${error.message}`)
			: error;
	}
}

export async function createSnapshot(subject: Subject): Promise<void> {
	const {
		model,
		world,
		setup: {counts},
	} = subject;
	const {snapshots} = model;
	const begin = model.beginFlush();
	snapshots.beginCreation(begin);
	const name = subject.namesSnapshots ? snapshots.nextName() : undefined;
	const excuses = () => [
		...(snapshots.names.length >= 46 || (name !== undefined && !subject.areNamesLegible) ? ['refused'] : []),
		// The content may be kept already under another name, and the pool be full.
		...(name === undefined ? [] : ['no_space']),
	];
	const created = await unlessRefused(subject, excuses, world.control.create_snapshot({name}));
	snapshots.endNaming(name, created?.generation);
	if (!created) {
		snapshots.endCreation(begin, model.now);
		return;
	}

	model.endFlush(begin);
	counts.snapshots++;
	const known = snapshots.contentOf(created.generation);
	snapshots.endCreation(begin, model.now, created.generation);
	if (known) {
		model.judgeSnapshot({generation: created.generation, stamps: known, from: begin, to: model.now});
	} else {
		await readSnapshot(subject, created.generation);
	}
}

function sameContent(a: Content, b: Content): boolean {
	return a.length === b.length && a.every((stamp, vba) => stamp === b[vba]);
}

/** Reads a snapshot and judges it; it may be gone only where somebody discards it. */
export async function readSnapshot(subject: Subject, generation: number): Promise<void> {
	const {
		model,
		world,
		setup: {counts},
	} = subject;
	const {snapshots} = model;
	const note = subject.lock.note();
	const stamps = await contentOf(subject, generation);
	if (!stamps) {
		if (!subject.lock.mayHaveMet(note) && !snapshots.mayBeGone(generation)) {
			throw new SimulationFailure(
				`snapshot ${generation} is missing; there are ${JSON.stringify(await world.control.list_snapshots({}))}`,
			);
		}

		return;
	}

	counts.blocksChecked += stamps.length;
	await noteSize(subject);
	const known = snapshots.contentOf(generation);
	const window = snapshots.windowOf(generation);
	if (known && !sameContent(known, stamps)) {
		throw new SimulationFailure(`snapshot ${generation} reads as ${stamps.join(' ')}; it was ${known.join(' ')}`);
	}

	if (!known && window) {
		model.judgeSnapshot({generation, stamps, ...window});
		snapshots.learn(generation, stamps);
	}
}

/** The device may have grown. */
export async function noteSize({model, world}: Subject): Promise<void> {
	const {blockCount} = await world.device.geometry({});
	model.noteBlockCount(Math.max(model.blockCount, blockCount));
}

/** What a snapshot holds now; undefined where there is none of that name. */
export async function contentOf(subject: Subject, generation: number): Promise<Content | undefined> {
	const {control} = subject.world;
	const description = (await control.list_snapshots({})).snapshots.find(
		snapshot => snapshot.generation === generation,
	);
	if (!description) {
		return undefined;
	}

	const data = Buffer.alloc(description.blockCount * blockSize, 0xee);
	const read = await unlessRefused(
		subject,
		() => ['unknown_snapshot'],
		control.read_snapshot({generation, extents: [0, description.blockCount], data}),
	);
	return read ? stampsOf(data) : undefined;
}

export async function discardSnapshot(subject: Subject, generation: number): Promise<void> {
	const {model, world} = subject;
	model.snapshots.beginDiscard(generation);
	const begin = model.beginFlush();
	if (await unlessRefused(subject, () => [], world.control.discard_snapshot({generation}))) {
		model.endFlush(begin);
		model.snapshots.endDiscard(generation);
	} else {
		// It met the lock or a full host, and has not happened.
		model.snapshots.cancelDiscard(generation);
	}
}

/** Replies with false where it was refused. */
export async function revert(subject: Subject, generation: number): Promise<boolean> {
	const {
		model,
		world,
		setup: {counts},
	} = subject;
	const content = model.snapshots.contentOf(generation);
	if (!content || content.includes(undefined)) {
		return false;
	}

	const note = model.beginRevert(content as Stamp[]);
	const flushed = model.now;
	const reverted = await unlessRefused(
		subject,
		() => ['refused', 'no_space', ...(model.snapshots.mayBeGone(generation) ? ['unknown_snapshot'] : [])],
		world.control.revert_snapshot({generation}),
	);
	if (!reverted && subject.isFaulty) {
		// It may have been done and not be secured.
		model.endWrite(note, {succeeded: false});
		return false;
	}

	if (!reverted) {
		model.cancel(note);
		return false;
	}

	counts.reverts++;
	model.endWrite(note, {succeeded: true});
	model.endFlush(flushed);
	return true;
}

/** Begins a rekeying or an extension; false where it was refused, or where another one is being begun. */
export async function beginOperation(subject: Subject, operation: LongOperation): Promise<boolean> {
	const {
		operations,
		world: {control},
		setup: {counts},
	} = subject;
	if (operations.isInFlight) {
		return false;
	}

	operations.begin(operation);
	const begun = await unlessRefused(
		subject,
		() => ['refused', 'out_of_range'],
		operation.kind === 'rekey'
			? control.rekey({})
			: control.extend({tree: operation.tree, blockCount: operation.blockCount}),
	);
	if (!begun) {
		operations.refuse();
		return false;
	}

	operations.accept();
	counts.operations++;
	return true;
}

/** One of all of it. */
export async function controlAtRandom(subject: Subject, random: Random): Promise<void> {
	const {
		model: {snapshots},
	} = subject;
	const roll = random.below(100);
	const generation = snapshots.names.length > 0 ? random.pick(snapshots.names) : undefined;
	if (roll < 30 && snapshots.names.length < subject.setup.plan.snapshotCountMax) {
		await createSnapshot(subject);
	} else if (roll < 60) {
		await (generation === undefined
			? createSnapshot(subject)
			: roll < 45
				? discardSnapshot(subject, generation)
				: readSnapshot(subject, generation));
	} else if (roll < 75 && generation !== undefined) {
		await revert(subject, generation);
	} else if (roll < 88) {
		await beginOperation(subject, {kind: 'rekey'});
	} else {
		await beginOperation(subject, {
			kind: 'extend',
			tree: random.pick(['vbd', 'ft'] as const),
			blockCount: random.between(1, 40),
		});
	}
}

/**
 * Polls before snapshots are given up that may hold the blocks an operation waits for; and before it counts as hanging.
 */
const patiencePollCount = 300;
const pollCountMax = 20_000;

/** Waits until nothing is going on and checks what it came to. */
export async function finishOperations(subject: Subject): Promise<void> {
	const {
		world,
		model: {snapshots},
		setup: {counts},
	} = subject;
	for (let poll = 0; ; poll++) {
		const {extend, rekey} = await world.control.operations({});
		if (extend.lastResult === 'failed' || rekey.lastResult === 'failed') {
			throw new SimulationFailure(`an operation failed: ${world.log.join('; ')}`);
		}

		if (extend.phase === 'idle' && rekey.phase === 'idle') {
			break;
		}

		if (poll > patiencePollCount && snapshots.names.length > 0) {
			counts.starvedOperations++;
			await discardSnapshot(subject, snapshots.names[0]);
		} else if (poll > pollCountMax) {
			throw new SimulationFailure(
				`an operation never ends: ${JSON.stringify({extend, rekey})}; ${world.log.slice(-3).join('; ')}`,
			);
		}
	}

	await checkResult(subject);
}

async function checkResult({world, model, operations, setup: {counts}}: Subject): Promise<void> {
	const {state, blockCount} = await world.control.status({});
	if (state !== 'normal' || blockCount !== operations.blockCount) {
		throw new SimulationFailure(
			`after all operations the container is ${state} with ${blockCount} blocks instead of ${operations.blockCount}`,
		);
	}

	model.noteBlockCount(blockCount);
	if (operations.isPending) {
		counts.finishedOperations++;
		operations.isPending = false;
		await requireNoKeys(world.crypto, operations.keyId - 1);
	}
}
