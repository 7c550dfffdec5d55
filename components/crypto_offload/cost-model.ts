/**
 * What work costs here and now: a block, by cipher and direction, and to have a pool thread help. From that follows how
 * many threads bring the end of a batch nearer. What is expected is held against what comes out, alone and with help,
 * so it shows when help does not pay: where all CPUs are busy, a thread that helps takes from others what it gives.
 *
 * It learns from the component's own work. Nothing is done for its sake but that now and then a batch is done the other
 * way.
 */

/** Assumed until something was measured: hardware AES and SHA, a machine with a CPU to spare. */
const initialBlockUs = 2;
const initialPostUs = 15;
const initialReactionUs = 40;

/** Nobody is called for less than takes this long alone: little is saved at best. */
const helpedUsMin = 250;
/** Of the time of a batch, that others have to help with: what is saved must be worth their being woken. */
const savedPartMin = 0.1;
/**
 * A value counts for at most so many times what is known, and that: one that is far off says only that it takes longer.
 */
const growthMax = 2;
const growthUsMax = 20;
/** An outcome counts for at most so many times what was expected. */
const outcomeMax = 4;
/** Of so many batches … */
const probeInterval = 192;
/** … this many in a row are done the way that does not seem the better one, … */
const probeCount = 8;
/** … and the first ones of these tell nothing: what has not been done for long takes longer than it would. */
const probeWarmUpCount = 4;
/** Fewer blocks tell more about the call than about the blocks. */
const measuredBlockCountMin = 8;
/**
 * The first batches with help, of each kind, run code that the compiler has not got to yet on all threads: they tell
 * nothing.
 */
const firstHelpedCount = 100;
/** What the status speaks of: 1 MiB. */
const statedBlockCount = 256;

/**
 * How long something takes, about: whoever interrupts makes it seem longer and nothing makes it seem shorter, so lower
 * values count for more, and what is high stays high only where it always is.
 */
class Duration {
	#us: number;

	constructor(us: number) {
		this.#us = us;
	}

	get us(): number {
		return this.#us;
	}

	add(us: number): void {
		const change = Math.max(0, Math.min(us, growthMax * this.#us + growthUsMax)) - this.#us;
		this.#us += change < 0 ? change / 4 : change / 16;
	}
}

/** How many times as long as expected something takes, on average, interruptions included. */
class Outcome {
	#factor = 1;

	get factor(): number {
		return this.#factor;
	}

	add(us: number, expectedUs: number): void {
		this.#factor += (Math.min(outcomeMax, us / expectedUs) - this.#factor) / 8;
	}
}

/** Work with one cipher in one direction. */
interface Kind {
	readonly block: Duration;
	readonly alone: Outcome;
	readonly helped: Outcome;
	helpedCount: number;
}

/** How one task went. */
export interface HandOff {
	/** What it took to hand it over. */
	readonly postUs: number;
	/** From then until the thread began. */
	readonly reactionUs: number;
}

/** A batch that others helped with. */
export interface HelpedBatch {
	readonly blockCount: number;
	readonly helperCount: number;
	/**
	 * What it took of the time of the component's own thread: work, handing over, and waiting for the others' last
	 * blocks.
	 */
	readonly us: number;
}

export class CostModel {
	readonly #kinds = new Map<string, Kind>();
	readonly #post = new Duration(initialPostUs);
	readonly #reaction = new Duration(initialReactionUs);
	/** Batches since the first one of the last probe. */
	#sinceProbe = probeCount;
	#probeCount = 0;

	/** Learns from blocks that this thread has done. @param kind cipher and direction */
	noteBlocks(kind: string, blockCount: number, us: number): void {
		if (blockCount >= measuredBlockCountMin) {
			this.#kindOf(kind, us / blockCount).block.add(us / blockCount);
		}
	}

	/** Learns from a batch that this thread has done alone. */
	noteAlone(kind: string, blockCount: number, us: number): void {
		this.noteBlocks(kind, blockCount, us);
		if (us >= helpedUsMin && !this.#isProbeBeginning) {
			const {block, alone} = this.#kindOf(kind);
			alone.add(us, blockCount * block.us);
		}
	}

	/** Learns from a task that was given to a thread which was idle. */
	noteHandOff({postUs, reactionUs}: HandOff): void {
		if (!this.#isProbeBeginning) {
			this.#post.add(postUs);
			this.#reaction.add(reactionUs);
		}
	}

	noteHelped(name: string, {blockCount, helperCount, us}: HelpedBatch): void {
		const kind = this.#kindOf(name);
		kind.helpedCount++;
		if (kind.helpedCount > firstHelpedCount && !this.#isProbeBeginning) {
			kind.helped.add(us, this.#usHelped(blockCount * kind.block.us, helperCount));
		}
	}

	/** How many of the free threads should help with so many blocks; none where this thread alone is as soon done. */
	helpersFor(kind: string, blockCount: number, freeCount: number): number {
		const known = this.#kinds.get(kind);
		const aloneUs = blockCount * (known?.block.us ?? initialBlockUs);
		if (freeCount <= 0 || aloneUs < helpedUsMin) {
			return 0;
		}

		let best = 0;
		let bestUs = aloneUs * (1 - savedPartMin) * (known?.alone.factor ?? 1);
		for (let count = 1; count <= freeCount; count++) {
			const us = this.#usHelped(aloneUs, count) * (known?.helped.factor ?? 1);
			if (us >= bestUs) {
				break;
			}

			best = count;
			bestUs = us;
		}

		if (this.#isProbe()) {
			return best === 0 ? 1 : 0;
		}

		return best;
	}

	/**
	 * For `runtime status`: microseconds, and the time of 1 MiB with the help of one thread as a part of that without.
	 */
	get status(): Record<string, number> {
		const status: Record<string, number> = {};
		for (const [name, {block, alone, helped}] of this.#kinds) {
			const aloneUs = statedBlockCount * block.us;
			status[`us_a_block_${name}`] = Math.round(block.us * 100) / 100;
			status[`percent_with_help_${name}`] = Math.round(
				(100 * this.#usHelped(aloneUs, 1) * helped.factor) / (aloneUs * alone.factor),
			);
		}

		return {...status, hand_off_us: Math.round(this.#post.us + this.#reaction.us), probes: this.#probeCount};
	}

	get #isProbeBeginning(): boolean {
		return this.#sinceProbe < probeWarmUpCount;
	}

	#kindOf(name: string, blockUs = initialBlockUs): Kind {
		const known = this.#kinds.get(name);
		if (known) {
			return known;
		}

		const kind = {block: new Duration(blockUs), alone: new Outcome(), helped: new Outcome(), helpedCount: 0};
		this.#kinds.set(name, kind);
		return kind;
	}

	/**
	 * All end together. This thread hands over first, one after another; the others begin after that, and after they
	 * have woken up.
	 */
	#usHelped(aloneUs: number, helperCount: number): number {
		const postUs = this.#post.us;
		return (
			(aloneUs + helperCount * (postUs + this.#reaction.us) + (postUs * helperCount * (helperCount + 1)) / 2) /
			(helperCount + 1)
		);
	}

	#isProbe(): boolean {
		this.#sinceProbe++;
		if (this.#sinceProbe === probeInterval) {
			this.#sinceProbe = 0;
			this.#probeCount++;
		}

		return this.#sinceProbe < probeCount;
	}
}
