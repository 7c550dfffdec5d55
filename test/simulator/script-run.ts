/** Performs a script on the device, action by action. */
import {
	beginOperation,
	createSnapshot,
	discardSnapshot,
	finishOperations,
	readSnapshot,
	revert,
} from './control-load.js';
import {verifyQuiet} from './lifecycle.js';
import {clear, flush, load, write} from './load.js';
import {lockForAWhile} from './locking.js';
import type {Action, Script} from './script.js';
import {SimulationFailure} from './simulation-failure.js';
import type {Subject} from './subject.js';

const oldest = (subject: Subject, age: number): number | undefined =>
	subject.model.snapshots.names.sort((a, b) => a - b).at(age);

async function withSnapshot(
	subject: Subject,
	age: number,
	job: (generation: number) => Promise<unknown>,
): Promise<void> {
	const generation = oldest(subject, age);
	if (generation !== undefined) {
		await job(generation);
	}
}

async function perform(subject: Subject, action: Action): Promise<void> {
	const {random} = subject.setup;
	switch (action.do) {
		case 'write': {
			return write(subject, random, [action]);
		}

		case 'clear': {
			return clear(subject, [action]);
		}

		case 'flush': {
			return flush(subject);
		}

		case 'create': {
			return createSnapshot(subject);
		}

		case 'discard': {
			return withSnapshot(subject, action.snapshot, async generation => discardSnapshot(subject, generation));
		}

		case 'revert': {
			return withSnapshot(subject, action.snapshot, async generation => revert(subject, generation));
		}

		case 'rekey': {
			return requireBegun(subject, await beginOperation(subject, {kind: 'rekey'}));
		}

		case 'extend': {
			return requireBegun(
				subject,
				await beginOperation(subject, {kind: 'extend', tree: action.tree, blockCount: action.blockCount}),
			);
		}

		case 'lock': {
			return lockForAWhile(subject, random);
		}

		case 'finish': {
			return finishOperations(subject);
		}

		case 'check': {
			return verifyQuiet(subject);
		}

		case 'load': {
			return load(subject, action.count);
		}
	}
}

function requireBegun({setup: {plan}}: Subject, begun: boolean): void {
	if (!begun) {
		throw new SimulationFailure(`an operation of the script "${plan.script?.name}" was refused`);
	}
}

export async function runScript(subject: Subject, {actions}: Script): Promise<void> {
	for (const action of actions) {
		await perform(subject, action);
	}

	await finishOperations(subject);
	for (const generation of subject.model.snapshots.names) {
		await readSnapshot(subject, generation);
	}
}
