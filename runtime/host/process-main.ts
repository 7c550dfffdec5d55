/**
 * What runs in an isolated process: it takes its rights from itself, then loads its components. It ends when the
 * runtime does.
 */
import {enterSandbox} from '../isolation/sandbox.js';
import {receiveSecrets} from '../isolation/secret-handover.js';
import {takeDescriptor} from '../isolation/socket-pair.js';
import {ignoreDebuggerSignal} from '../process/process-closure.js';
import {FrameSocket} from '../transport/frame-socket.js';
import type {FromHost, ToHost} from './messages.js';
import {descriptors, type ProcessStart} from './process-start.js';

/** Puts the received ends of sessions where the message has named them. */
function withSockets(message: ToHost): ToHost {
	const take = () => ({socket: takeDescriptor(descriptors.sessions)});
	switch (message.type) {
		case 'start': {
			return {
				...message,
				connections: message.connections.map(connection =>
					connection.port ? {...connection, port: take()} : connection,
				),
			};
		}

		case 'serve':
		case 'connect': {
			return {...message, port: take()};
		}

		default: {
			return message;
		}
	}
}

let onMessage: (message: ToHost) => void = () => undefined;

function post(message: FromHost): void {
	control.send(message);
	// What is said right before the end must not wait for the next turn.
	control.flush();
}

async function begin({data, sandbox, mayMiss}: ProcessStart): Promise<void> {
	ignoreDebuggerSignal();
	const missing = enterSandbox(sandbox);
	if (missing.length > 0 && !mayMiss) {
		throw new Error(
			`isolation was asked for and cannot be given: missing are ${missing.join(', ')}; the attribute if_missing="continue" of <isolation> goes on without`,
		);
	}

	for (const what of missing) {
		post({type: 'log', child: data.children[0].name, level: 'warning', text: `isolation: missing is ${what}`});
	}

	const secrets = receiveSecrets(descriptors.secrets);
	const {runHost} = await import('./host-run.js');
	await runHost(data, {
		post,
		listen(listener) {
			onMessage = listener;
		},
		secret(name) {
			const secret = secrets.get(name);
			secrets.delete(name);
			return secret;
		},
	});
}

function receive(message: ToHost | ProcessStart): void {
	if (message.type !== 'begin') {
		onMessage(withSockets(message));
		return;
	}

	begin(message).catch((error: unknown) => {
		post({type: 'died', child: undefined, reason: error instanceof Error ? error.message : String(error)});
		process.exit(1);
	});
}

const control = new FrameSocket(descriptors.control, {
	place: () => [],
	onFrame: header => {
		receive(header as ToHost | ProcessStart);
	},
	onBroken() {
		process.exit(1);
	},
});
