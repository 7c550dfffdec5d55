/** Histories: one seed decides everything that happens in one, so the seed is all it takes to repeat it. */
import {StartError} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {blockSize} from '../../components/sessions/block.js';
import {watchLockOrder} from '../../components/lib/sync/lock-order.js';
import {dataOf, stampOf} from './content.js';
import {damageHistory} from './damage.js';
import {discardSnapshot, finishOperations} from './control-load.js';
import {Counts} from './counts.js';
import {open, verify, verifyAfterClose, verifyQuiet} from './lifecycle.js';
import {flush, load, writeAtRandom} from './load.js';
import {ensureUnlocked} from './locking.js';
import {checkMedium} from './medium-check.js';
import {randomPlan, type HistoryKind, type Plan, type PlanOptions} from './plan.js';
import {Random} from './random.js';
import {ComponentEnded} from './simulated-environment.js';
import {runScript} from './script-run.js';
import {SimulationFailure} from './simulation-failure.js';
import {Subject, type SecuredImage} from './subject.js';
import type {Trace} from './trace.js';

/** Thrown between two steps: the power fails here. */
class PowerFailure extends Error {
	override readonly name = 'PowerFailure';
}

/** Crashes that a crash may be followed by before the device comes to rest. */
const crashDepthMax = 3;

/** Of all crashes, how many are followed by a run of cbe_check. */
const checkRate = 0.05;

/** Runs a job during which the power may fail; true where it did. */
async function survives(job: () => Promise<unknown>): Promise<boolean> {
	try {
		await job();
		return false;
	} catch (error) {
		if (error instanceof PowerFailure) {
			return true;
		}

		throw error;
	}
}

/** Has the power fail after so many changes of medium and anchor. */
function failAfter(subject: Subject, changeCount: number): void {
	let left = changeCount;
	subject.onChange = async () => {
		left--;
		if (left <= 0) {
			throw new PowerFailure('the power fails');
		}
	};
}

/** After a crash: opens with the right state. */
async function reopen(remains: Subject): Promise<Subject> {
	const {counts, random} = remains.setup;
	counts.crashPoints++;
	if (random.chance(checkRate)) {
		await checkMedium(remains);
	}

	await open(remains);
	await verify(remains);
	return remains;
}

/** Without faults the device must take writes, whatever happened before. */
async function requireAlive(subject: Subject): Promise<void> {
	subject.onChange = undefined;
	await subject.run(
		(async () => {
			await ensureUnlocked(subject);
			for (let i = 0; i < 3; i++) {
				await writeAtRandom(subject, subject.setup.random);
			}

			await flush(subject);
			await finishOperations(subject);
			if (subject.setup.random.chance(0.2)) {
				await requireRoomAgain(subject);
			}

			await verifyQuiet(subject);
		})(),
	);
}

/** Once all snapshots are discarded the pool takes writes again, however full it was. */
async function requireRoomAgain(subject: Subject): Promise<void> {
	for (const generation of subject.model.snapshots.names) {
		await discardSnapshot(subject, generation);
	}

	await writeAtRandom(subject, subject.setup.random);
}

/**
 * What happens after a crash: the device opens with the right state, ends what it was about, works, and may crash
 * again.
 */
async function future(remains: Subject, depth: number): Promise<void> {
	const {random} = remains.setup;
	const subject = await reopen(remains);
	if (random.chance(subject.operations.isPending ? 0.6 : 0.3)) {
		if (depth < crashDepthMax && random.chance(0.7)) {
			failAfter(subject, random.between(1, 12));
		}

		if (await survives(async () => subject.run(goOn(subject, random)))) {
			const next = subject.afterPowerLoss();
			subject.abandon();
			return future(next, depth + 1);
		}

		await requireAlive(subject);
		await verifyAfterClose(subject);
		return;
	}

	await subject.run(finishOperations(subject));
	await subject.run(verifyQuiet(subject));
	subject.abandon();
}

