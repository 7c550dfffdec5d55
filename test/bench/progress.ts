/**
 * What the bench does now and how long it will still take, on standard error, where it does not get into the tables.
 */

/** `done` is how much of the present part is over, from 0 to 1. */
export type ReportProgress = (text: string, done?: number) => void;

export interface ProgressOptions {
	/** The parts in their order, and how many seconds each is expected to take. */
	readonly plan: ReadonlyArray<readonly [part: string, seconds: number]>;
	write(text: string): void;
	now(): number;
}

/** Below this share of the whole, what was measured says nothing about the rest. */
const leastShare = 0.03;

export function durationText(seconds: number): string {
	return seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;
}

export class Progress {
	readonly #options: ProgressOptions;
	readonly #startedMs: number;
	readonly #finished = new Set<string>();
	#part = '';
	#done = 0;

	constructor(options: ProgressOptions) {
		this.#options = options;
		this.#startedMs = options.now();
	}

	begin(part: string): void {
		this.#part = part;
		this.#done = 0;
		this.report('begins');
	}

	end(): void {
		this.#finished.add(this.#part);
		this.#done = 0;
	}

	readonly report: ReportProgress = (text, done) => {
		this.#done = Math.max(this.#done, done ?? 0);
		const {plan, write} = this.#options;
		const place = plan.findIndex(([part]) => part === this.#part) + 1;
		write(
			`[bench] ${place} of ${plan.length}, ${this.#part}: ${text} (about ${durationText(this.secondsLeft)} left)\n`,
		);
	};

	/** By the plan, and by how it has turned out so far. */
	get secondsLeft(): number {
		const {plan, now} = this.#options;
		let total = 0;
		let over = 0;
		for (const [part, seconds] of plan) {
			total += seconds;
			over += this.#finished.has(part) ? seconds : part === this.#part ? seconds * this.#done : 0;
		}

		const pace = over < total * leastShare ? 1 : (now() - this.#startedMs) / 1000 / over;
		return (total - over) * pace;
	}
}
