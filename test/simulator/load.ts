/** Clients of the device that write, read and flush at random, and judge every answer by the model. */
import {allocationKinds} from '../../components/sessions/allocation.js';
import {blockSize} from '../../components/sessions/block.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {controlAtRandom, noteSize} from './control-load.js';
import {dataOf, stampsOf, type Stamp} from './content.js';
import {requireExcuse, wasLockedOut} from './load-judgement.js';
import {lockForAWhile} from './locking.js';
import type {Random} from './random.js';
import type {Subject} from './subject.js';

/** Of a hundred changes, how many clear instead of write. */
const clearPercent = 12;

interface Extent {
	readonly vba: number;
	readonly count: number;
}

/** New contents, and now and then one that was there before. */
function randomStamp(random: Random, {model, setup: {plan}}: Subject): Stamp {
	return random.chance(0.1) ? random.below(3) : model.nextStamp() % plan.stampCount;
}

function randomExtent(
	random: Random,
	{leafCount, requestBlockCountMax}: {leafCount: number; requestBlockCountMax: number},
): Extent {
	const count = random.chance(0.5) ? 1 : random.between(1, Math.min(leafCount, requestBlockCountMax));
	// Half of all requests meet in a small part of the device.
	const span = random.chance(0.5) ? leafCount : Math.min(leafCount, 4 * count);
	return {vba: random.below(span - count + 1), count};
}

/** One extent mostly, now and then two that do not overlap. */
function randomExtents(random: Random, bounds: {leafCount: number; requestBlockCountMax: number}): Extent[] {
	const first = randomExtent(random, bounds);
	const second = random.chance(0.15) ? randomExtent(random, bounds) : undefined;
	const apart = second && (second.vba + second.count <= first.vba || first.vba + first.count <= second.vba);
	return apart ? [first, second] : [first];
}

function flat(extents: readonly Extent[]): number[] {
	return extents.flatMap(({vba, count}) => [vba, count]);
}

function blockCountOf(extents: readonly Extent[]): number {
	return extents.reduce((sum, {count}) => sum + count, 0);
}

function cut<T>(extents: readonly Extent[], values: readonly T[]): T[][] {
	let offset = 0;
	return extents.map(({count}) => {
		const part = values.slice(offset, offset + count);
		offset += count;
		return part;
	});
}

function boundsOf({
	model: {blockCount: leafCount},
	setup: {
		plan: {requestBlockCountMax},
	},
}: Subject): {leafCount: number; requestBlockCountMax: number} {
	return {leafCount, requestBlockCountMax};
}

export async function writeAtRandom(subject: Subject, random: Random): Promise<void> {
	await write(subject, random, randomExtents(random, boundsOf(subject)));
}

export async function clearAtRandom(subject: Subject, random: Random): Promise<void> {
	await clear(subject, randomExtents(random, boundsOf(subject)));
}

export async function write(subject: Subject, random: Random, extents: readonly Extent[]): Promise<void> {
	const stamps = Array.from({length: blockCountOf(extents)}, () => randomStamp(random, subject));
	await change(subject, {
		extents,
		stamps,
		send: async request => subject.world.device.write({...request, data: dataOf(stamps)}),
	});
	subject.setup.counts.writes++;
}

export async function clear(subject: Subject, extents: readonly Extent[]): Promise<void> {
	const stamps = Array.from({length: blockCountOf(extents)}, () => 0);
	await change(subject, {extents, stamps, send: async request => subject.world.device.clear(request)});
	subject.setup.counts.clears++;
}

/** True where snapshots or a rekeying may hold every spare block. */
function mayLackSpace({model: {snapshots}, operations}: Subject): boolean {
	return snapshots.mayHoldBlocks || operations.isPending;
}

interface Change {
	readonly extents: readonly Extent[];
	readonly stamps: readonly Stamp[];
	readonly send: (request: {extents: number[]}) => Promise<unknown>;
}

