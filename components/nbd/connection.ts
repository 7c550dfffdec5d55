/** One client, from its greeting to its end. */
import type {Socket} from 'node:net';
import type {Environment} from '../../runtime/sdk/component.js';
import type {RequestCounter} from '../lib/front_end/request-counter.js';
import type {BusyWait} from './busy-wait.js';
import {ByteSource} from './byte-source.js';
import type {ClientAccess} from './client-access.js';
import {DirectSocket} from './direct-socket.js';
import {Handshake, type Agreement} from './handshake.js';
import {handshakeMsMax, stallMsMax, tlsMsMax} from './client-limits.js';
import {SocketPoller} from './socket-poller.js';
import {Outbox, type ReplyPages} from './outbox.js';
import type {PayloadMemory} from './payload-memory.js';
import type {TlsServer} from './tls-server.js';
import {Transmission} from './transmission.js';

/** What all connections share. */
export interface ConnectionContext {
	readonly env: Environment;
	readonly access: ClientAccess;
	readonly tls: TlsServer | undefined;
	readonly memory: PayloadMemory;
	readonly pages: ReplyPages;
	readonly counter: RequestCounter;
	readonly busyWait: BusyWait;
	/** What is read arrives here first, and is moved on at once. */
	readonly receiveMemory: Buffer;
	readonly requestByteLengthMax: number;
	/** Logs what a client has run into. */
	onFault(message: string): void;
}

export class Connection {
	/** The client's socket, and from NBD_OPT_STARTTLS on the encrypted one in front of it. */
	#socket: Socket;
	readonly #context: ConnectionContext;
	readonly #mustUseTls: boolean;
	/** The socket below TLS too. */
	readonly #wire: DirectSocket | undefined;
	#source: ByteSource;
	/** Undefined behind TLS, whose records only the stream can read. */
	#direct: DirectSocket | undefined;
	#poller: SocketPoller | undefined;
	#outbox: Outbox | undefined;
	readonly #startedMs: number;
	#progressMs: number;
	/** What there was to take when somebody last looked. */
	#lastUnsent = '';
	/** It has said who it is, or need not. */
	#isKnown: boolean;
	#transmission: Transmission | undefined;

	/** @param mustUseTls the client has to begin TLS before it may ask for anything */
	constructor(socket: Socket, context: ConnectionContext, mustUseTls: boolean) {
		this.#direct = DirectSocket.adopt(socket, context.receiveMemory);
		this.#wire = this.#direct;
		this.#socket = this.#direct?.stream ?? socket;
		this.#context = context;
		this.#startedMs = context.env.now();
		this.#progressMs = this.#startedMs;
		this.#mustUseTls = mustUseTls;
		this.#isKnown = !mustUseTls;
		this.#source = this.#newSource();
	}

	/** False while it has to begin TLS and has not proved who it is. */
	get isKnown(): boolean {
		return this.#isKnown;
	}

	ageMs(nowMs: number): number {
		return nowMs - this.#startedMs;
	}

	/** Breaks off at once. */
	abort(): void {
		this.#source.stop();
		this.#socket.destroy();
	}

