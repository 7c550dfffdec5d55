/**
 * What a block device may answer: an array of blocks, and of each block the writes that may still show.
 *
 * A write shows at some moment between its beginning and its end, one that failed perhaps. It no longer shows once a
 * later write, begun after its end, has succeeded. After a crash all blocks must be as of one moment, which must not lie
 * before the last acknowledged flush began.
 */
import type {Stamp} from './content.js';
import {SimulationFailure} from './simulation-failure.js';

/** Counts the events of a history: what happened before what. */
export type Moment = number;

interface Version {
	readonly stamp: Stamp;
	readonly begin: Moment;
	/** Infinity while the write is under way. */
	end: Moment;
	/** False where it failed: it may show or not. */
	succeeded: boolean;
	/** True where it failed in the middle of replacing the block, which may be unreadable until it is written again. */
	spoiled: boolean;
}

/** A moment within which a version shows: from `begin` until before `end`. */
interface Span {
	readonly begin: Moment;
	readonly end: Moment;
}

export interface WriteNote {
	readonly vba: number;
	readonly versions: readonly Version[];
}

export class Model {
	readonly blockCount: number;
	readonly #versions: Map<number, Version[]>;
	readonly #readBegins = new Map<number, Moment>();
	#now: Moment;
	/** When the last acknowledged flush began. */
	#flushed: Moment;
	#stampCount: number;

	constructor(blockCount: number, copied?: Model) {
		this.blockCount = blockCount;
		this.#now = copied?.now ?? 1;
		this.#flushed = copied?.flushed ?? 0;
		this.#stampCount = copied?.stampCount ?? 0;
		this.#versions = new Map();
	}

	get now(): Moment {
		return this.#now;
	}

	get flushed(): Moment {
		return this.#flushed;
	}

	get stampCount(): number {
		return this.#stampCount;
	}

	/** A content that no block has held yet. */
	nextStamp(): Stamp {
		return ++this.#stampCount;
	}

	/** The model as it is now, to go on differently. Reads under way stay behind. */
	copy(): Model {
		const copy = new Model(this.blockCount, this);
		for (const [vba, versions] of this.#versions) {
			copy.#versions.set(vba, versions.map(version => ({...version})));
		}

		return copy;
	}

	beginWrite(vba: number, stamps: readonly Stamp[]): WriteNote {
		const begin = ++this.#now;
		const versions = stamps.map(stamp => ({stamp, begin, end: Infinity, succeeded: false, spoiled: false}));
		for (const [i, version] of versions.entries()) {
			this.#prune(vba + i);
			this.#versions.set(vba + i, [...this.#of(vba + i), version]);
		}

		return {vba, versions};
	}

	/** @param spoiled the medium failed, so a block that is being replaced may be lost */
	endWrite({versions}: WriteNote, {succeeded, spoiled}: {succeeded: boolean; spoiled: boolean}): void {
		const end = ++this.#now;
		for (const version of versions) {
			version.end = end;
			version.succeeded = succeeded;
			version.spoiled = spoiled;
		}
	}

	beginRead(): Moment {
		const begin = ++this.#now;
		this.#readBegins.set(begin, begin);
		return begin;
	}

	/** Judges a read that is over. @throws SimulationFailure */
	endRead(begin: Moment, vba: number, stamps: readonly Stamp[]): void {
		const end = ++this.#now;
		this.#readBegins.delete(begin);
		for (const [i, stamp] of stamps.entries()) {
			const spans = this.#spansOf(vba + i, stamp);
			if (!spans.some(span => span.begin <= end && span.end > begin)) {
				throw new SimulationFailure(`VBA ${vba + i} reads as ${stamp}; ${this.#describe(vba + i)}; the read took from ${begin} to ${end}`);
			}
		}
	}

	/** A read failed: it is of no use any more. */
	dropRead(begin: Moment): void {
		this.#readBegins.delete(begin);
	}

	/**
	 * True where a block may be unreadable since a write of it failed on the medium; on a `faulty` one, a write under way
	 * may just have failed.
	 */
	mayBeUnreadable(vba: number, {from, faulty}: {from: Moment; faulty: boolean}): boolean {
		return this.#of(vba).some(version => (version.spoiled || (faulty && version.end === Infinity)) && this.#endOf(vba, version) > from);
	}

