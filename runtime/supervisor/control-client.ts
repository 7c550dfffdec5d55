/** Asks a running runtime something over its `runtime.sock`. */
import {createConnection} from 'node:net';
import {ControlReply, controlSocketName, type ControlRequest} from './control-request.js';
import {socketPath} from './socket-path.js';

export type {ControlRequest, EndReport} from './control-request.js';
export type {DeploymentDifference, DeploymentStatus, EditOutcome} from './deployment-follower.js';
export type {ChildStatus, RuntimeStatus} from './runtime-status.js';
export type {EndStage} from './orderly-end.js';

/**
 * A runtime that lives says in this time how it is, even where it waits for a child that does not. Other requests take
 * as long as they do.
 */
const statusTimeLimitMs = 40_000;

/** The runtime refused a request, or there is none. */
export class ControlError extends Error {
	override readonly name = 'ControlError';

	/** `not_running`: no runtime uses the state directory. */
	constructor(
		readonly code: string,
		message: string,
	) {
		super(message);
	}
}

function connectionError(error: NodeJS.ErrnoException, stateDirectory: string): ControlError {
	return error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
		? new ControlError(
				'not_running',
				`no runtime uses the state directory ${stateDirectory}; start one with "runtime start", or name another directory with --state`,
			)
		: new ControlError('unreachable', `the runtime cannot be reached: ${error.message}`);
}

async function exchangeLine(stateDirectory: string, line: string, timeLimitMs: number): Promise<string> {
	const reached = socketPath(stateDirectory, controlSocketName);
	return new Promise<string>((resolve, reject) => {
		const socket = createConnection(reached.path);
		socket.setTimeout(timeLimitMs, () => {
			socket.destroy(
				new Error(
					`it did not answer within ${timeLimitMs / 1000} s; it may have been stopped (SIGSTOP) or be overloaded`,
				),
			);
		});
		let received = '';
		socket.setEncoding('utf8');
		socket.on('connect', () => {
			socket.write(`${line}\n`);
		});
		socket.on('data', (text: string) => {
			received += text;
			if (received.endsWith('\n')) {
				socket.destroy();
				resolve(received);
			}
		});
		socket.on('error', reject);
		socket.on('close', () => {
			reject(new Error('the runtime ended before it answered'));
		});
	}).finally(() => {
		reached.release();
	});
}

/** @throws ControlError */
export async function requestControl(
	stateDirectory: string,
	request: ControlRequest,
	limitMs = statusTimeLimitMs,
): Promise<unknown> {
	let answer;
	try {
		answer = await exchangeLine(stateDirectory, JSON.stringify(request), request.op === 'status' ? limitMs : 0);
	} catch (error) {
		throw connectionError(error as NodeJS.ErrnoException, stateDirectory);
	}

	const reply = ControlReply.parse(JSON.parse(answer));
	if (!reply.ok) {
		throw new ControlError(reply.code, reply.message);
	}

	return reply.result;
}
