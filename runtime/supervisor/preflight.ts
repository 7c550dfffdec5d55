/**
 * What can be known before anything is started or made: components are asked what would keep them from working on this
 * host with their configuration, and the runtime looks for what it needs itself. Nothing is written, nothing is opened
 * for good.
 */
import {resolve} from 'node:path';
import type {Child, Deployment, SourcePosition} from '../deployment/checked-deployment.js';
import {DeploymentError, Problems, type Problem} from '../deployment/problem.js';
import {variableLength} from '../process/process-environment.js';
import type {Obstacle, PreflightContext} from '../sdk/component.js';
import {whyDirectoryUnmakable} from '../sdk/host-path.js';
import {moreOpenFiles, openFilesMax} from '../sdk/open-files.js';
import {isolationProblem} from './isolated-start.js';
import {loadingDescriptorCount} from './load-limiter.js';
import {bufferShare} from '../deployment/ram-share.js';

/**
 * Descriptors that the runtime itself has open, and some that it needs for a moment: its sockets, the lock, what it
 * asks the system.
 */
const ownDescriptorCount = 48;

/**
 * Of a thread: its event loop's, and those of its children. Measured as all others here, with each shipped assembly.
 */
const threadDescriptorCount = 6;

/** Of a process of its own: its pipes, and a pair of sockets for each session. */
const processDescriptorCount = 16;

function preflightContext(child: Child, children: readonly Child[], stateDirectory: string): PreflightContext {
	return {
		stateDirectory,
		resolvePath: path => resolve(stateDirectory, path),
		variable: name => process.env[name],
		variableLength,
		clientCount: service =>
			children
				.flatMap(({routes}) => routes)
				.filter(route => route.server === child.name && route.service === service).length,
		leaseLimit: bufferShare(child.ramQuantum),
	};
}

function obstaclesOf(child: Child, children: readonly Child[], stateDirectory: string): readonly Obstacle[] {
	const {component, config} = child;
	return (
		component.obstacles?.(component.config.parse(config), preflightContext(child, children, stateDirectory)) ?? []
	);
}

/** What runs at the same time: all services, and of the tools, where they are not asked for one by one, any. */
function runningHosts(children: readonly Child[]): Child[] {
	const tools = children.filter(({component, exitPropagate}) => component.kind === 'tool' && !exitPropagate);
	const running = children.filter(child => !tools.slice(1).includes(child));
	return [...new Map(running.map(child => [child.group, child])).values()];
}

/** What the runtime needs itself. */
function reportRuntime(
	position: SourcePosition,
	children: readonly Child[],
	stateDirectory: string,
	problems: Problems,
): void {
	const reason = whyDirectoryUnmakable(stateDirectory);
	if (reason !== undefined) {
		problems.report(
			position,
			`the state directory ${stateDirectory} cannot be used: ${reason}`,
			'choose another one with --state, or give this user rights there',
		);
	}

	const hosts = runningHosts(children);
	const needed =
		ownDescriptorCount +
		loadingDescriptorCount +
		hosts.reduce((sum, {isolation}) => sum + (isolation ? processDescriptorCount : threadDescriptorCount), 0);
	const max = openFilesMax();
	if (max !== undefined && max < needed) {
		problems.report(
			position,
			`this process may have ${max} files open at once; ${hosts.length} threads or processes of components need up to ${needed} while they start, and later one more for each client`,
			moreOpenFiles(Math.max(4096, needed)),
		);
	}
}

/**
 * Looks for what would keep `children`, those of the deployment that are to be started, from starting here; returns
 * what works without. @throws DeploymentError
 */
export function preflight(
	{files, children: all}: Deployment,
	children: readonly Child[],
	stateDirectory: string,
): readonly Problem[] {
	const errors = new Problems();
	const warnings = new Problems();
	const [first] = children;
	if (first) {
		reportRuntime({...first.position, line: 1, column: 1}, children, stateDirectory, errors);
	}

	for (const child of children) {
		const isolation = child.isolation && isolationProblem(child.isolation);
		if (isolation !== undefined) {
			const problems = child.isolation?.ifMissing === 'continue' ? warnings : errors;
			problems.report(
				child.position,
				`child "${child.name}" cannot run in a process of its own: ${isolation}`,
				'or go on without it with <isolation if_missing="continue"/>',
			);
		}

		for (const {at = [], what, remedy, isMinor = false} of obstaclesOf(child, all, stateDirectory)) {
			(isMinor ? warnings : errors).report(child.positionOf(at), `child "${child.name}": ${what}`, remedy);
		}
	}

	if (errors.count > 0) {
		throw new DeploymentError(errors.sorted(), files);
	}

	return warnings.sorted();
}
