/** A server as a child process: started, waited for, stopped. Nothing that the bench starts survives it. */
import {spawn, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {createConnection} from 'node:net';
import {setTimeout as sleep} from 'node:timers/promises';

/** Time for a server to accept connections, in milliseconds: a key derivation takes seconds on a busy machine. */
const startTimeMaxMs = 60_000;
const retryMs = 50;

const running = new Set<ChildProcess>();

/** Ends whatever still runs, at once. */
export function killServers(): void {
	for (const child of running) {
		child.kill('SIGKILL');
	}
}

async function canConnect(socketPath: string): Promise<boolean> {
	return new Promise(resolve => {
		const socket = createConnection(socketPath);
		socket.once('connect', () => {
			socket.destroy();
			resolve(true);
		});
		socket.once('error', () => {
			resolve(false);
		});
	});
}

export class ServerProcess {
	readonly #child: ChildProcess;
	readonly #ended: Promise<unknown>;
	#output = '';
	#hasEnded = false;

	constructor(program: string, words: readonly string[], directory: string) {
		this.#child = spawn(program, words, {cwd: directory, stdio: ['ignore', 'pipe', 'pipe']});
		running.add(this.#child);
		for (const stream of [this.#child.stdout, this.#child.stderr]) {
			stream?.setEncoding('utf8').on('data', (text: string) => {
				this.#output += text;
			});
		}

		this.#ended = once(this.#child, 'close').catch((error: unknown) => {
			this.#output += String(error);
		}).finally(() => {
			this.#hasEnded = true;
			running.delete(this.#child);
		});
	}

	get pid(): number {
		return this.#child.pid ?? -1;
	}

	/** Everything printed so far. */
	get output(): string {
		return this.#output;
	}

	/** Waits until the socket accepts connections. @throws Error where the server ends, or takes too long */
	async listens(socketPath: string): Promise<void> {
		for (let waitedMs = 0; !await canConnect(socketPath); waitedMs += retryMs) {
			if (this.#hasEnded || waitedMs > startTimeMaxMs) {
				throw new Error(`the server of ${socketPath} ${this.#hasEnded ? 'ended' : 'does not listen'}:\n${this.#output}`);
			}

			await sleep(retryMs);
		}
	}

	/** Asks the server to end, and waits for it. */
	async stop(): Promise<void> {
		this.#child.kill('SIGTERM');
		await this.#ended;
	}
}
