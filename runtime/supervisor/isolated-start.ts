/**
 * How a group of isolated components is started: what it reaches, as whom it runs, and what of that the system gives.
 */
import type {Child, Isolation} from '../deployment/checked-deployment.js';
import {confinementProblem} from '../isolation/confinement.js';
import {makeReady} from '../isolation/reached-files.js';
import {handOver} from '../isolation/secret-handover.js';
import {wipeVariable} from '../process/process-environment.js';
import {heldSecrets, sharedSecrets, type SharedSecrets} from '../process/process-secrets.js';
import type {Reach} from '../sdk/component.js';
import {ComponentProcess, type ProcessOptions} from './component-process.js';
import type {GroupHost, HostOptions} from './group-host.js';

/** Owns nothing: it lies in a range that distributions keep free. */
const isolatedUser = 65_432;

function isRoot(): boolean {
	return process.getuid?.() === 0;
}

function reachOf({component, config}: Child): Reach {
	return component.reach?.(component.config.parse(config), name => process.env[name]) ?? {};
}

/** Names of the variables with secrets that these children take. */
function secretsOf(children: readonly Child[]): string[] {
	return [...new Set(children.flatMap(child => reachOf(child).secrets ?? []))];
}

/** What the system does not give of what was asked for, with the remedy; undefined where it gives everything. */
export function isolationProblem({user}: Isolation): string | undefined {
	return user !== undefined && !isRoot()
		? 'a user of its own needs a runtime that was started as root'
		: confinementProblem();
}

/** What components on threads take of the secrets that came with the environment; it is gone from there then. */
export function secretsForThreads(children: readonly Child[]): SharedSecrets {
	return sharedSecrets(secretsOf(children.filter(({isolation}) => !isolation)));
}

/**
 * Takes all secrets out of the environment, when isolated components have been handed theirs: nothing keeps those here.
 */
export function clearEnvironment(children: readonly Child[]): void {
	secretsForThreads(children);
	for (const name of secretsOf(children)) {
		wipeVariable(name);
	}
}

/** In place of a process that may not be started: it has ended at once. */
class RefusedHost implements GroupHost {
	readonly tid = undefined;
	readonly bell = undefined;
	readonly pid = undefined;

	constructor(reason: string, {onEnd}: HostOptions) {
		setImmediate(() => {
			onEnd({child: undefined, reason, exitCode: 1, isFault: true});
		});
	}

	post(): void {
		// Nobody is there.
	}

	kill(): void {
		// It has ended.
	}

	beatEvery(): void {
		// It has ended.
	}
}

export interface IsolatedStart extends HostOptions {
	readonly limits: ProcessOptions['limits'];
	readonly children: readonly Child[];
	readonly isolation: Isolation;
	warn(text: string): void;
}

export function startIsolated({children, isolation, warn, ...options}: IsolatedStart): GroupHost {
	const mayMiss = isolation.ifMissing === 'continue';
	const problem = isolationProblem(isolation);
	if (problem !== undefined && !mayMiss) {
		return new RefusedHost(
			`isolation was asked for and cannot be given: ${problem}; or go on without it with <isolation if_missing="continue"/>`,
			options,
		);
	}

	if (problem !== undefined) {
		warn(`not isolated as it should be: ${problem}`);
	}

	const user = isRoot() ? (isolation.user ?? isolatedUser) : undefined;
	const reaches = children.map(child => reachOf(child));
	try {
		const files = makeReady(
			reaches.flatMap(({files: reached}) => reached ?? []),
			options.data.stateDirectory,
			user,
		);
		return new ComponentProcess({
			...options,
			mayMiss,
			files,
			isConfined: confinementProblem() === undefined,
			sandbox: {
				user,
				writesNothing: !files.some(({writable}) => writable),
				sockets: reaches.some(({sockets}) => sockets),
			},
			variables: reaches.flatMap(({variables}) => variables ?? []),
			secrets: handOver(secretsOf(children), heldSecrets()),
		});
	} catch (error) {
		return new RefusedHost(`its process cannot be started: ${(error as Error).message}`, options);
	}
}