/** Some more load, or only what is going on by itself. */
async function goOn(subject: Subject, random: Random): Promise<void> {
	if (random.chance(0.5)) {
		await load(subject, 3);
	}

	await finishOperations(subject);
	await verifyQuiet(subject);
}

/** Explores the future of a crash at each change while `job` runs. */
function explore(subject: Subject): void {
	subject.onChange = async () => future(subject.afterPowerLoss(), 1);
}

async function crashPointHistory(subject: Subject): Promise<void> {
	subject.securedImages = [];
	await open(subject);
	explore(subject);
	await subject.run(load(subject, subject.setup.plan.operationCount));
	await requireAlive(subject);
	await verifyAfterClose(subject);
	await checkMedium(subject);
	await refuseOlderImages(subject, subject.securedImages);
	await refuseOlderAnchors(subject, subject.securedImages);
}

async function scriptedHistory(subject: Subject): Promise<void> {
	subject.securedImages = [];
	await open(subject);
	explore(subject);
	await subject.run(runScript(subject, subject.setup.plan.script!));
	await requireAlive(subject);
	await verifyAfterClose(subject);
	await checkMedium(subject);
	await refuseOlderImages(subject, subject.securedImages);
	await refuseOlderAnchors(subject, subject.securedImages);
}

async function creationHistory(subject: Subject): Promise<void> {
	explore(subject);
	await open(subject);
	await subject.run(load(subject, subject.setup.plan.operationCount));
	subject.onChange = undefined;
	await verifyAfterClose(subject);
}

async function longHistory(first: Subject): Promise<void> {
	let subject = first;
	await open(subject);
	const {random, plan} = subject.setup;
	for (let round = random.between(1, 4); round > 0; round--) {
		failAfter(subject, random.pick([20, 200, 2000]) + random.below(100));
		const failed = await survives(async () => subject.run(load(subject, plan.operationCount)));
		if (failed || random.chance(0.5)) {
			const remains = random.chance(0.7) ? subject.afterPowerLoss() : subject.afterKill();
			subject.abandon();
			subject = await reopen(remains);
		}
	}

	await requireAlive(subject);
	await verifyAfterClose(subject);
}

/** Runs a job on a failing medium; true where a component gave up and the device has to be opened again. */
async function breaks(job: () => Promise<unknown>): Promise<boolean> {
	try {
		await job();
		return false;
	} catch (error) {
		if (error instanceof ComponentEnded) {
			return true;
		}

		throw error;
	}
}

async function faultHistory(first: Subject): Promise<void> {
	let subject = first;
	await open(subject);
	const {random, plan} = subject.setup;
	for (let round = random.between(1, 4); round > 0; round--) {
		const rate = random.pick([0.01, 0.05, 0.2]);
		const faults = {
			read: random.chance(0.5) ? rate : 0,
			write: random.chance(0.7) ? rate : 0,
			noSpace: random.chance(0.3) ? rate : 0,
			sync: random.chance(0.4) ? rate / 2 : 0,
		};
		subject.startFaults(faults, random.chance(0.3) ? rate : 0);
		const broken = await breaks(async () => subject.run(load(subject, plan.operationCount)));
		subject.stopFaults();
		if (broken || random.chance(0.3)) {
			const remains = random.chance(0.5) ? subject.afterPowerLoss() : subject.afterKill();
			subject.abandon();
			subject = await loadAndPowerLoss(await reopen(remains));
		} else {
			await requireAlive(subject);
		}
	}

	await verifyAfterClose(subject);
}

/** What a start has believed may be lost where power fails in the work that builds on it. */
async function loadAndPowerLoss(subject: Subject): Promise<Subject> {
	const {random} = subject.setup;
	if (random.chance(0.5)) {
		return subject;
	}

	failAfter(subject, random.between(1, 30));
	const failed = await survives(async () => subject.run(load(subject, 3)));
	subject.onChange = undefined;
	if (!failed) {
		return subject;
	}

	const remains = subject.afterPowerLoss();
	subject.abandon();
	return reopen(remains);
}

