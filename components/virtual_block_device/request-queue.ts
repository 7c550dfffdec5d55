/**
 * Requests that wait anyway go together: a queue that hands out batches. Alone, a request starts at once; under load
 * the batches grow. Requests of one batch do not overlap each other, nor any that is running.
 */
import type {Vba} from '../container/addresses.js';

/** A contiguous piece of a client's request. */
export interface Piece {
	readonly vba: Vba;
	readonly count: number;
	/** `count` blocks. */
	readonly data: Uint8Array;
}

interface Waiting extends Piece {
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

function overlaps(a: Piece, b: Piece): boolean {
	return a.vba < b.vba + b.count && b.vba < a.vba + a.count;
}

export class RequestQueue {
	readonly #limits: QueueLimits;
	readonly #serve: (batch: readonly Piece[]) => Promise<Outcomes>;
	readonly #running = new Map<readonly Waiting[], Promise<void>>();
	#waiting: Waiting[] = [];
	#scheduled = false;

	/** @param serve replies with one outcome per piece, in their order */
	constructor(limits: QueueLimits, serve: (batch: readonly Piece[]) => Promise<Outcomes>) {
		this.#limits = limits;
		this.#serve = serve;
	}

	async add(piece: Piece): Promise<void> {
		return new Promise((resolve, reject) => {
			this.#waiting.push({...piece, resolve, reject});
			if (!this.#scheduled) {
				this.#scheduled = true;
				// Everything that arrived in one message is queued before the first batch starts.
				queueMicrotask(() => {
					this.#scheduled = false;
					this.#startBatches();
				});
			}
		});
	}

	/** Resolves when a running piece that overlaps this one has ended; undefined where none runs. */
	running(piece: Piece): Promise<void> | undefined {
		for (const [batch, ended] of this.#running) {
			if (batch.some(other => overlaps(piece, other))) {
				return ended;
			}
		}

		return undefined;
	}

	/** Resolves when nothing waits and nothing runs. */
	async idle(): Promise<void> {
		while (this.#running.size > 0 || this.#waiting.length > 0) {
			await Promise.all(this.#running.values());
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

	#takeBatch(): Waiting[] {
		const batch: Waiting[] = [];
		const left: Waiting[] = [];
		let blockCount = 0;
		for (const piece of this.#waiting) {
			const fits = blockCount === 0 || (blockCount + piece.count <= this.#limits.batchBlockCount && batch.length < this.#limits.pieceCount);
			if (fits && !(this.#limits.exclusive && this.#isBlocked(piece, batch))) {
				batch.push(piece);
				blockCount += piece.count;
			} else {
				left.push(piece);
			}
		}

		this.#waiting = left;
		return batch;
	}

	#isBlocked(piece: Piece, batch: readonly Piece[]): boolean {
		return this.running(piece) !== undefined || batch.some(other => overlaps(piece, other));
	}

	/** Never rejects. */
	async #run(batch: readonly Waiting[]): Promise<void> {
		let outcomes: Outcomes;
		try {
			outcomes = await this.#serve(batch);
		} catch (error) {
			outcomes = batch.map(() => error);
		}

		for (const [i, piece] of batch.entries()) {
			if (outcomes[i] === undefined) {
				piece.resolve();
			} else {
				piece.reject(outcomes[i]);
			}
		}
	}
}
