/** One connection to a running runtime for many requests with payload, one after the other. */
import {createConnection, type Socket} from 'node:net';
import {ControlError} from './control-client.js';
import {ControlReply, controlLineMax, controlSocketName, type ControlRequest} from './control-request.js';
import {LineReader} from './line-reader.js';
import {socketPath} from './socket-path.js';

/** Bytes that one look at the socket brings beside payload. */
const lineMemorySize = 64 * 1024;

/** A reply may list much. */
const replyLengthMax = 16 * controlLineMax;

type Call = Extract<ControlRequest, {op: 'call'}>;

interface Answer {
	readonly reply: ControlReply;
	readonly payload: Buffer | undefined;
}

export class ControlConnection {
	readonly #socket: Socket;
	/** Where the payload of the answer shall go. */
	#payloadMemory: Buffer | undefined;
	#answered: ((answer: Answer) => void) | undefined;
	#failed: ((error: Error) => void) | undefined;
	#fault: Error | undefined;

	private constructor(path: string) {
		const reader = new LineReader({
			lengthMax: replyLengthMax,
			payloadMemory: length =>
				this.#payloadMemory && this.#payloadMemory.length >= length
					? this.#payloadMemory.subarray(0, length)
					: Buffer.allocUnsafeSlow(length),
			payloadLengthOf: line => (JSON.parse(line) as {payload?: number}).payload ?? 0,
			onLine: (line, payload) => {
				this.#answered?.({reply: ControlReply.parse(JSON.parse(line)), payload});
			},
		});
		const lines = Buffer.allocUnsafeSlow(lineMemorySize);
		const socket = createConnection({
			path,
			onread: {
				// Payload is read to its place at once.
				buffer: () => reader.room ?? lines,
				callback(length, memory) {
					try {
						reader.take(Buffer.from(memory.buffer, memory.byteOffset, length));
					} catch (error) {
						socket.destroy(error as Error);
					}

					return true;
				},
			},
		});
		this.#socket = socket;
		socket.on('error', error => {
			this.#fault = error;
		});
		socket.on('close', () => {
			this.#fault ??= new Error('the runtime ended before it answered');
			this.#failed?.(this.#fault);
		});
	}

	/** @throws Error where no runtime is there */
	static async open(stateDirectory: string): Promise<ControlConnection> {
		const reached = socketPath(stateDirectory, controlSocketName);
		try {
			const connection = new ControlConnection(reached.path);
			await new Promise<void>((resolve, reject) => {
				connection.#socket.once('connect', resolve).once('error', reject);
			});
			return connection;
		} finally {
			reached.release();
		}
	}

	/**
	 * One call at a time. @returns the result, and its `data` as it came: in `into` where it fits in there, else in
	 * memory of its own. @throws ControlError
	 */
	async call(
		call: Omit<Call, 'op' | 'raw' | 'payload'>,
		{data, into}: {data?: Uint8Array | undefined; into?: Buffer | undefined} = {},
	): Promise<{result: unknown; data: Buffer | undefined}> {
		const line = JSON.stringify({op: 'call', ...call, raw: true, ...(data && {payload: data.length})});
		const {reply, payload} = await new Promise<Answer>((resolve, reject) => {
			if (this.#fault) {
				reject(this.#fault);
				return;
			}

			this.#payloadMemory = into;
			this.#answered = resolve;
			this.#failed = reject;
			this.#socket.cork();
			this.#socket.write(`${line}\n`);
			if (data) {
				this.#socket.write(data);
			}

			this.#socket.uncork();
		});
		if (!reply.ok) {
			throw new ControlError(reply.code, reply.message);
		}

		return {result: reply.result, data: payload};
	}

	close(): void {
		this.#socket.destroy();
	}
}
