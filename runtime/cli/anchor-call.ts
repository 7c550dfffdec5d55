/** Requests about the keys of a trust anchor: of a running runtime, or of the anchor alone where none runs. */
import type {Deployment} from '../deployment/checked-deployment.js';
import {ControlError, requestControl} from '../supervisor/control-client.js';
import {withService} from '../supervisor/deployment-run.js';
import {readDeployment} from './deploy-file.js';
import {complain} from './output.js';

const service = 'anchor_keys';

export interface AnchorTarget {
	readonly stateDirectory: string;
	/** The deployment file, for when no runtime runs. */
	readonly deploy: string | undefined;
	/** The child that is the anchor; the first one where it is not given. */
	readonly child: string | undefined;
}

export type AnchorCall = (operation: string, request?: Record<string, unknown>) => Promise<unknown>;

/** Whether a runtime uses the state directory. */
async function isRunning(stateDirectory: string): Promise<boolean> {
	try {
		await requestControl(stateDirectory, {op: 'status'});
		return true;
	} catch (error) {
		if (error instanceof ControlError && error.code === 'not_running') {
			return false;
		}

		throw error;
	}
}

function anchorOf({children, file}: Deployment, name: string | undefined): string {
	const anchors = children
		.filter(({component}) => Object.values(component.provides).some(session => session.name === service))
		.map(child => child.name);
	const found = name === undefined ? anchors.at(0) : anchors.find(anchor => anchor === name);
	const slotless = children.filter(
		({component}) =>
			anchors.length === 0 && Object.values(component.provides).some(session => session.name === 'trust_anchor'),
	);
	if (found === undefined && slotless.length > 0) {
		throw new Error(
			`${file}: ${slotless.map(child => `"${child.name}" is a ${child.binary}`).join(', ')}, which has no key slots: what opens it is chosen when it is made; its README says how that is changed`,
		);
	}

	if (found === undefined) {
		throw new Error(
			`${file} has no trust anchor with key slots${name === undefined ? '' : ` named "${name}"`}; it has ${anchors.join(', ') || 'none'}`,
		);
	}

	if (name === undefined && anchors.length > 1) {
		throw new Error(`there are several trust anchors (${anchors.join(', ')}); say which with --anchor`);
	}

	return found;
}

/** Undefined where the deployment file is wrong, which has been said then. */
export async function withAnchor<T>(
	{stateDirectory, deploy, child}: AnchorTarget,
	job: (call: AnchorCall) => Promise<T>,
): Promise<T | undefined> {
	if (await isRunning(stateDirectory)) {
		return job(async (operation, request = {}) =>
			requestControl(stateDirectory, {op: 'call', service, operation, request, child}),
		);
	}

	const deployment = await readDeployment(deploy);
	if (!deployment) {
		return undefined;
	}

	const log = (line: string) => {
		// What is asked for goes to standard output alone; an anchor that is locked is no news here.
		if (/\] (?:warning|error): /.test(line) && !line.includes('the trust anchor is locked')) {
			complain(line);
		}
	};
	return withService(deployment, anchorOf(deployment, child), {stateDirectory, log}, async call =>
		job(async (operation, request = {}) => call(service, operation, request)),
	);
}
