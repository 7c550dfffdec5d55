/** A server as a child process: started, waited for, stopped. Nothing that the bench starts survives it. */
import {spawn, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {existsSync} from 'node:fs';
import {createConnection} from 'node:net';
import {setTimeout as sleep} from 'node:timers/promises';

/** Time for a server to accept connections, in milliseconds: a key derivation takes seconds on a busy machine. */
const startTimeMaxMs = 60_000;
const retryMs = 20;

const running = new Set<ChildProcess>();

/** Asks whatever still runs to end, and waits for it, but not for longer than this many milliseconds. */
export async function stopServers(timeMaxMs: number): Promise<void> {
	const ended = Promise.all(
		[...running].map(async child => {
			const end = once(child, 'close');
			child.kill('SIGTERM');
			await end;
		}),
	);
	await Promise.race([ended, sleep(timeMaxMs)]);
}

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

	/** @param variables of its environment, beside those of the bench */
	constructor(
		program: string,
		words: readonly string[],
		directory: string,
		variables: Readonly<Record<string, string>> = {},
	) {
		this.#child = spawn(program, words, {
			cwd: directory,
			env: {...process.env, ...variables},
			stdio: ['ignore', 'pipe', 'pipe'],
		});
		running.add(this.#child);
		for (const stream of [this.#child.stdout, this.#child.stderr]) {
			stream?.setEncoding('utf8').on('data', (text: string) => {
				this.#output += text;
			});
		}

		this.#ended = once(this.#child, 'close')
			.catch((error: unknown) => {
				this.#output += String(error);
			})
			.finally(() => {
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

	/**
	 * Waits until the socket is there; for servers that take one client only. @throws Error where the server ends, or
	 * takes too long
	 */
	async created(socketPath: string): Promise<void> {
		await this.#reached(socketPath, async () => existsSync(socketPath));
	}

	/** Waits until the socket accepts connections. @throws Error where the server ends, or takes too long */
	async listens(socketPath: string): Promise<void> {
		await this.#reached(socketPath, async () => canConnect(socketPath));
	}

	/** Asks the server to end, and waits for it. */
	async stop(): Promise<void> {
		this.#child.kill('SIGTERM');
		await this.#ended;
	}

	async #reached(socketPath: string, isReady: () => Promise<boolean>): Promise<void> {
		for (let waitedMs = 0; !(await isReady()); waitedMs += retryMs) {
			if (this.#hasEnded || waitedMs > startTimeMaxMs) {
				throw new Error(
					`the server of ${socketPath} ${this.#hasEnded ? 'ended' : 'does not listen'}:\n${this.#output}`,
				);
			}

			await sleep(retryMs);
		}
	}
}