	beginFlush(): Moment {
		return ++this.#now;
	}

	endFlush(begin: Moment): void {
		this.#now++;
		this.#flushed = Math.max(this.#flushed, begin);
	}

	/** The device has crashed: nobody will ever answer what was under way. `spoiled`: the medium was failing. */
	crash(spoiled: boolean): void {
		const end = ++this.#now;
		this.#readBegins.clear();
		for (const versions of this.#versions.values()) {
			for (const version of versions) {
				if (version.end === Infinity) {
					version.end = end;
					version.spoiled = spoiled;
				}
			}
		}
	}

	/**
	 * Judges what all blocks hold after a crash, undefined where a block cannot be read, and takes it as the truth from
	 * now on. @throws SimulationFailure
	 */
	recover(stamps: ReadonlyArray<Stamp | undefined>): void {
		const touched = [...this.#versions.keys()];
		const spans = new Map<number, Span[]>();
		for (const [vba, stamp] of stamps.entries()) {
			const found = stamp === undefined ? this.#unreadableSpans(vba) : this.#spansOf(vba, stamp);
			const possible = found.filter(({end}) => end > this.#flushed);
			if (possible.length === 0) {
				throw new SimulationFailure(`after the crash VBA ${vba} reads as ${stamp ?? 'unreadable'}; ${this.#describe(vba)}; flushed at ${this.#flushed}`);
			}

			spans.set(vba, possible);
		}

		this.#requireOneMoment(touched.map(vba => spans.get(vba) ?? []));
		this.#accept(stamps);
	}

	#accept(stamps: ReadonlyArray<Stamp | undefined>): void {
		this.#flushed = ++this.#now;
		this.#versions.clear();
		for (const [vba, stamp] of stamps.entries()) {
			if (stamp !== 0) {
				const spoiled = stamp === undefined;
				this.#versions.set(vba, [{stamp: stamp ?? 0, begin: 0, end: 0, succeeded: !spoiled, spoiled}]);
			}
		}
	}

	/** All blocks must show what they show at one and the same moment. */
	#requireOneMoment(blocks: ReadonlyArray<readonly Span[]>): void {
		const moments = new Set([this.#flushed, ...blocks.flat().map(({begin}) => begin)].filter(moment => moment >= this.#flushed));
		for (const moment of moments) {
			if (blocks.every(spans => spans.some(({begin, end}) => begin <= moment && moment < end))) {
				return;
			}
		}

		throw new SimulationFailure(`the state after the crash mixes several moments (flushed at ${this.#flushed}): ${[...this.#versions.keys()].map(vba => this.#describe(vba)).join('; ')}`);
	}

	#of(vba: number): readonly Version[] {
		return this.#versions.get(vba) ?? [neverWritten];
	}

	/** When the first write that replaces this version for good has ended. */
	#endOf(vba: number, version: Version): Moment {
		let end = Infinity;
		for (const other of this.#of(vba)) {
			if (other.succeeded && other.begin > version.end) {
				end = Math.min(end, other.end);
			}
		}

		return end;
	}

	#spansOf(vba: number, stamp: Stamp): Span[] {
		return this.#of(vba).filter(version => version.stamp === stamp).map(version => ({begin: version.begin, end: this.#endOf(vba, version)}));
	}

	#unreadableSpans(vba: number): Span[] {
		return this.#of(vba).filter(({spoiled}) => spoiled).map(version => ({begin: version.begin, end: this.#endOf(vba, version)}));
	}

	/** Forgets versions that can show neither in a read nor after a crash. */
	#prune(vba: number): void {
		const versions = this.#versions.get(vba);
		if (versions && versions.length > 4) {
			const oldest = Math.min(this.#flushed, ...this.#readBegins.values());
			this.#versions.set(vba, versions.filter(version => this.#endOf(vba, version) > oldest));
		}
	}

	#describe(vba: number): string {
		const versions = this.#of(vba).map(({stamp, begin, end, succeeded, spoiled}) => `${stamp} (${begin} to ${end}${succeeded ? '' : ', failed'}${spoiled ? ', spoiled' : ''})`);
		return `VBA ${vba} was written: ${versions.join(', ')}`;
	}
}

const neverWritten: Version = {stamp: 0, begin: 0, end: 0, succeeded: true, spoiled: false};
