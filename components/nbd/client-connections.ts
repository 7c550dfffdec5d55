/** All clients that are connected now. */
import type {Socket} from 'node:net';
import {Connection, type ConnectionContext} from './connection.js';
import {
	connectionCountMax,
	finishMsMax,
	localConnectionCountMin,
	unknownCountMax,
	unknownMsMin,
	watchIntervalMs,
} from './client-limits.js';

export class ClientConnections {
	readonly #context: ConnectionContext;
	/** Each with the promise of its end. */
	readonly #connections = new Map<Connection, Promise<void>>();
	#refusedCount = 0;
	#watching = false;
	/** When connections that still finish their requests are broken off. */
	#finishedByMs = Infinity;
	#onOverdue: () => void = () => undefined;

	constructor(context: ConnectionContext) {
		this.#context = context;
	}

	get count(): number {
		return this.#connections.size;
	}

	get refusedCount(): number {
		return this.#refusedCount;
	}

	/** @param isLocal the client has reached a unix socket */
	accept(socket: Socket, {isLocal, mustUseTls}: {readonly isLocal: boolean; readonly mustUseTls: boolean}): void {
		const hasRoom =
			this.#connections.size < (isLocal ? connectionCountMax : connectionCountMax - localConnectionCountMin);
		if (!hasRoom || (mustUseTls && !this.#hasRoomForUnknown())) {
			this.#refusedCount++;
			socket.destroy();
			return;
		}

		const connection = new Connection(socket, this.#context, mustUseTls);
		this.#connections.set(connection, this.#serve(connection));
		this.#startWatching();
	}

	/** Who does not say who it is makes room for who may: the oldest one goes, unless it has just come. */
	#hasRoomForUnknown(): boolean {
		const unknown = [...this.#connections.keys()].filter(({isKnown}) => !isKnown);
		if (unknown.length < unknownCountMax) {
			return true;
		}

		const [oldest] = unknown;
		if (oldest.ageMs(this.#context.env.now()) < unknownMsMin) {
			return false;
		}

		oldest.abort();
		this.#connections.delete(oldest);
		return true;
	}

	/** Ends all connections without waiting: each answers what it has accepted, and takes no more. */
	closeAll(): void {
		for (const connection of this.#connections.keys()) {
			connection.finish();
		}
	}

	/** Ends all connections and waits for what they have accepted, within a limit. */
	async finish(): Promise<void> {
		this.#finishedByMs = this.#context.env.now() + finishMsMax;
		this.closeAll();
		const overdue = new Promise<void>(resolve => {
			this.#onOverdue = resolve;
		});
		await Promise.race([Promise.all(this.#connections.values()), overdue]);
	}

	async #serve(connection: Connection): Promise<void> {
		try {
			await connection.serve();
		} catch (error) {
			this.#context.env.fail(error instanceof Error ? (error.stack ?? error.message) : String(error));
		} finally {
			this.#connections.delete(connection);
		}
	}

	#startWatching(): void {
		if (!this.#watching) {
			this.#watching = true;
			void this.#watch();
		}
	}

	/** One clock for all timeouts; it rests while nobody is connected. */
	async #watch(): Promise<void> {
		while (this.#connections.size > 0) {
			await this.#context.env.sleep(watchIntervalMs);
			const nowMs = this.#context.env.now();
			if (nowMs > this.#finishedByMs) {
				this.#onOverdue();
			}

			for (const connection of this.#connections.keys()) {
				const reason = connection.watch(nowMs, this.#finishedByMs);
				if (reason !== undefined) {
					this.#context.env.log(`closed a connection: ${reason}`, 'warning');
				}
			}
		}

		this.#watching = false;
	}
}
