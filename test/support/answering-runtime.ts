/** A runtime that is none: it answers the command line over `runtime.sock` as a test says. */
import {createServer} from 'node:net';
import {controlSocketPath, type ControlRequest} from '../../runtime/supervisor/control-request.js';

/** What the runtime answers with; where it throws, the request is refused with that code. */
export type Answer = (request: ControlRequest) => unknown;

export class Refusal extends Error {
	override readonly name = 'Refusal';

	constructor(
		readonly code: string,
		message: string,
	) {
		super(message);
	}
}

function reply(answer: Answer, line: string): unknown {
	try {
		return {ok: true, result: answer(JSON.parse(line) as ControlRequest) ?? {}};
	} catch (error) {
		if (error instanceof Refusal) {
			return {ok: false, code: error.code, message: error.message};
		}

		throw error;
	}
}

/** Answers requests of one line each while `use` runs. */
export async function withAnsweringRuntime<T>(
	stateDirectory: string,
	answer: Answer,
	use: () => Promise<T>,
): Promise<T> {
	const server = createServer(socket => {
		let received = '';
		socket.setEncoding('utf8');
		socket.on('error', () => undefined);
		socket.on('data', (text: string) => {
			received += text;
			for (let end = received.indexOf('\n'); end !== -1; end = received.indexOf('\n')) {
				socket.write(`${JSON.stringify(reply(answer, received.slice(0, end)))}\n`);
				received = received.slice(end + 1);
			}
		});
	});
	await new Promise<void>(resolve => {
		server.listen(controlSocketPath(stateDirectory), resolve);
	});
	try {
		return await use();
	} finally {
		server.close();
	}
}