/** Of the changes at which the program could be killed, how many it is. */
const killRate = 0.3;

/**
 * The program is killed at changes, and the power fails at each change of the first work after the start that follows.
 */
async function restartHistory(subject: Subject): Promise<void> {
	await open(subject);
	const {random} = subject.setup;
	subject.onChange = async () => {
		if (random.chance(killRate)) {
			await powerLosses(subject.afterKill());
		}
	};
	await subject.run(load(subject, subject.setup.plan.operationCount));
	subject.onChange = undefined;
	await requireAlive(subject);
	await verifyAfterClose(subject);
}

/** What that start has read may be gone, unless it has made it durable. */
async function powerLosses(remains: Subject): Promise<void> {
	const subject = await reopen(remains);
	subject.onChange = async () => {
		const later = await reopen(subject.afterPowerLoss());
		later.abandon();
	};
	await subject.run(
		(async () => {
			await ensureUnlocked(subject);
			await writeAtRandom(subject, subject.setup.random);
			await flush(subject);
		})(),
	);
	subject.abandon();
}

/** No component may give up because the host is full, and what was flushed is there when the device is opened on it. */
async function fullHostHistory(first: Subject): Promise<void> {
	let subject = first;
	await open(subject);
	const {random, plan, counts} = subject.setup;
	for (let round = random.between(1, 4); round > 0; round--) {
		await subject.run(load(subject, random.below(plan.operationCount)));
		subject.fillHost(random.pick([0, 0, 1, 3, 10, 40]));
		counts.fullHosts++;
		await subject.run(load(subject, plan.operationCount));
		if (random.chance(0.7)) {
			const remains = random.chance(0.5) ? subject.afterPowerLoss() : subject.afterKill();
			subject.abandon();
			remains.excuses = subject.excuses;
			subject = await reopen(remains);
			await subject.run(load(subject, 3));
		}

		const {writable} = await subject.run(subject.world.device.geometry({}));
		if (!writable) {
			counts.readOnlyOpenings++;
			const remains = subject.afterKill();
			subject.abandon();
			subject = remains;
			subject.stopFaults();
			await reopen(subject);
		}

		subject.stopFaults();
		await requireAlive(subject);
	}

	await verifyAfterClose(subject);
}

/** An older image with the newest anchor is no state to open. */
async function refuseOlderImages(newest: Subject, images: readonly SecuredImage[]): Promise<void> {
	const {random, counts} = newest.setup;
	const {generation: newestGeneration = 0, hash: newestHash = new Uint8Array()} = newest.anchor.secured ?? {};
	const older = images.filter(
		({generation, hash}) => generation < (newestGeneration ?? 0) || !Buffer.from(hash).equals(newestHash),
	);
	for (const {generation, medium} of older.filter(() => random.chance(0.5)).slice(0, 6)) {
		counts.rollbacks++;
		const rolledBack = newest.withMedium(medium.copy(random.fork()));
		rolledBack.isDamaged = true;
		const refusal = await refusalOf(rolledBack);
		if (refusal === undefined || !refusal.includes('rolled back')) {
			throw new SimulationFailure(
				`an image of generation ${generation} was put back: ${refusal ?? 'it was opened'}`,
			);
		}
	}
}

