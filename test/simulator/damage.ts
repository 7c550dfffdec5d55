/**
 * Histories in which blocks of a secured image are damaged, and then met by every operation. One client does one thing
 * after the other, so what each block has to hold is known exactly: what was readable stays so, what was not stays
 * unreadable until it is written, no component gives up, and every operation ends or says what stopped it.
 */
import {blockSize} from '../../components/sessions/block.js';
import {isSessionError} from '../../runtime/sdk/session.js';
import {StartError} from '../../runtime/sdk/component.js';
import {dataOf, stampOf, type Stamp} from './content.js';
import {createSnapshot, finishOperations} from './control-load.js';
import {open, verifyAfterClose} from './lifecycle.js';
import {clear, flush, writeAtRandom} from './load.js';
import type {Random} from './random.js';
import {SimulationFailure} from './simulation-failure.js';
import type {Subject} from './subject.js';

/** What each block holds; `damaged` cannot be read. */
type Content = Array<Stamp | 'damaged'>;

interface State {
	current: Content;
	readonly snapshots: Map<number, Content>;
}

/** Operations that a damaged device is put through. */
const operationCountMax = 12;

/** Looks at a long operation before it counts as one that never ends. */
const pollCountMax = 20_000;

/** What an operation may be refused with: the damage, or a limit that it met. */
const refusals: ReadonlySet<string> = new Set(['integrity', 'no_space', 'refused', 'out_of_range']);

/** The result, undefined where the operation was refused. */
async function unlessRefused<T>(job: Promise<T>): Promise<T | undefined> {
	try {
		return await job;
	} catch (error) {
		if (isSessionError(error) && refusals.has(error.code)) {
			return undefined;
		}

		throw error;
	}
}

type ReadBlock = (vba: number, data: Uint8Array) => Promise<unknown>;

async function contentOf(blockCount: number, read: ReadBlock): Promise<Content> {
	const content: Content = [];
	const data = Buffer.alloc(blockSize);
	for (let vba = 0; vba < blockCount; vba++) {
		try {
			await read(vba, data);
			content.push(stampOf(data));
		} catch (error) {
			if (!(isSessionError(error) && error.code === 'integrity')) {
				throw error;
			}

			content.push('damaged');
		}
	}

	return content;
}

async function stateOf({world: {device, control}}: Subject): Promise<State> {
	const {blockCount} = await device.geometry({});
	const current = await contentOf(blockCount, async (vba, data) => device.read({extents: [vba, 1], data}));
	const snapshots = new Map<number, Content>();
	for (const {generation, blockCount: size} of (await control.list_snapshots({})).snapshots) {
		snapshots.set(
			generation,
			await contentOf(size, async (vba, data) => control.read_snapshot({generation, extents: [vba, 1], data})),
		);
	}

	return {current, snapshots};
}

/**
 * Every block of `found` is as in `expected`; where `mayFail`, some of them may be damaged now. @throws
 * SimulationFailure
 */
function requireState(found: State, expected: State, {when, mayFail}: {when: string; mayFail: boolean}): void {
	const compare = (name: string, is: Content, was: Content) => {
		for (const [vba, stamp] of is.entries()) {
			// What an extension has added was never written.
			const before = was[vba] ?? 0;
			if (stamp !== before && !(mayFail && stamp === 'damaged')) {
				throw new SimulationFailure(`${when}: VBA ${vba} of ${name} is ${stamp}, it was ${before}`);
			}
		}
	};

	compare('the current state', found.current, expected.current);
	for (const [generation, content] of expected.snapshots) {
		const is = found.snapshots.get(generation);
		if (!is) {
			throw new SimulationFailure(`${when}: snapshot ${generation} is gone`);
		}

		compare(`snapshot ${generation}`, is, content);
	}
}

/** Waits until no long operation goes on. @throws SimulationFailure where one stops without a word, or never */
async function settle({world: {control, log}}: Subject): Promise<void> {
	for (let poll = 0; poll < pollCountMax; poll++) {
		const running = Object.entries(await control.operations({}));
		const mute = running.find(
			([name, {lastResult}]) =>
				lastResult === 'failed' &&
				!log.some(line => line.includes(name === 'extend' ? 'the extension' : `the ${name}`)),
		);
		if (mute) {
			throw new SimulationFailure(`the ${mute[0]} failed without a word`);
		}

		if (running.every(([, {phase}]) => phase === 'idle') || log.some(line => line.includes('waits for'))) {
			return;
		}
	}

	throw new SimulationFailure(`an operation on a damaged device never ends; ${log.slice(-3).join('; ')}`);
}