	/** Serves the client; resolves when it is gone and nothing is left of it. */
	async serve(): Promise<void> {
		try {
			const {env, memory, counter, requestByteLengthMax, onFault} = this.#context;
			const agreement = await this.#agree();
			if (agreement) {
				const account = memory.account();
				const outbox = new Outbox(
					this.#socket,
					{...this.#context, direct: this.#direct, account, extendedHeaders: agreement.extendedHeaders},
					replyCount => {
						this.#progress();
						this.#transmission?.sent(replyCount);
					},
				);
				const source = this.#source;
				const poller = new SocketPoller({
					busyWait: this.#context.busyWait,
					poll: () => source.look(),
					now: () => env.now(),
				});
				this.#poller = poller;
				this.#outbox = outbox;
				this.#transmission = new Transmission({
					env,
					account,
					counter,
					agreement,
					requestByteLengthMax,
					onFault,
					source: this.#source,
					outbox,
					onLull(requestCount) {
						poller.begin(requestCount);
					},
				});
				await this.#transmission.run();
			}
		} finally {
			this.#source.stop();
			this.#socket.destroySoon();
		}
	}

	/** The handshake, in which TLS may begin. */
	async #agree(): Promise<Agreement | undefined> {
		const {access, tls, requestByteLengthMax} = this.#context;
		const open = new Handshake({
			source: this.#source,
			socket: this.#socket,
			exports: access.of(undefined),
			requestByteLengthMax,
			tls: tls ? (this.#mustUseTls ? 'required' : 'offered') : 'none',
		});
		const outcome = await open.run();
		if (outcome !== 'start_tls' || !tls) {
			return outcome === 'start_tls' ? undefined : outcome;
		}

		// What came before TLS began must not be taken for something said behind it.
		if (!this.#source.detach()) {
			return undefined;
		}

		let identity: string | undefined;
		try {
			({socket: this.#socket, identity} = await tls.accept(this.#socket));
		} catch (error) {
			this.#context.onFault(
				`a client could not begin TLS: ${error instanceof Error ? error.message : String(error)}`,
			);
			return undefined;
		}

		this.#isKnown = true;
		this.#direct = undefined;
		this.#source = this.#newSource();
		const secured = await new Handshake({
			source: this.#source,
			socket: this.#socket,
			exports: access.of(identity ?? ''),
			requestByteLengthMax,
			tls: 'none',
			greeted: {noZeroes: open.noZeroes},
		}).run();
		return secured === 'start_tls' ? undefined : secured;
	}

	#newSource(): ByteSource {
		// A broken connection is an end like any other; `close` follows.
		this.#socket.on('error', () => undefined);
		return new ByteSource(this.#socket, {
			direct: this.#direct,
			onProgress: () => {
				this.#poller?.end();
				this.#progress();
			},
		});
	}

	/** Takes no further request; those accepted are still answered, then the connection ends. */
	finish(): void {
		this.#source.stop();
	}

	/** Breaks off a client that takes too long, and says why. */
	watch(nowMs: number, finishedByMs: number): string | undefined {
		const reason = nowMs > finishedByMs ? 'its requests did not end in time' : this.#overdue(nowMs);
		if (reason !== undefined) {
			this.abort();
		}

		return reason;
	}

	#overdue(nowMs: number): string | undefined {
		if (!this.#isKnown && this.ageMs(nowMs) > tlsMsMax) {
			return `TLS did not begin within ${tlsMsMax / 1000} s`;
		}

		if (!this.#transmission || !this.#outbox) {
			return this.ageMs(nowMs) > handshakeMsMax
				? `no export chosen within ${handshakeMsMax / 1000} s`
				: undefined;
		}

		const {sendingSinceMs, sentBatchCount} = this.#outbox;
		if (sendingSinceMs !== undefined) {
			this.#noteTaken(sentBatchCount);
		}

		if (nowMs - Math.max(this.#progressMs, sendingSinceMs ?? 0) <= stallMsMax) {
			return undefined;
		}

		if (sendingSinceMs !== undefined) {
			return `no byte of its replies taken for ${stallMsMax / 1000} s`;
		}

		return this.#transmission.waitingForPayload
			? `the payload of a write stopped for ${stallMsMax / 1000} s`
			: undefined;
	}

	/** However slowly a client takes its replies, it is served as long as it does. */
	#noteTaken(sentBatchCount: number): void {
		const unsent = [sentBatchCount, this.#socket.writableLength, ...(this.#wire?.unsentByteLengths ?? [])].join();
		if (unsent !== this.#lastUnsent) {
			this.#lastUnsent = unsent;
			this.#progress();
		}
	}

	#progress(): void {
		this.#progressMs = this.#context.env.now();
	}
}
