/**
 * A device from one opening to the next: opened and unlocked, verified after a crash and at rest, closed in good order.
 */
import {blockSize} from '../../components/sessions/block.js';
import {StartError} from '../../runtime/sdk/component.js';
import {isSessionError, SessionError} from '../../runtime/sdk/session.js';
import {stampsOf, type Stamp} from './content.js';
import {contentOf, noteSize, readSnapshot} from './control-load.js';
import {lock, requireClosed} from './locking.js';
import {SimulationFailure} from './simulation-failure.js';
import type {Subject} from './subject.js';

/** @throws StartError where the device refuses to open */
export async function open(subject: Subject): Promise<void> {
	await subject.start();
	if (subject.lock.isClosed) {
		subject.setup.counts.locks++;
		await subject.run(unlockFirst(subject));
	}
}

/** The device has started without its keys: it serves nothing until it is unlocked. */
async function unlockFirst(subject: Subject): Promise<void> {
	await requireClosed(subject);
	try {
		await subject.world.control.unlock({});
	} catch (error) {
		throw isSessionError(error) && error.code === 'device_failed' ? new StartError(error.message) : error;
	}

	subject.lock.noteUnlocked();
}

/** Closes the device in good order, opens it once more and checks that nothing is missing. */
export async function verifyAfterClose(subject: Subject): Promise<void> {
	const {
		model,
		setup: {plan, random},
	} = subject;
	subject.onChange = undefined;
	// It may end while it is locked, too.
	if (plan.lockPercent > 0 && random.chance(0.2)) {
		await subject.run(lock(subject));
	}

	const begin = model.beginFlush();
	await subject.world.close();
	model.endFlush(begin);
	const remains = subject.afterPowerLoss();
	await open(remains);
	await verify(remains);
	remains.abandon();
}

/** After a crash: everything must be there, from one moment, and the container must be in order. */
export async function verify(subject: Subject): Promise<void> {
	await subject.run(
		(async () => {
			await verifySnapshots(subject);
			const stamps = await readAll(subject);
			subject.model.recover(stamps);
			subject.setup.counts.blocksChecked += stamps.length;
		})(),
	);
}

/** With nothing under way but operations that change no content: everything reads as it should. */
export async function verifyQuiet(subject: Subject): Promise<void> {
	const {model} = subject;
	const begin = model.beginRead();
	model.endQuietRead(begin, await readAll(subject));
	for (const generation of model.snapshots.names) {
		await readSnapshot(subject, generation);
	}

	await judgeMarks(subject);
}

async function judgeMarks(subject: Subject): Promise<void> {
	const {snapshots} = await subject.world.control.list_snapshots({});
	subject.model.snapshots.judgeMarks(snapshots, {
		hasTimes: subject.namesSnapshots,
		areNamesLegible: subject.areNamesLegible,
	});
}

/** Judges the snapshots found after a crash and takes them as the truth from now on. */
async function verifySnapshots(subject: Subject): Promise<void> {
	const {snapshots} = subject.model;
	const listed = (await subject.world.control.list_snapshots({})).snapshots.map(({generation}) => generation);
	const missing = snapshots.names.find(generation => !listed.includes(generation));
	if (missing !== undefined) {
		throw new SimulationFailure(`snapshot ${missing} is missing after the crash; there are ${listed.join(', ')}`);
	}

	let unknownCount = 0;
	for (const generation of listed) {
		if (!snapshots.contentOf(generation) && !snapshots.windowOf(generation)) {
			unknownCount++;
			await acceptUnknownSnapshot(subject, generation);
		} else {
			await readSnapshot(subject, generation);
		}
	}

	if (unknownCount > snapshots.pendingCount) {
		throw new SimulationFailure(`${unknownCount} snapshots more than anybody created: ${listed.join(', ')}`);
	}

	await judgeMarks(subject);
	snapshots.settle(listed);
}

async function acceptUnknownSnapshot(subject: Subject, generation: number): Promise<void> {
	const {
		model,
		model: {snapshots},
	} = subject;
	const from = snapshots.pendingSince;
	const stamps = await contentOf(subject, generation);
	if (from === undefined || snapshots.isGone(generation) || !stamps) {
		throw new SimulationFailure(
			`after the crash there is a snapshot ${generation} that ${snapshots.isGone(generation) ? 'was discarded' : 'nobody created'}`,
		);
	}

	await noteSize(subject);
	model.judgeSnapshot({generation, stamps, from, to: model.now});
	snapshots.learn(generation, stamps);
}

async function readAll(subject: Subject): Promise<Array<Stamp | undefined>> {
	const {blockCount} = await subject.world.device.geometry({});
	subject.model.noteBlockCount(blockCount);
	const whole = await readBlocks(subject, 0, blockCount);
	if (whole) {
		return whole;
	}

	const stamps: Array<Stamp | undefined> = [];
	for (let vba = 0; vba < blockCount; vba++) {
		stamps.push((await readBlocks(subject, vba, 1))?.[0]);
	}

	return stamps;
}

/** Undefined where a block cannot be read. */
async function readBlocks(subject: Subject, vba: number, count: number): Promise<Stamp[] | undefined> {
	const data = Buffer.alloc(count * blockSize, 0xee);
	try {
		await subject.world.device.read({extents: [vba, count], data});
		return stampsOf(data);
	} catch (error) {
		if (error instanceof SessionError && error.code === 'integrity') {
			return undefined;
		}

		throw error;
	}
}
