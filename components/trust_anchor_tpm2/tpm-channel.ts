/**
 * The way to a TPM: the kernel's device, or the unix socket of an emulator. One command goes out, one response comes
 * back, both framed by nothing but the length in their header.
 */
import {open, stat, type FileHandle} from 'node:fs/promises';
import net from 'node:net';
import type {Environment} from '../../runtime/sdk/component.js';
import {TpmError} from './tpm-error.js';

/** Tag, length, code. */
export const headerLength = 10;
const lengthOffset = 2;
/** No TPM answers with more (part 2, TPM2_MAX_RESPONSE_SIZE of the PC client profile). */
const responseLengthMax = 4096;
/** An emulator that serves somebody else answers later; a key made by a slow one takes seconds. */
const socketAnswerTimeoutMs = 30_000;
/** An emulator serves one connection and lets one wait; more of them come back after a pause. */
const connectPauseMs = 50;
const connectAttemptMax = socketAnswerTimeoutMs / connectPauseMs;

export interface TpmChannel {
	/**
	 * True where closing the channel leaves loaded objects and sessions in the TPM, as nobody manages them; one that a
	 * killed program left behind takes one of few places.
	 */
	readonly isUnmanaged: boolean;
	/** Sends one command and gives the response, of which only the length has been checked. Calls never overlap. */
	transmit(command: Uint8Array): Promise<Buffer>;
	close(): Promise<void>;
}

function reasonOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

/** The length in a header. @throws TpmError where it cannot be one */
function announcedLength(header: Buffer): number {
	const length = header.readUInt32BE(lengthOffset);
	if (length < headerLength || length > responseLengthMax) {
		throw new TpmError('malformed', `a response of ${length} bytes is none`);
	}

	return length;
}

class DeviceChannel implements TpmChannel {
	/** The kernel's resource manager (tpmrm0) drops what a client leaves behind. */
	readonly isUnmanaged = false;
	readonly #file: FileHandle;

	constructor(file: FileHandle) {
		this.#file = file;
	}

	async transmit(command: Uint8Array): Promise<Buffer> {
		const response = Buffer.alloc(responseLengthMax);
		let length;
		try {
			// The kernel takes a command in one write, carries it out, and gives the response in one read.
			const {bytesWritten} = await this.#file.write(command, 0, command.length, null);
			if (bytesWritten !== command.length) {
				throw new Error(`only ${bytesWritten} of ${command.length} bytes were taken`);
			}

			({bytesRead: length} = await this.#file.read(response, 0, response.length, null));
		} catch (error) {
			throw new TpmError('unreachable', reasonOf(error));
		}

		if (length < headerLength || announcedLength(response) !== length) {
			throw new TpmError('malformed', `a response of ${length} bytes does not have the length it announces`);
		}

		return response.subarray(0, length);
	}

	async close(): Promise<void> {
		await this.#file.close();
	}
}

class SocketChannel implements TpmChannel {
	readonly isUnmanaged = true;
	readonly #socket: net.Socket;
	#received: Buffer = Buffer.alloc(0);
	#failure: TpmError | undefined;
	#settle: (() => void) | undefined;

	constructor(socket: net.Socket, answerTimeoutMs: number) {
		this.#socket = socket;
		socket.on('data', piece => {
			this.#received = Buffer.concat([this.#received, piece]);
			if (this.#received.length > responseLengthMax) {
				this.#fail(new TpmError('malformed', `more than ${responseLengthMax} bytes came back`));
			}

			this.#settle?.();
		});
		socket.on('error', error => {
			this.#fail(new TpmError('unreachable', error.message));
		});
		socket.on('close', () => {
			this.#fail(new TpmError('unreachable', 'the connection ended'));
		});
		socket.setTimeout(answerTimeoutMs, () => {
			this.#fail(
				new TpmError(
					'unreachable',
					`no answer within ${answerTimeoutMs / 1000} s; another program may be using the TPM`,
				),
			);
		});
	}

	async transmit(command: Uint8Array): Promise<Buffer> {
		if (this.#received.length > 0) {
			throw new TpmError('malformed', `${this.#received.length} bytes came that nobody asked for`);
		}

		this.#socket.write(command);
		while (!this.#hasResponse()) {
			if (this.#failure) {
				throw this.#failure;
			}

			await new Promise<void>(resolve => {
				this.#settle = resolve;
			});
		}

		const response = this.#received;
		if (response.length > announcedLength(response)) {
			throw new TpmError(
				'malformed',
				`a response of ${response.length} bytes does not have the length it announces`,
			);
		}

		this.#received = Buffer.alloc(0);
		return response;
	}

	async close(): Promise<void> {
		this.#socket.destroy();
	}

	#hasResponse(): boolean {
		return this.#received.length >= headerLength && this.#received.length >= announcedLength(this.#received);
	}

	#fail(error: TpmError): void {
		this.#failure ??= error;
		this.#socket.destroy();
		this.#settle?.();
	}
}

async function connectOnce(path: string): Promise<net.Socket> {
	const socket = net.connect({path});
	await new Promise<void>((resolve, reject) => {
		socket.once('connect', resolve);
		socket.once('error', reject);
	});
	return socket;
}

async function connect(path: string, {sleep}: Pick<Environment, 'sleep'>): Promise<net.Socket> {
	for (let attempt = 1; ; attempt++) {
		try {
			return await connectOnce(path);
		} catch (error) {
			const isBusy = error instanceof Error && 'code' in error && error.code === 'EAGAIN';
			if (!isBusy || attempt === connectAttemptMax) {
				throw new TpmError('unreachable', isBusy ? 'other programs use it all the time' : reasonOf(error));
			}

			await sleep(connectPauseMs);
		}
	}
}

/** Opens the device or the socket at `path`. @throws TpmError */
export async function openTpmChannel(
	path: string,
	env: Pick<Environment, 'sleep'>,
	answerTimeoutMs = socketAnswerTimeoutMs,
): Promise<TpmChannel> {
	try {
		if (!(await stat(path)).isSocket()) {
			return new DeviceChannel(await open(path, 'r+'));
		}
	} catch (error) {
		throw new TpmError('unreachable', `there is none (${reasonOf(error)})`);
	}

	return new SocketChannel(await connect(path, env), answerTimeoutMs);
}
