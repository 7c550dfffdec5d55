/** One client, from its greeting to its end. */
import type {Socket} from 'node:net';
import type {Environment} from '../../runtime/sdk/component.js';
import {ByteSource} from './byte-source.js';
import type {ExportList} from './export-list.js';
import {Handshake} from './handshake.js';
import {handshakeMsMax, stallMsMax, stallMsMaxWhenShort} from './limits.js';
import {Outbox, type ReplyPages} from './outbox.js';
import type {PayloadMemory} from './payload-memory.js';
import {Transmission} from './transmission.js';

/** What all connections share. */
export interface ConnectionContext {
	readonly env: Environment;
	readonly exports: ExportList;
	readonly memory: PayloadMemory;
	readonly pages: ReplyPages;
	readonly requestByteLengthMax: number;
	readonly payloadByteLengthMax: number;
	onFault(message: string): void;
}

export class Connection {
	readonly #socket: Socket;
	readonly #context: ConnectionContext;
	readonly #source: ByteSource;
	readonly #outbox: Outbox;
	readonly #startedMs: number;
	#progressMs: number;
	#transmission: Transmission | undefined;

	constructor(socket: Socket, context: ConnectionContext) {
		this.#socket = socket;
		this.#context = context;
		this.#startedMs = context.env.now();
		this.#progressMs = this.#startedMs;
		this.#source = new ByteSource(socket, () => {
			this.#progress();
		});
		this.#outbox = new Outbox(socket, context, (replyCount, replyByteLength) => {
			this.#progress();
			this.#transmission?.sent(replyCount, replyByteLength);
		});
		// A broken connection is an end like any other; `close` follows.
		socket.on('error', () => undefined);
	}

	/** Serves the client; resolves when it is gone and nothing is left of it. */
	async serve(): Promise<void> {
		try {
			const {env, exports, memory, requestByteLengthMax, payloadByteLengthMax, onFault} = this.#context;
			const agreement = await new Handshake({source: this.#source, socket: this.#socket, exports, requestByteLengthMax}).run();
			if (agreement) {
				this.#transmission = new Transmission({
					env, memory, agreement, requestByteLengthMax, payloadByteLengthMax, onFault, source: this.#source, outbox: this.#outbox,
				});
				await this.#transmission.run();
			}
		} finally {
			this.#source.stop();
			this.#socket.destroySoon();
		}
	}

	/** Takes no further request; those accepted are still answered, then the connection ends. */
	finish(): void {
		this.#source.stop();
	}

	/** Breaks off a client that takes too long, and says why. */
	watch(nowMs: number, finishedByMs: number): string | undefined {
		const reason = nowMs > finishedByMs ? 'its requests did not end in time' : this.#overdue(nowMs);
		if (reason !== undefined) {
			this.#abort();
		}

		return reason;
	}

	#abort(): void {
		this.#source.stop();
		this.#socket.destroy();
	}

	#overdue(nowMs: number): string | undefined {
		if (!this.#transmission) {
			return nowMs - this.#startedMs > handshakeMsMax ? `no export chosen within ${handshakeMsMax / 1000} s` : undefined;
		}

		const limitMs = this.#context.memory.short ? stallMsMaxWhenShort : stallMsMax;
		const {sendingSinceMs} = this.#outbox;
		if (nowMs - Math.max(this.#progressMs, sendingSinceMs ?? 0) <= limitMs) {
			return undefined;
		}

		if (sendingSinceMs !== undefined) {
			return `no reply taken for ${limitMs / 1000} s`;
		}

		return this.#transmission.waitingForPayload ? `the payload of a write stopped for ${limitMs / 1000} s` : undefined;
	}

	#progress(): void {
		this.#progressMs = this.#context.env.now();
	}
}