/** One operation; what it changes is noted in `state`. */
async function operate({world: {device, control}, model}: Subject, state: State, random: Random): Promise<string> {
	const vba = random.below(state.current.length);
	const generation = state.snapshots.size > 0 ? random.pick([...state.snapshots.keys()]) : undefined;
	const kind = random.pick([
		'write',
		'write',
		'clear',
		'flush',
		'snapshot',
		'discard',
		'revert',
		'rekey',
		'rekey',
		'extend',
		'check',
	] as const);
	if (kind === 'write' || kind === 'clear') {
		const stamp = kind === 'write' ? model.nextStamp() : 0;
		const change =
			kind === 'write'
				? device.write({extents: [vba, 1], data: dataOf([stamp])})
				: device.clear({extents: [vba, 1]});
		if (await unlessRefused(change)) {
			state.current[vba] = stamp;
		}
	} else if (kind === 'flush') {
		await unlessRefused(device.sync({}));
	} else if (kind === 'snapshot') {
		const created = await unlessRefused(control.create_snapshot({}));
		if (created) {
			state.snapshots.set(created.generation, [...state.current]);
		}
	} else if (kind === 'discard' && generation !== undefined) {
		if (await unlessRefused(control.discard_snapshot({generation}))) {
			state.snapshots.delete(generation);
		}
	} else if (kind === 'revert' && generation !== undefined) {
		if (await unlessRefused(control.revert_snapshot({generation}))) {
			state.current = [...state.snapshots.get(generation)!];
		}
	} else if (kind === 'rekey') {
		await unlessRefused(control.rekey({}));
	} else if (kind === 'extend') {
		await unlessRefused(
			control.extend({tree: random.pick(['vbd', 'ft'] as const), blockCount: random.between(1, 30)}),
		);
	} else if (kind === 'check') {
		await unlessRefused(control.check({}));
	}

	return kind;
}

async function prepare(subject: Subject): Promise<void> {
	const {
		setup: {random, plan},
	} = subject;
	for (let round = random.between(1, 4); round > 0; round--) {
		for (let i = random.between(1, plan.operationCount); i > 0; i--) {
			await writeAtRandom(subject, random);
		}

		if (random.chance(0.3)) {
			await clear(subject, [{vba: random.below(subject.model.blockCount), count: 1}]);
		}

		await createSnapshot(subject);
	}

	await writeAtRandom(subject, random);
	await flush(subject);
	await finishOperations(subject);
}

/** Some of the blocks that the secured state refers to, each with one bit flipped. */
function damage(subject: Subject): Subject {
	const {
		setup: {random, counts},
		verdict,
	} = subject;
	const medium = subject.medium.copy(random.fork());
	const addresses = [...(verdict?.referenced.entries() ?? [])]
		.filter(([, what]) => what !== 'superblock')
		.map(([address]) => address);
	for (let i = random.between(1, 4); i > 0; i--) {
		const address = random.pick(addresses);
		const block = Buffer.from(medium.content(address));
		block[random.below(blockSize)] ^= 1 << random.below(8);
		medium.replace(address, block);
		counts.bitFlips++;
	}

	const damaged = subject.withMedium(medium);
	damaged.isDamaged = true;
	return damaged;
}

export async function damageHistory(subject: Subject): Promise<void> {
	await open(subject);
	await subject.run(prepare(subject));
	const before = await subject.run(stateOf(subject));
	await verifyAfterClose(subject);
	for (let round = 0; round < 6; round++) {
		await meetDamage(damage(subject), before);
	}
}

async function meetDamage(damaged: Subject, before: State): Promise<void> {
	const {random} = damaged.setup;
	try {
		await open(damaged);
	} catch (error) {
		if (error instanceof StartError) {
			return;
		}

		throw error;
	}

	await damaged.run(
		(async () => {
			const state = await stateOf(damaged);
			requireState(state, before, {when: 'after the damage', mayFail: true});
			const done: string[] = [];
			for (let i = random.between(1, operationCountMax); i > 0; i--) {
				done.push(await operate(damaged, state, random));
				await settle(damaged);
				if (random.chance(0.3)) {
					requireState(await stateOf(damaged), state, {when: `after ${done.join(', ')}`, mayFail: false});
				}
			}

			requireState(await stateOf(damaged), state, {when: `after ${done.join(', ')}`, mayFail: false});
		})(),
	);
	damaged.abandon();
}
