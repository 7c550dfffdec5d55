/** Locks the device and unlocks it again: meanwhile nothing is served, nothing changes, and no server has a key. */
import {innerKeyId} from '../../components/lib/container/inner-blocks.js';
import {blockSize} from '../../components/sessions/block.js';
import {isSessionError} from '../../runtime/sdk/session.js';
import {dataOf} from './content.js';
import {requireExcuse} from './load-judgement.js';
import {requireNoKeys, requireNone} from './key-probe.js';
import type {Random} from './random.js';
import {SimulationFailure} from './simulation-failure.js';
import type {Subject} from './subject.js';

/** Attempts to unlock on a failing medium. */
const unlockAttemptMax = 50;

async function requireLocked(name: string, job: Promise<unknown>): Promise<void> {
	try {
		await job;
	} catch (error) {
		if (isSessionError(error) && error.code === 'locked') {
			return;
		}

		throw error;
	}

	throw new SimulationFailure(`the device is locked and a ${name} succeeded`);
}

/** What the device says of itself; undefined where the medium has just failed. */
async function statusOf(subject: Subject): Promise<{locked: boolean; state: string} | undefined> {
	const note = subject.lock.note();
	try {
		return await subject.world.control.status({});
	} catch (error) {
		requireExcuse(subject, error, {what: 'the status', note});
		return undefined;
	}
}

/** Everything that needs a key is refused; what does not is answered. */
export async function requireClosed(subject: Subject): Promise<void> {
	const {
		model,
		medium,
		anchor,
		operations,
		world: {device, control, crypto},
	} = subject;
	const before = medium.changeCount + anchor.changeCount;
	const status = await statusOf(subject);
	if (status?.locked === false) {
		throw new SimulationFailure('a locked device says that it is not locked');
	}

	const data = dataOf([model.nextStamp()]);
	const [generation = 1] = model.snapshots.names;
	const requests = {
		read: async () => device.read({extents: [0, 1], data: Buffer.alloc(blockSize)}),
		write: async () => device.write({extents: [0, 1], data}),
		clear: async () => device.clear({extents: [0, 1]}),
		'new snapshot': async () => control.create_snapshot({}),
		discard: async () => control.discard_snapshot({generation}),
		revert: async () => control.revert_snapshot({generation}),
		'read of a snapshot': async () =>
			control.read_snapshot({generation, extents: [0, 1], data: Buffer.alloc(blockSize)}),
		rekeying: async () => control.rekey({}),
		extension: async () => control.extend({tree: 'vbd', blockCount: 4}),
	};
	for (const [name, send] of Object.entries(requests)) {
		await requireLocked(name, send());
	}

	if (status?.state !== 'unknown') {
		await device.geometry({});
		// All that was acknowledged is stored already.
		await device.sync({});
	} else {
		await requireLocked('flush', device.sync({}));
	}

	await requireNoKeys(crypto, operations.keyId + 1);
	await requireNone(crypto, [innerKeyId]);
	if (medium.changeCount + anchor.changeCount !== before) {
		throw new SimulationFailure('the device is locked and something has changed its medium or its trust anchor');
	}
}

async function succeeds(subject: Subject, what: string, job: Promise<unknown>): Promise<boolean> {
	const note = subject.lock.note();
	try {
		await job;
		return true;
	} catch (error) {
		requireExcuse(subject, error, {what, note});
		return false;
	}
}

export async function unlock(subject: Subject): Promise<void> {
	for (let attempt = 0; attempt < unlockAttemptMax; attempt++) {
		if (await succeeds(subject, 'unlocking', subject.world.control.unlock({}))) {
			subject.lock.noteUnlocked();
			return;
		}
	}
}

/** Locks; false where the medium did not let it, and the device neither serves nor has forgotten its keys. */
export async function lock(subject: Subject): Promise<boolean> {
	const {
		model,
		setup: {counts},
	} = subject;
	const begin = model.beginFlush();
	subject.lock.beginLocking();
	if (!(await succeeds(subject, 'locking', subject.world.control.lock({})))) {
		return false;
	}

	counts.locks++;
	// Locking stores everything.
	model.endFlush(begin);
	return true;
}

/** Unless another client is just doing it. */
export async function lockForAWhile(subject: Subject, random: Random): Promise<void> {
	if (subject.lock.isClosed) {
		return;
	}

	// What is locked already can be locked again, and so can what was locked by half.
	for (let times = random.between(1, 2); times > 0; times--) {
		if (await lock(subject)) {
			await requireClosed(subject);
		}
	}

	await unlock(subject);
}

/** Before what needs an unlocked device, on a medium that works. */
export async function ensureUnlocked(subject: Subject): Promise<void> {
	if (subject.lock.isClosed) {
		await unlock(subject);
	}
}