async function change(subject: Subject, {extents, stamps, send}: Change): Promise<void> {
	const lackedSpace = mayLackSpace(subject);
	const lockNote = subject.lock.note();
	const notes = cut(extents, stamps).map((part, i) => subject.model.beginWrite(extents[i].vba, part));
	let succeeded = true;
	try {
		await send({extents: flat(extents)});
	} catch (error) {
		if (wasLockedOut(subject, error, lockNote)) {
			for (const note of notes) {
				subject.model.cancel(note);
			}

			return;
		}

		const isFull =
			error instanceof SessionError && error.code === 'no_space' && (lackedSpace || mayLackSpace(subject));
		if (isFull) {
			subject.setup.counts.fullPools++;
		} else {
			requireExcuse(subject, error, {what: `a change of ${flat(extents).join('+')}`, note: lockNote});
		}

		succeeded = false;
	}

	for (const note of notes) {
		subject.model.endWrite(note, {succeeded});
	}
}

/** Of all reads, after how many the device is asked for holes. */
const holeAskRate = 0.25;

export async function readAtRandom(subject: Subject, random: Random): Promise<void> {
	const {counts} = subject.setup;
	const extents = randomExtents(random, boundsOf(subject));
	const blockCount = blockCountOf(extents);
	const data = Buffer.alloc(blockCount * blockSize, 0xee);
	const begins = extents.map(() => subject.model.beginRead());
	const note = subject.lock.note();
	try {
		await subject.world.device.read({extents: flat(extents), data});
	} catch (error) {
		for (const begin of begins) {
			subject.model.dropRead(begin);
		}

		requireExcuse(subject, error, {what: `a read of ${flat(extents).join('+')}`, note});
		return;
	}

	counts.reads++;
	counts.blocksChecked += blockCount;
	for (const [i, part] of cut(extents, stampsOf(data)).entries()) {
		subject.model.endRead(begins[i], extents[i].vba, part);
	}

	if (random.chance(holeAskRate)) {
		await askForHoles(subject, extents[0]);
	}
}

/** What the device calls a hole must have read as zeroes at some moment of the request. */
async function askForHoles(subject: Subject, {vba, count}: Extent): Promise<void> {
	const begin = subject.model.beginRead();
	const note = subject.lock.note();
	let runs: readonly number[];
	try {
		({runs} = await subject.world.device.allocation({first: vba, count}));
	} catch (error) {
		subject.model.dropRead(begin);
		requireExcuse(subject, error, {what: `a question about ${vba}+${count}`, note});
		return;
	}

	let start = vba;
	for (let i = 0; i < runs.length; i += 2) {
		if (runs[i + 1] === allocationKinds.hole) {
			subject.setup.counts.holesChecked += runs[i];
			subject.model.endRead(
				begin,
				start,
				Array.from({length: runs[i]}, () => 0),
			);
		}

		start += runs[i];
	}

	subject.model.dropRead(begin);
}

export async function flush(subject: Subject): Promise<void> {
	const begin = subject.model.beginFlush();
	const note = subject.lock.note();
	try {
		await subject.world.device.sync({});
	} catch (error) {
		requireExcuse(subject, error, {what: 'a flush', note});
		return;
	}

	subject.setup.counts.flushes++;
	subject.model.endFlush(begin);
}

async function client(subject: Subject, random: Random, operationCount: number): Promise<void> {
	const {flushPercent, controlPercent, lockPercent} = subject.setup.plan;
	for (let i = 0; i < operationCount; i++) {
		const roll = random.below(100);
		if (controlPercent > 0 && random.chance(0.3)) {
			await noteSize(subject);
		}

		if (lockPercent > 0 && random.below(100) < lockPercent) {
			await lockForAWhile(subject, random);
		} else if (random.below(100) < controlPercent) {
			await controlAtRandom(subject, random);
		} else if (roll < flushPercent) {
			await flush(subject);
		} else if (roll < flushPercent + 25) {
			await readAtRandom(subject, random);
		} else if (random.below(100) < clearPercent) {
			await clearAtRandom(subject, random);
		} else {
			await writeAtRandom(subject, random);
		}
	}
}

/** As many clients as the plan says, each with this many operations, all at once. */
export async function load(subject: Subject, operationCount: number): Promise<void> {
	const {random, plan} = subject.setup;
	await Promise.all(
		Array.from({length: plan.clientCount}, async () => client(subject, random.fork(), operationCount)),
	);
}
