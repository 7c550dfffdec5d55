/**
 * What a block device may answer: an array of blocks, and of each block the writes that may still show.
 *
 * A write shows at some moment between its beginning and its end, one that failed perhaps. It no longer shows once a
 * later write, begun after its end, has succeeded. After a crash all blocks must be as of one moment, which must not
 * lie before the last acknowledged flush began.
 */
import type {Stamp} from './content.js';
import type {Moment} from './moment.js';
import {SnapshotModel, type Content} from './snapshot-model.js';
import {SimulationFailure} from './simulation-failure.js';

interface Version {
	readonly stamp: Stamp;
	readonly begin: Moment;
	/** Infinity while the write is under way. */
	end: Moment;
	/** False where it failed: it may show or not. */
	succeeded: boolean;
	/** Set where it is a part of a change that happens whole or not at all. */
	readonly whole: Moment | undefined;
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
	readonly snapshots: SnapshotModel;
	#blockCount: number;
	readonly #versions: Map<number, Version[]>;
	readonly #readBegins = new Map<number, Moment>();
	#now: Moment;
	/** When the last acknowledged flush began. */
	#flushed: Moment;
	#stampCount: number;

	constructor(blockCount: number, copied?: Model) {
		this.#blockCount = blockCount;
		this.snapshots = copied?.snapshots.copy() ?? new SnapshotModel();
		this.#now = copied?.now ?? 1;
		this.#flushed = copied?.flushed ?? 0;
		this.#stampCount = copied?.stampCount ?? 0;
		this.#versions = new Map();
	}

	/** The device's size as it was last seen; it never shrinks. */
	get blockCount(): number {
		return this.#blockCount;
	}

	/** @throws SimulationFailure */
	noteBlockCount(blockCount: number): void {
		if (blockCount < this.#blockCount) {
			throw new SimulationFailure(`the device has ${blockCount} blocks after it had ${this.#blockCount}`);
		}

		this.#blockCount = blockCount;
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
		const copy = new Model(this.#blockCount, this);
		for (const [vba, versions] of this.#versions) {
			copy.#versions.set(
				vba,
				versions.map(version => ({...version})),
			);
		}

		return copy;
	}

	beginWrite(vba: number, stamps: readonly Stamp[]): WriteNote {
		return this.#begin(vba, stamps, false);
	}

	/** Everything changes to `stamps` at one moment, or nothing does. */
	beginRevert(stamps: readonly Stamp[]): WriteNote {
		return this.#begin(0, stamps, true);
	}

	#begin(vba: number, stamps: readonly Stamp[], isWhole: boolean): WriteNote {
		const begin = ++this.#now;
		const versions = stamps.map(stamp => ({
			stamp,
			begin,
			end: Infinity,
			succeeded: false,
			whole: isWhole ? begin : undefined,
		}));
		for (const [i, version] of versions.entries()) {
			this.#prune(vba + i);
			this.#versions.set(vba + i, [...this.#of(vba + i), version]);
		}

