/**
 * Requests that wait anyway go together: a queue that hands out batches. Alone, a request starts at once; under load
 * the batches grow. Requests of one batch do not overlap each other, nor any that is running.
 */
import {lockWatch} from '../lib/sync/lock-order.js';
import type {Vba} from '../sessions/vocabulary.js';

/** Contiguous blocks of the device. */
export interface Range {
	readonly vba: Vba;
	count: number;
}

/** A piece of a client's request with room for its `count` blocks. */
export interface ReadPiece extends Range {
	readonly data: Uint8Array;
}

/** What shall happen to the blocks of a range. */
type Change =
	/** They are written; `data` holds them. */
	| {readonly kind: 'write'; readonly data: Uint8Array}
	/** They read as zeroes from then on. */
	| {readonly kind: 'clear'};

/** A piece of work on blocks that no other one may touch meanwhile. */
export interface WritePiece extends Range {
	readonly change: Change;
}

interface Waiting<P extends Range> {
	readonly piece: P;
	readonly resolve: () => void;
	readonly reject: (error: unknown) => void;
}

export interface QueueLimits {
	/** Blocks in one batch. */
	readonly batchBlockCount: number;
	/** Pieces in one batch; each may need a way through the tree of its own. */
	readonly pieceCount: number;
	/** Batches that run at the same time. */
	readonly batchCount: number;
	/** True where pieces that overlap must not run at the same time. */
	readonly exclusive: boolean;
}

/** What became of each piece of a batch: undefined is success. */
export type Outcomes = ReadonlyArray<unknown>;

function overlaps(a: Range, b: Range): boolean {
	return a.vba < b.vba + b.count && b.vba < a.vba + a.count;
}

export class RequestQueue<P extends Range> {
	readonly #limits: QueueLimits;
	readonly #serve: (batch: readonly P[]) => Promise<Outcomes>;
	readonly #running = new Map<ReadonlyArray<Waiting<P>>, Promise<void>>();
	#waiting: Array<Waiting<P>> = [];
	#scheduled = false;

	/** @param serve replies with one outcome per piece, in their order */
	constructor(limits: QueueLimits, serve: (batch: readonly P[]) => Promise<Outcomes>) {
		this.#limits = limits;
		this.#serve = serve;
	}

	add(piece: P): Promise<void> {
		lockWatch?.asked('request queue');
		return new Promise((resolve, reject) => {
			this.#waiting.push({piece, resolve, reject});
			if (!this.#scheduled) {
				this.#scheduled = true;
				// Everything that this turn of the event loop brings is queued before the first batch starts.
				process.nextTick(() => {
					this.#scheduled = false;
					this.#startBatches();
				});
			}
		});
	}

	/** Resolves when a running piece that overlaps this one has ended; undefined where none runs. */
	running(piece: Range): Promise<void> | undefined {
		for (const [batch, ended] of this.#running) {
			if (batch.some(other => overlaps(piece, other.piece))) {
				return ended;
			}
		}

		return undefined;
	}

	/**
	 * Resolves when this turn of the event loop has ended and what it brought has started, as far as there is room for
	 * it.
	 */
	async started(): Promise<void> {
		await new Promise<void>(resolve => {
			process.nextTick(resolve);
		});
		this.#startBatches();
	}

	/**
	 * Resolves when everything that was asked for before has ended. What comes meanwhile is not waited for: busy
	 * clients never pause.
	 */
	async settled(): Promise<void> {
		lockWatch?.asked('request queue');
		const awaited = new Set([...this.#running.keys()].flat());
		for (const waiting of this.#waiting) {
			awaited.add(waiting);
		}

		const isAwaited = (waiting: Waiting<P>) => awaited.has(waiting);
		while (this.#waiting.some(isAwaited) || [...this.#running.keys()].some(batch => batch.some(isAwaited))) {
			// What waits for the end of this turn starts now: here nothing would ever end it.
			this.#startBatches();
			await Promise.race(this.#running.values());
		}
	}

	#startBatches(): void {
		while (this.#waiting.length > 0 && this.#running.size < this.#limits.batchCount) {
			const batch = this.#takeBatch();
			if (batch.length === 0) {
				return;
			}

			const ended = this.#run(batch);
			this.#running.set(batch, ended);
			void ended.then(() => {
				this.#running.delete(batch);
				this.#startBatches();
			});
		}
	}

	#takeBatch(): Array<Waiting<P>> {
		const batch: Array<Waiting<P>> = [];
		const left: Array<Waiting<P>> = [];
		let blockCount = 0;
		for (const waiting of this.#waiting) {
			const {piece} = waiting;
			const fits =
				blockCount === 0 ||
				(blockCount + piece.count <= this.#limits.batchBlockCount && batch.length < this.#limits.pieceCount);
			if (fits && !(this.#limits.exclusive && this.#isBlocked(piece, batch))) {
				batch.push(waiting);
				blockCount += piece.count;
			} else {
				left.push(waiting);
			}
		}

		this.#waiting = left;
		return batch;
	}

	#isBlocked(piece: P, batch: ReadonlyArray<Waiting<P>>): boolean {
		return this.running(piece) !== undefined || batch.some(other => overlaps(piece, other.piece));
	}

	/** Never rejects. */
	async #run(batch: ReadonlyArray<Waiting<P>>): Promise<void> {
		let outcomes: Outcomes;
		try {
			outcomes = await this.#serve(batch.map(({piece}) => piece));
		} catch (error) {
			outcomes = batch.map(() => error);
		}

		for (const [i, waiting] of batch.entries()) {
			if (outcomes[i] === undefined) {
				waiting.resolve();
			} else {
				waiting.reject(outcomes[i]);
			}
		}
	}
}