/** An older copy of the anchor beside the newest image is refused, or the newest state is opened all the same. */
async function refuseOlderAnchors(newest: Subject, images: readonly SecuredImage[]): Promise<void> {
	const {random, counts} = newest.setup;
	const newestHash = newest.anchor.secured?.hash ?? new Uint8Array();
	const older = images.filter(({hash}) => !Buffer.from(hash).equals(newestHash));
	// Those just before the newest are the ones that a crash could be taken for.
	for (const {generation, anchor} of [
		...older.slice(-3),
		...older
			.slice(0, -3)
			.filter(() => random.chance(0.2))
			.slice(0, 4),
	]) {
		counts.olderAnchors++;
		const subject = newest.withAnchor(anchor);
		subject.isDamaged = true;
		const refusal = await refusalOf(subject, async () => verify(subject));
		if (refusal !== undefined && !/older copy than the image|foreign trust anchor/.test(refusal)) {
			throw new SimulationFailure(`an anchor of generation ${generation} was put back: ${refusal}`);
		}
	}
}

/** Why the device does not open, undefined where it does. */
async function refusalOf(
	subject: Subject,
	onOpened: () => Promise<void> = async () => undefined,
): Promise<string | undefined> {
	try {
		await open(subject);
		await onOpened();
		subject.abandon();
		return undefined;
	} catch (error) {
		if (error instanceof StartError) {
			return error.message;
		}

		throw error;
	}
}

async function flipHistory(first: Subject): Promise<void> {
	let subject = first;
	await open(subject);
	await subject.run(load(subject, subject.setup.plan.operationCount));
	await subject.run(flush(subject));
	const {random, counts} = subject.setup;
	if (random.chance(0.5)) {
		await verifyAfterClose(subject);
	} else {
		// The flush log is all that is left of the last flushes.
		subject.abandon();
		subject = subject.afterKill();
	}

	for (let address = 0; address < subject.medium.blockCount; address++) {
		if (random.chance(0.6)) {
			counts.bitFlips++;
			await checkDamaged(subject, address);
		}
	}
}

function withFlippedBit(block: Buffer, bit: number): Buffer {
	const copy = Buffer.from(block);
	copy[bit >> 3] ^= 1 << (bit & 7);
	return copy;
}

/** With one bit flipped the device must not open, or give only right data and errors. */
async function checkDamaged(subject: Subject, address: number): Promise<void> {
	const {random} = subject.setup;
	const medium = subject.medium.copy(random.fork());
	medium.replace(address, withFlippedBit(medium.content(address), random.below(8 * blockSize)));
	const damaged = subject.withMedium(medium);
	damaged.isDamaged = true;
	try {
		await open(damaged);
	} catch (error) {
		if (error instanceof StartError) {
			return;
		}

		throw error;
	}

	await damaged.run(readDamaged(damaged));
	if (random.chance(0.3)) {
		await damaged.run(writeDamaged(damaged));
		await damaged.run(readDamaged(damaged));
	}

	damaged.abandon();
}

/** True where the job was refused because of the damage. */
async function meetsDamage(job: Promise<unknown>): Promise<boolean> {
	try {
		await job;
		return false;
	} catch (error) {
		if (error instanceof SessionError && error.code === 'integrity') {
			return true;
		}

		throw error;
	}
}

async function readDamaged({model, world, setup}: Subject): Promise<void> {
	const block = Buffer.alloc(blockSize);
	for (let vba = 0; vba < model.blockCount; vba++) {
		const begin = model.beginRead();
		if (await meetsDamage(world.device.read({extents: [vba, 1], data: block}))) {
			model.dropRead(begin);
		} else {
			model.endRead(begin, vba, [stampOf(block)]);
			setup.counts.blocksChecked++;
		}
	}
}

async function writeDamaged({model, world, setup: {random}}: Subject): Promise<void> {
	for (let i = 0; i < 4; i++) {
		const vba = random.below(model.blockCount);
		const stamp = model.nextStamp();
		const note = model.beginWrite(vba, [stamp]);
		const refused = await meetsDamage(world.device.write({extents: [vba, 1], data: dataOf([stamp])}));
		model.endWrite(note, {succeeded: !refused});
		await meetsDamage(world.device.sync({}));
	}
}