		return {vba, versions};
	}

	/** One that failed may show in each of its blocks or not. */
	endWrite({versions}: WriteNote, {succeeded}: {succeeded: boolean}): void {
		const end = ++this.#now;
		for (const version of versions) {
			version.end = end;
			version.succeeded = succeeded;
		}
	}

	/** The change was refused: it has not happened. */
	cancel({vba, versions}: WriteNote): void {
		for (const [i, version] of versions.entries()) {
			this.#versions.set(
				vba + i,
				this.#of(vba + i).filter(other => other !== version),
			);
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
				throw new SimulationFailure(
					`VBA ${vba + i} reads as ${stamp}; ${this.#describe(vba + i)}; the read took from ${begin} to ${end}`,
				);
			}
		}
	}

	/**
	 * Judges a read of the whole device with no write under way, undefined where a block cannot be read. @throws
	 * SimulationFailure
	 */
	endQuietRead(begin: Moment, stamps: ReadonlyArray<Stamp | undefined>): void {
		for (const [vba, stamp] of stamps.entries()) {
			if (stamp === undefined) {
				throw new SimulationFailure(`VBA ${vba} cannot be read; ${this.#describe(vba)}`);
			}

			this.endRead(begin, vba, [stamp]);
		}

		this.dropRead(begin);
	}

	/** A read failed: it is of no use any more. */
	dropRead(begin: Moment): void {
		this.#readBegins.delete(begin);
	}

	/** Judges the whole content of a snapshot that was taken between two moments. @throws SimulationFailure */
	judgeSnapshot({
		generation,
		stamps,
		from,
		to,
	}: {
		generation: number;
		stamps: Content;
		from: Moment;
		to: Moment;
	}): void {
		if (stamps.length > this.#blockCount) {
			throw new SimulationFailure(
				`snapshot ${generation} has ${stamps.length} blocks, the device has ${this.#blockCount}`,
			);
		}

		const blocks = [...this.#versions.keys()]
			.filter(vba => vba < stamps.length)
			.map(vba => ({vba, spans: this.#foundSpans(vba, stamps[vba])}));
		const stray = stamps.findIndex((stamp, vba) => this.#foundSpans(vba, stamp).length === 0);
		if (stray !== -1) {
			throw new SimulationFailure(
				`VBA ${stray} of snapshot ${generation} reads as ${stamps[stray] ?? 'unreadable'}; ${this.#describe(stray)}`,
			);
		}

		this.#requireOneMoment(
			blocks.map(({spans}) => spans),
			{from, to, what: `snapshot ${generation}`},
		);
	}

	beginFlush(): Moment {
		return ++this.#now;
	}

	endFlush(begin: Moment): void {
		this.#now++;
		this.#flushed = Math.max(this.#flushed, begin);
	}

	/** The device has crashed: nobody will ever answer what was under way. */
	crash(): void {
		const end = ++this.#now;
		this.#readBegins.clear();
		for (const versions of this.#versions.values()) {
			for (const version of versions) {
				if (version.end === Infinity) {
					version.end = end;
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
			const possible = this.#foundSpans(vba, stamp).filter(({end}) => end > this.#flushed);
			if (possible.length === 0) {
				throw new SimulationFailure(
					`after the crash VBA ${vba} reads as ${stamp ?? 'unreadable'}; ${this.#describe(vba)}; flushed at ${this.#flushed}`,
				);
			}

			spans.set(vba, possible);
		}

		this.#requireOneMoment(
			touched.map(vba => spans.get(vba) ?? []),
			{from: this.#flushed, to: Infinity, what: 'the state after the crash'},
		);
		this.#requireWholeChanges(stamps);
		this.#accept(stamps);
	}

	#accept(stamps: ReadonlyArray<Stamp | undefined>): void {
		this.#flushed = ++this.#now;
		this.#versions.clear();
		for (const [vba, stamp] of stamps.entries()) {
			if (stamp !== 0 && stamp !== undefined) {
				this.#versions.set(vba, [{stamp, begin: 0, end: 0, succeeded: true, whole: undefined}]);
			}
		}
	}

	/** All blocks must show what they show at one and the same moment. */
	#requireOneMoment(
		blocks: ReadonlyArray<readonly Span[]>,
		{from, to, what}: {from: Moment; to: Moment; what: string},
	): void {
		const moments = new Set(
			[from, ...blocks.flat().map(({begin}) => begin)].filter(moment => moment >= from && moment <= to),
		);
		for (const moment of moments) {
			if (blocks.every(spans => spans.some(({begin, end}) => begin <= moment && moment < end))) {
				return;
			}
		}

		throw new SimulationFailure(
			`${what} is not of one moment from ${from} to ${to} (flushed at ${this.#flushed}): ${[...this.#versions.keys()].map(vba => this.#describe(vba)).join('; ')}`,
		);
	}

	/** A change that happens as a whole cannot show in one block and be missing in another. */
	#requireWholeChanges(stamps: ReadonlyArray<Stamp | undefined>): void {
		const changes = new Set([...this.#versions.values()].flat().map(({whole}) => whole));
		for (const change of changes) {
			const touched =
				change === undefined
					? []
					: [...this.#versions.keys()].filter(vba => this.#of(vba).some(({whole}) => whole === change));
			const shows = touched.find(vba =>
				this.#of(vba).every(version => version.whole === change || version.stamp !== stamps[vba]),
			);
			const lacks = touched.find(vba =>
				this.#of(vba).every(
					version =>
						version.stamp !== stamps[vba] || (version.whole !== change && version.end < (change ?? 0)),
				),
			);
			if (shows !== undefined && lacks !== undefined) {
				throw new SimulationFailure(
					`a change happened in part: VBA ${shows} shows it, VBA ${lacks} does not: ${this.#describe(shows)}; ${this.#describe(lacks)}`,
				);
			}
		}
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
		return this.#of(vba)
			.filter(version => version.stamp === stamp)
			.map(version => ({begin: version.begin, end: this.#endOf(vba, version)}));
	}

	#foundSpans(vba: number, stamp: Stamp | undefined): Span[] {
		return stamp === undefined ? [] : this.#spansOf(vba, stamp);
	}

	/** Forgets versions that can show neither in a read nor after a crash. */
	#prune(vba: number): void {
		const versions = this.#versions.get(vba);
		if (versions && versions.length > 4) {
			const oldest = Math.min(this.#flushed, this.snapshots.oldestMoment, ...this.#readBegins.values());
			this.#versions.set(
				vba,
				versions.filter(version => this.#endOf(vba, version) > oldest),
			);
		}
	}

	#describe(vba: number): string {
		const versions = this.#of(vba).map(
			({stamp, begin, end, succeeded}) => `${stamp} (${begin} to ${end}${succeeded ? '' : ', failed'})`,
		);
		return `VBA ${vba} was written: ${versions.join(', ')}`;
	}
}

const neverWritten: Version = {stamp: 0, begin: 0, end: 0, succeeded: true, whole: undefined};
