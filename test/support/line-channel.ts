/** A conversation in lines of text over a socket that another program opens. */
import net from 'node:net';
import {setTimeout as wait} from 'node:timers/promises';

/** How long an answer may take. Emulated machines are slow, and other tests run beside them. */
const answerTimeoutMs = 60_000;

export class LineChannel {
	readonly #server: net.Server;
	#socket: net.Socket | undefined;
	#text = '';
	#wake: () => void = () => undefined;

	private constructor(path: string) {
		this.#server = net
			.createServer(socket => {
				this.#socket = socket.setEncoding('utf8').on('data', (text: string) => {
					this.#text += text;
					this.#wake();
				});
				// Whoever waits for an answer learns of the end by the program's own.
				socket.on('error', () => undefined);
				this.#wake();
			})
			.listen(path);
	}

	/** Waits on a unix socket for the one program that will connect to it. */
	static async listen(path: string): Promise<LineChannel> {
		const channel = new LineChannel(path);
		await new Promise<void>((resolve, reject) => {
			channel.#server.once('listening', resolve).once('error', reject);
		});
		return channel;
	}

	/** Everything that was said and not taken yet. */
	get pending(): string {
		return this.#text;
	}

	send(line: string): void {
		this.#socket?.write(`${line}\n`);
	}

	/**
	 * Takes everything up to and including what matches.
	 * @throws Error where it does not come in time, or `ended` resolves before
	 */
	async until(pattern: RegExp, ended: Promise<unknown>): Promise<RegExpExecArray> {
		const late = new AbortController();
		const over = Promise.race([
			ended.then(() => 'the program ended'),
			wait(answerTimeoutMs, `nothing came for ${answerTimeoutMs} ms`, {signal: late.signal, ref: false}),
		]);
		over.catch(() => undefined);
		try {
			for (;;) {
				const match = pattern.exec(this.#text);
				if (match) {
					this.#text = this.#text.slice(match.index + match[0].length);
					return match;
				}

				const reason = await Promise.race([
					over,
					new Promise<undefined>(resolve => {
						this.#wake = () => resolve(undefined);
					}),
				]);
				if (reason !== undefined) {
					throw new Error(`${reason} before ${String(pattern)} came; what came is: ${this.#text}`);
				}
			}
		} finally {
			late.abort();
		}
	}

	close(): void {
		this.#socket?.destroy();
		this.#server.close();
	}
}
