/** What rekeying and extension must come to: sizes by arithmetic alone, and the number of the current key. */
import type {OracleVerdict} from './oracle.js';
import {SimulationFailure} from './simulation-failure.js';

export interface TreeShape {
	readonly leafCount: number;
	readonly degree: number;
	readonly maxLevel: number;
}

const maxLevelLimit = 5;

/** Leaves of a tree after it has taken so many blocks more, its inner blocks included (format section 8). */
export function grownLeafCount({leafCount, degree, maxLevel}: TreeShape, addedBlockCount: number): number {
	let [leaves, levels, left] = [leafCount, maxLevel, addedBlockCount];
	/** Blocks by level. */
	const blocks = Array.from({length: maxLevelLimit + 1}, (_, level) =>
		level >= 1 && level <= maxLevel ? Math.ceil(leafCount / degree ** level) : 0,
	);
	while (left > 0 && leaves < degree ** maxLevelLimit) {
		if (leaves === degree ** levels) {
			levels++;
			blocks[levels] = 1;
			left--;
		}

		for (let level = levels - 1; level >= 1 && left > 0; level--) {
			if (blocks[level] <= Math.floor(leaves / degree ** level)) {
				blocks[level]++;
				left--;
			}
		}

		const added = Math.min(degree - (leaves % degree), left);
		leaves += added;
		left -= added;
	}

	return leaves;
}

export type LongOperation =
	{readonly kind: 'rekey'} | {readonly kind: 'extend'; readonly tree: 'vbd' | 'ft'; readonly blockCount: number};

export class OperationsModel {
	readonly #device: TreeShape;
	#basePbaCount: number | undefined;
	#deviceAdded = 0;
	#poolAdded = 0;
	#keyId = 1;
	/** Begun, but not answered: it may have happened. */
	#inFlight: LongOperation | undefined;
	/** Some operation may still be going on. */
	isPending = false;

	constructor(device: TreeShape) {
		this.#device = device;
	}

	copy(): OperationsModel {
		const copy = new OperationsModel(this.#device);
		copy.#basePbaCount = this.#basePbaCount;
		copy.#deviceAdded = this.#deviceAdded;
		copy.#poolAdded = this.#poolAdded;
		copy.#keyId = this.#keyId;
		copy.#inFlight = this.#inFlight;
		copy.isPending = this.isPending;
		return copy;
	}

	get isInFlight(): boolean {
		return this.#inFlight !== undefined;
	}

	get keyId(): number {
		return this.#keyId;
	}

	/** Size of the device once everything has ended. */
	get blockCount(): number {
		return grownLeafCount(this.#device, this.#deviceAdded);
	}

	begin(operation: LongOperation): void {
		this.#inFlight = operation;
		this.isPending = true;
	}

	/** It was accepted: it will happen. */
	accept(): void {
		const operation = this.#inFlight;
		this.#inFlight = undefined;
		if (operation?.kind === 'rekey') {
			this.#keyId++;
		} else if (operation?.tree === 'vbd') {
			this.#deviceAdded += operation.blockCount;
		} else {
			this.#poolAdded += operation?.blockCount ?? 0;
		}
	}

	refuse(): void {
		this.#inFlight = undefined;
	}

	/** Judges a secured state. @throws SimulationFailure */
	judge({pbaCount, pbasLeft, keyId, generation}: OracleVerdict): void {
		this.#basePbaCount ??= pbaCount;
		const total = pbaCount + pbasLeft;
		const expected = this.#basePbaCount + this.#deviceAdded + this.#poolAdded;
		const addable = this.#inFlight?.kind === 'extend' ? this.#inFlight.blockCount : 0;
		if (total !== expected && total !== expected + addable) {
			throw new SimulationFailure(
				`generation ${generation}: the container has ${pbaCount} blocks and ${pbasLeft} to add, which should come to ${expected}`,
			);
		}

		if (keyId !== this.#keyId && !(this.#inFlight?.kind === 'rekey' && keyId === this.#keyId + 1)) {
			throw new SimulationFailure(
				`generation ${generation}: the current key is ${keyId}, it should be ${this.#keyId}`,
			);
		}
	}

	/** After a crash: the secured state says whether an unanswered operation has begun. */
	settle({pbaCount, pbasLeft, keyId}: OracleVerdict): void {
		if (this.#inFlight) {
			const total = (this.#basePbaCount ?? 0) + this.#deviceAdded + this.#poolAdded;
			if (this.#inFlight.kind === 'rekey' ? keyId > this.#keyId : pbaCount + pbasLeft > total) {
				this.accept();
			} else {
				this.refuse();
			}
		}
	}
}