const kinds: Readonly<Record<HistoryKind, (subject: Subject) => Promise<void>>> = {
	crash_points: crashPointHistory,
	creation: creationHistory,
	long: longHistory,
	faults: faultHistory,
	full_host: fullHostHistory,
	restarts: restartHistory,
	flips: flipHistory,
	damage: damageHistory,
	scripted: scriptedHistory,
	operations: crashPointHistory,
	long_operations: longHistory,
};

/** Of all old containers, how many an earlier program has used. */
const oldLifeRate = 0.6;

/** Changes of medium and anchor until the power fails in the life of an earlier program, at most. */
const oldLifeChangeCountMax = 80;

/**
 * An earlier program uses the container until a crash: what it left is opened, with crashes at every change meanwhile.
 * Returns what the first life of this program has left in good order.
 */
async function afterOldLife(subject: Subject): Promise<Subject> {
	const {random, plan, counts} = subject.setup;
	counts.oldLives++;
	subject.anchor.isOfOldProgram = true;
	await open(subject);
	failAfter(subject, random.between(1, oldLifeChangeCountMax));
	await survives(async () => subject.run(load(subject, Math.min(10, plan.operationCount))));
	const remains = random.chance(0.7) ? subject.afterPowerLoss() : subject.afterKill();
	subject.abandon();
	explore(remains);
	await reopen(remains);
	remains.onChange = undefined;
	await remains.run(finishOperations(remains));
	await verifyAfterClose(remains);
	return remains.afterKill();
}

export interface HistoryOptions extends PlanOptions {
	readonly counts?: Counts;
	/** False where the trust anchor is one that believes what it reads, see `AnchorOptions`. */
	readonly settles?: boolean;
	/** Learns everything that happens. */
	readonly trace?: Trace;
}

/**
 * Runs the history of a seed. @throws whatever went wrong, with the plan and the command that repeats it in the message
 */
export async function runHistory(
	seed: number,
	{counts: total, settles = true, trace, ...planOptions}: HistoryOptions = {},
): Promise<void> {
	const random = new Random(seed);
	const plan = randomPlan(random, planOptions);
	// Of its own, so that nothing in a history can depend on those before it.
	const counts = new Counts();
	counts.histories++;
	counts.encryptedInnerBlocks += plan.create.inner_blocks === 'encrypted' ? 1 : 0;
	counts.oldContainers += plan.isOld ? 1 : 0;
	const {violations} = watchLockOrder();
	const knownCount = violations.length;
	let subject = new Subject({plan, random, counts, settles, trace});
	try {
		// A script says what the container goes through from the beginning on.
		if (plan.isOld && plan.kind !== 'scripted' && random.chance(oldLifeRate)) {
			subject = await afterOldLife(subject);
		}

		await kinds[plan.kind](subject);
		requireLockOrder(violations.slice(knownCount));
	} catch (error) {
		throw explained(error, plan, repeatCommand(seed, planOptions));
	} finally {
		subject.abandon();
		total?.add(counts);
	}
}

/** Also where somebody has taken the error for a failure of a request. */
function requireLockOrder(violations: readonly string[]): void {
	if (violations.length > 0) {
		throw new SimulationFailure(`locks were taken in the wrong order: ${violations.join('; ')}`);
	}
}

/** How to run the history of a seed once more, in the folder of the project. */
export function repeatCommand(
	seed: number,
	{kind, script, cipher, crypto, innerBlocks, container}: PlanOptions,
): string {
	const options = Object.entries({
		kind,
		script: script && `'${script}'`,
		cipher,
		crypto,
		'inner-blocks': innerBlocks,
		container,
	});
	return `node dist/test/simulator/main.js --seed ${seed} --histories 1${options.map(([name, value]) => (value === undefined ? '' : ` --${name} ${value}`)).join('')}`;
}

function explained(error: unknown, plan: Plan, repeat: string): Error {
	const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
	return new SimulationFailure(`${text}\nplan: ${JSON.stringify(plan)}\nto repeat: ${repeat}`, {cause: error});
}
