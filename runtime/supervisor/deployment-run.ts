/** Runs deployments: the entry points of the command line. */
import {resolve} from 'node:path';
import type {Child, Deployment} from '../deployment/checked-deployment.js';
import {lockStateDirectory} from './state-lock.js';
import {StartError} from '../sdk/component.js';
import {childrenNeededBy} from './child-graph.js';
import {ControlError} from './control-client.js';
import {ControlServer, callService, toJson, type Controlled} from './control-server.js';
import {DeploymentFollower} from './deployment-follower.js';
import type {LogSink, RuntimeLog} from './log.js';
import {watchOpenFiles} from './open-files-watch.js';
import type {EndLimits} from './orderly-end.js';
import {Supervision} from './supervision.js';

export interface RuntimeOptions {
	/** Made if it is not there. */
	readonly stateDirectory: string;
	/** Takes the lines of the log. */
	readonly log: LogSink;
	/** How long the end may take; shorter for tests. */
	readonly endLimits?: EndLimits;
	/** How to follow the file of a deployment; without it, what was started runs until the end. */
	readonly follow?: {
		/** False: edits are applied only when `runtime apply` or `runtime swap` asks for it. */
		readonly watch: boolean;
		load(file: string): Promise<Deployment>;
	};
}

export interface RunningDeployment {
	/** Resolves when every child is up; rejects when one cannot start, which the log has told. */
	readonly ready: Promise<void>;
	/** Resolves with the exit code when everything has stopped, for whatever reason. */
	readonly ended: Promise<number>;
	/** Stops everything in order; resolves with `ended`. */
	stop(): Promise<void>;
	/**
	 * Names of children whose threads or processes are still there after the end: only the end of the process takes
	 * them along.
	 */
	readonly lingering: readonly string[];
}

/** Tools are started by `runtime run` alone, unless the runtime is to end with them. */
function isStarted({component, exitPropagate}: Child): boolean {
	return component.kind === 'service' || exitPropagate;
}

/** What `runtime start` starts of a deployment. */
export function startedOf({children}: Deployment): Child[] {
	return children.filter(isStarted);
}

async function openControl(controlled: Controlled, stateDirectory: string): Promise<ControlServer> {
	const control = new ControlServer(controlled);
	try {
		await control.listen(stateDirectory);
	} catch (error) {
		controlled.supervision.log.say(
			`no control socket, "runtime status" will not work: ${(error as Error).message}`,
			'warning',
		);
	}

	return control;
}

async function announce(supervision: Supervision, log: RuntimeLog): Promise<void> {
	void supervision.start();
	await supervision.ready.promise;
	log.say('ready');
	for (const hint of supervision.hints) {
		log.say(`attach: ${hint}`);
	}
}

/** Starts all services of a deployment. @throws StartError where another runtime uses the state directory */
export async function startDeployment(deployment: Deployment, options: RuntimeOptions): Promise<RunningDeployment> {
	const directory = resolve(options.stateDirectory);
	const lock = lockStateDirectory(directory);
	const {follow} = options;
	const supervision = new Supervision({
		children: startedOf(deployment),
		stateDirectory: directory,
		log: options.log,
		limits: options.endLimits,
	});
	const {log} = supervision;
	const follower = follow && new DeploymentFollower(supervision, {deployment, load: follow.load, startedOf, log});
	const control = await openControl({supervision, follower}, directory);
	const endWatch = watchOpenFiles(log);
	const ended = supervision.ended.promise.finally(async () => {
		endWatch();
		follower?.close();
		await control.close();
		lock.release();
	});
	const ready = announce(supervision, log);
	if (follow?.watch) {
		follower?.watch();
	}

	// Whoever does not wait for `ready` learns of a failure from the log and from `ended`.
	ready.catch(() => undefined);
	return {
		ready,
		ended,
		get lingering() {
			return supervision.lingering;
		},
		async stop() {
			await supervision.end(0);
			await ended;
		},
	};
}

/** A request to a service of a child. @throws ControlError */
export type ServiceCall = (service: string, operation: string, request: Record<string, unknown>) => Promise<unknown>;

/**
 * Starts one service with the servers that it needs, for requests of the command line, and stops it after `job`.
 * @throws StartError where another runtime uses the state directory, or a child does not start
 */
export async function withService<T>(
	deployment: Deployment,
	name: string,
	options: RuntimeOptions,
	job: (call: ServiceCall) => Promise<T>,
): Promise<T> {
	const service = deployment.children.find(child => child.name === name)!;
	const directory = resolve(options.stateDirectory);
	const lock = lockStateDirectory(directory);
	const supervision = new Supervision({
		children: childrenNeededBy(deployment, service),
		stateDirectory: directory,
		log: options.log,
	});
	try {
		void supervision.start();
		await supervision.ready.promise;
		return await job(async (serviceName, operation, request) => {
			const reply = await callService(supervision, {service: serviceName, operation, request, child: name});
			if (!reply.ok) {
				throw new ControlError(reply.code, reply.message);
			}

			// As it would have come over the control socket.
			return JSON.parse(JSON.stringify(reply.result, toJson)) as unknown;
		});
	} finally {
		await supervision.end(0);
		lock.release();
	}
}

/**
 * Runs one tool with the servers that it needs, and resolves with its exit value (1 where a server did not start).
 * @throws StartError where there is no such tool, or another runtime uses the state directory
 */
export async function runTool(deployment: Deployment, toolName: string, options: RuntimeOptions): Promise<number> {
	const tool = deployment.children.find(({name, component}) => name === toolName && component.kind === 'tool');
	if (!tool) {
		const names = deployment.children.filter(({component}) => component.kind === 'tool').map(({name}) => name);
		throw new StartError(
			`${deployment.file} has no tool "${toolName}"; ${names.length > 0 ? `its tools are ${names.join(', ')}` : 'it has none'}`,
		);
	}

	const children = childrenNeededBy(deployment, tool).map(child =>
		child === tool ? {...tool, exitPropagate: true} : child,
	);
	const directory = resolve(options.stateDirectory);
	const lock = lockStateDirectory(directory);
	const supervision = new Supervision({children, stateDirectory: directory, log: options.log});
	void supervision.start();
	return supervision.ended.promise.finally(() => {
		lock.release();
	});
}
