/** How much a run of the simulator has done. */
export class Counts {
	histories = 0;
	crashPoints = 0;
	writes = 0;
	reads = 0;
	blocksChecked = 0;
	flushes = 0;
	securings = 0;
	bitFlips = 0;
	faults = 0;
	rollbacks = 0;
	steps = 0;

	toString(): string {
		return [
			`${this.histories} histories`, `${this.crashPoints} crash points`, `${this.writes} writes`, `${this.reads} reads`,
			`${this.flushes} flushes`, `${this.securings} securings`, `${this.blocksChecked} blocks checked`, `${this.bitFlips} bit flips`,
			`${this.faults} medium faults`, `${this.rollbacks} images rolled back`, `${this.steps} steps`,
		].join(', ');
	}
}
