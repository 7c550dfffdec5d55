/** How much a run of the simulator has done. */
export class Counts {
	histories = 0;
	crashPoints = 0;
	writes = 0;
	clears = 0;
	reads = 0;
	/** Blocks that were told as holes. */
	holesChecked = 0;
	blocksChecked = 0;
	/** Runs of cbe_check on what a crash or an orderly end left. */
	checks = 0;
	flushes = 0;
	/** Openings that made the changes of a flush log again. */
	replays = 0;
	checkpoints = 0;
	snapshots = 0;
	/** Histories in which inner blocks are encrypted. */
	encryptedInnerBlocks = 0;
	/**
	 * Histories of containers of version 1 and of the original, and of them those that an earlier program has used
	 * until it crashed.
	 */
	oldContainers = 0;
	oldLives = 0;
	/** Times that the device was locked, or found locked when it was opened. */
	locks = 0;
	reverts = 0;
	/** Rekeyings and extensions begun, those that were seen to end, and those that waited for spare blocks in vain. */
	operations = 0;
	finishedOperations = 0;
	starvedOperations = 0;
	fullPools = 0;
	bitFlips = 0;
	faults = 0;
	/** Times that the host had no room, and openings that could therefore only read. */
	fullHosts = 0;
	readOnlyOpenings = 0;
	rollbacks = 0;
	/** Older copies of the anchor beside the newest image. */
	olderAnchors = 0;
	steps = 0;

	add(other: Counts): void {
		Object.assign(
			this,
			Object.fromEntries(
				Object.entries(other).map(([name, count]) => [
					name,
					Number(this[name as keyof Counts]) + Number(count),
				]),
			),
		);
	}

	toString(): string {
		return [
			`${this.histories} histories`,
			`${this.crashPoints} crash points`,
			`${this.writes} writes`,
			`${this.clears} clearings`,
			`${this.reads} reads`,
			`${this.flushes} flushes`,
			`${this.replays} logs taken over`,
			`${this.checkpoints} checkpoints`,
			`${this.blocksChecked} blocks checked`,
			`${this.holesChecked} holes`,
			`${this.checks} runs of cbe_check`,
			`${this.bitFlips} bit flips`,
			`${this.locks} locks`,
			`${this.encryptedInnerBlocks} with encrypted inner blocks`,
			`${this.oldContainers} of old containers`,
			`${this.oldLives} used by an earlier program`,
			`${this.snapshots} snapshots`,
			`${this.reverts} reverts`,
			`${this.operations} operations begun`,
			`${this.finishedOperations} ended`,
			`${this.starvedOperations} waits for discarded snapshots`,
			`${this.fullPools} refusals of a full pool`,
			`${this.faults} medium faults`,
			`${this.fullHosts} full hosts`,
			`${this.readOnlyOpenings} openings to read only`,
			`${this.rollbacks} images rolled back`,
			`${this.olderAnchors} older anchors`,
			`${this.steps} steps`,
		].join(', ');
	}
}
