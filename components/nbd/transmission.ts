/**
 * The transmission phase of one connection: requests in, replies out, many at a time.
 *
 * The reader takes requests as long as the connection's bounds allow; beyond them it leaves the bytes in the socket, so
 * that the client's own sending comes to rest. Payload is copied once, from what the socket brought into memory that
 * the device sees.
 */
import type {Environment, Lease} from '../../runtime/sdk/component.js';
import {isSessionError} from '../../runtime/sdk/session.js';
import type {RequestCounter} from '../lib/front_end/request-counter.js';
import {AllocationRuns} from '../lib/format/allocation-runs.js';
import {allocationKinds, allocationRunCountMax} from '../sessions/allocation.js';
import {blockSize} from '../sessions/block.js';
import type {ByteSource} from './byte-source.js';
import {errorNumberOf} from './device-fault.js';
import type {Agreement} from './handshake.js';
import {HoleSearch} from './hole-search.js';
import {pieceByteLengthMax, requestCountMax, statusCallCountMax} from './client-limits.js';
import type {Outbox} from './outbox.js';
import type {PayloadAccount} from './payload-memory.js';
import {
	commandFlags,
	commands,
	errorNumbers,
	extendedRequestHeaderLength,
	holeFlags,
	requestHeaderLength,
	type ErrorNumber,
} from './protocol.js';
import {carriesPayload, checkRequest} from './request-check.js';
import {readRequest, type Request} from './request.js';

export interface TransmissionOptions {
	readonly env: Environment;
	readonly account: PayloadAccount;
	readonly counter: RequestCounter;
	readonly source: ByteSource;
	readonly outbox: Outbox;
	readonly agreement: Agreement;
	readonly requestByteLengthMax: number;
	/** Called when everything is answered, or nothing is missing but the rest of a request. */
	onLull(requestCount: number): void;
	/** Hears of every request that failed at the device. */
	onFault(message: string): void;
}

/** A request whose parts are served independently. */
interface Job {
	readonly request: Request;
	partCount: number;
	error: ErrorNumber;
}

/** Bytes of the export. */
interface Range {
	readonly start: number;
	readonly end: number;
}

/** Where the part of a request that starts at `offset` ends: behind whole blocks, so that only the ends are partial. */
function pieceEnd(offset: number, end: number, byteLengthMax = pieceByteLengthMax): number {
	const limit = offset + byteLengthMax;
	return limit >= end ? end : limit - (limit % blockSize);
}

export class Transmission {
	readonly #options: TransmissionOptions;
	#requestCount = 0;
	#acceptedCount = 0;
	#waitingForPayload = false;
	#wakeReader: (() => void) | undefined;
	#wakeIdle: (() => void) | undefined;
	readonly #holes = new HoleSearch();
	readonly #headerLength: number;
	readonly #onBug: (error: unknown) => void;
	/** The rest of the only request is all that is missing. */
	readonly #onPayloadWait = (): void => {
		if (this.#requestCount === 1) {
			this.#options.onLull(1);
		}
	};

	constructor(options: TransmissionOptions) {
		this.#options = options;
		this.#headerLength = options.agreement.extendedHeaders ? extendedRequestHeaderLength : requestHeaderLength;
		this.#onBug = error =>
			options.env.fail(error instanceof Error ? (error.stack ?? error.message) : String(error));
	}

	/** True while the client owes the payload of a request, for which memory may be held. */
	get waitingForPayload(): boolean {
		return this.#waitingForPayload;
	}

	/** Serves until the client ends; resolves when every accepted request has been answered and its reply has left. */
	async run(): Promise<void> {
		for (;;) {
			// Each turn takes one request off the socket. What need not wait does not: a promise for each request
			// costs.
			const served = this.#serveNext();
			if (!(typeof served === 'boolean' ? served : await served)) {
				break;
			}
		}

		if (this.#requestCount > 0) {
			await new Promise<void>(resolve => {
				this.#wakeIdle = resolve;
			});
		}
	}

	/** Replies have left; the bounds they counted against are free again. */
	sent(replyCount: number): void {
		this.#requestCount -= replyCount;
		const wake = this.#wakeReader;
		this.#wakeReader = undefined;
		wake?.();
		if (this.#requestCount === 0) {
			this.#options.onLull(this.#acceptedCount);
			this.#acceptedCount = 0;
			this.#wakeIdle?.();
		}
	}

	/** False where no further request can come. */
	#serveNext(): boolean | Promise<boolean> {
		const header = this.#options.source.tryTake(this.#headerLength);
		return header ? this.#serveHeader(header) : this.#serveArriving();
	}

	async #serveArriving(): Promise<boolean> {
		const header = await this.#options.source.take(this.#headerLength);
		return header !== undefined && this.#serveHeader(header);
	}

	#serveHeader(header: Buffer): boolean | Promise<boolean> {
		const {agreement, requestByteLengthMax} = this.#options;
		const request = readRequest(header, agreement.extendedHeaders);
		// Nobody means to send 4 GiB of payload; the two ends no longer agree.
		if (
			!request ||
			request.command === commands.disconnect ||
			(carriesPayload(request, agreement) && request.length >= 2 ** 32)
		) {
			return false;
		}

		const error = checkRequest(request, agreement, requestByteLengthMax);
		if (error !== errorNumbers.none) {
			return this.#refuse(request, error);
		}

		return this.#hasRoom() ? this.#accept(request) : this.#acceptLater(request);
	}

	async #acceptLater(request: Request): Promise<boolean> {
		await this.#room();
		return !this.#options.source.stopped && this.#accept(request);
	}

	#accept(request: Request): boolean | Promise<boolean> {
		this.#requestCount++;
		this.#acceptedCount++;
		this.#options.counter.add(
			request.command === commands.read || request.command === commands.write ? request.length : 0,
		);
		return this.#serve(request);
	}

	async #refuse(request: Request, error: ErrorNumber): Promise<boolean> {
		if (!this.#hasRoom()) {
			await this.#room();
		}

		this.#requestCount++;
		const inStep =
			!carriesPayload(request, this.#options.agreement) || (await this.#options.source.skip(request.length));
		this.#answer(request, error);
		return inStep;
	}

	#hasRoom(): boolean {
		return this.#requestCount < requestCountMax;
	}

	async #room(): Promise<void> {
		do {
			await this.#departure();
		} while (!this.#hasRoom());
	}

	/** Resolves when replies have left. */
	async #departure(): Promise<void> {
		await new Promise<void>(resolve => {
			this.#wakeReader = resolve;
		});
	}

	#serve(request: Request): boolean | Promise<boolean> {
		switch (request.command) {
			case commands.read: {
				return this.#read(request);
			}

			case commands.write: {
				return this.#write(request);
			}

			case commands.flush: {
				this.#settle(this.#flush(request));
				return true;
			}

			case commands.trim: {
				this.#settle(this.#change(request, this.#trim(request)));
				return true;
			}

			case commands.writeZeroes: {
				this.#settle(this.#change(request, this.#writeZeroes(request)));
				return true;
			}

			case commands.cache: {
				this.#settle(this.#change(request, this.#prefetch(request)));
				return true;
			}

			default: {
				this.#settle(this.#blockStatus(request));
				return true;
			}
		}
	}

	/** Work whose failures are answered to the client; anything that escapes it is a bug of this component. */
	#settle(work: Promise<void>): void {
		work.catch(this.#onBug);
	}

	#read(request: Request): true | Promise<true> {
		const {agreement, account} = this.#options;
		const {length} = request;
		if (length === 0) {
			this.#answer(request, errorNumbers.none);
			return true;
		}

		// A simple reply says first whether all of it was read, so it is read in one piece where there is memory for
		// it.
		const fragmented = agreement.structuredReplies && (request.flags & commandFlags.dontFragment) === 0;
		if (fragmented && this.#holes.isWorthwhile(length)) {
			return this.#readAllocated(request);
		}

		if (fragmented && length > pieceByteLengthMax) {
			return this.#readPieces(request);
		}

		const lease = account.tryLease(length);
		if (!lease) {
			return fragmented ? this.#readPieces(request) : this.#readWhole(request);
		}

		this.#settle(this.#readPart({request, partCount: 1, error: errorNumbers.none}, request.offset, lease));
		return true;
	}

	/** Reads what may hold data; of the rest it says that it is a hole. */
	async #readAllocated(request: Request): Promise<true> {
		const {offset, length} = request;
		let runs: number[];
		try {
			({pairs: runs} = await this.#allocation(request, allocationRunCountMax));
		} catch (error) {
			this.#answer(request, this.#numberOf(error));
			return true;
		}

		const ranges: Range[] = [];
		let start = offset;
		const holes: Range[] = [];
		for (let i = 0; i < runs.length; i += 2) {
			(runs[i + 1] === allocationKinds.hole ? holes : ranges).push({start, end: start + runs[i]});
			start += runs[i];
		}

		// Of the rest nothing is known.
		if (start < offset + length) {
			ranges.push({start, end: offset + length});
		}

		this.#holes.note(holes.length > 0);
		for (const [i, hole] of holes.entries()) {
			this.#options.outbox.holeChunk(
				request,
				hole.start,
				hole.end - hole.start,
				ranges.length === 0 && i === holes.length - 1,
			);
		}

		if (ranges.length === 0) {
			this.#options.outbox.finished();
			return true;
		}

		return this.#readPieces(request, ranges);
	}

	async #readPieces(
		request: Request,
		ranges: readonly Range[] = [{start: request.offset, end: request.offset + request.length}],
	): Promise<true> {
		// One more part for the reader itself, so that the job cannot end before all of it has begun.
		const job: Job = {request, partCount: 1, error: errorNumbers.none};
		for (const [i, {start, end}] of ranges.entries()) {
			for (let next = start; next < end;) {
				const lease = await this.#pieceLease(next, end);
				const begun = next;
				next += lease.bytes.length;
				job.partCount += next < end || i < ranges.length - 1 ? 1 : 0;
				this.#settle(this.#readPart(job, begun, lease));
			}
		}

		return true;
	}

	/** What is known of the request's range, from its beginning on, in at most `countMax` runs. @throws SessionError */
	async #allocation({offset, length}: Request, countMax: number): Promise<AllocationRuns> {
		const {device} = this.#options.agreement.export;
		const runs = new AllocationRuns();
		const end = offset + length;
		let start = offset;
		// A run is known to its end once another one has begun.
		for (
			let call = 0;
			call < statusCallCountMax && start < end && runs.pairs.length <= 2 * countMax && !runs.isFull;
			call++
		) {
			const found = await device.allocation(start, end - start);
			for (let i = 0; i < found.length && !runs.isFull; i += 2) {
				runs.add(found[i], found[i + 1]);
				start += found[i];
			}
		}

		return runs;
	}

	async #blockStatus(request: Request): Promise<void> {
		const {outbox} = this.#options;
		const countMax = (request.flags & commandFlags.requestOne) === 0 ? allocationRunCountMax : 1;
		try {
			const {pairs} = await this.#allocation(request, countMax);
			const runs = pairs.slice(0, 2 * countMax);
			for (let i = 1; i < runs.length; i += 2) {
				runs[i] = runs[i] === allocationKinds.hole ? holeFlags : 0;
			}

			outbox.statusChunk(request, runs);
			outbox.finished();
		} catch (error) {
			this.#answer(request, this.#numberOf(error));
		}
	}

	/** Brings what lies in the range closer: the tree's blocks into the cache, the medium's into that of the host. */
	async #prefetch({offset, length}: Request): Promise<void> {
		const {account, agreement} = this.#options;
		for (let start = offset; start < offset + length;) {
			const lease = await this.#pieceLease(start, offset + length);
			start += lease.bytes.length;
			try {
				await agreement.export.device.read(start - lease.bytes.length, lease.bytes);
			} finally {
				account.release(lease);
			}
		}
	}

	/** Memory for the next part of a request: as much as a part may be, or what the connection has of its own. */
	async #pieceLease(start: number, end: number): Promise<Lease> {
		const {account} = this.#options;
		const byteLength = pieceEnd(start, end) - start;
		for (;;) {
			const lease =
				account.tryLease(byteLength) ??
				(account.isEmpty ? account.tryLease(pieceEnd(start, end, account.reserve) - start) : undefined);
			if (lease) {
				return lease;
			}

			await account.free(byteLength);
		}
	}

	/** Reads in one piece, as soon as there is memory; where others keep that, in pieces on the way to the client. */
	async #readWhole(request: Request): Promise<true> {
		const {account} = this.#options;
		for (;;) {
			const lease = account.tryLease(request.length);
			if (lease) {
				this.#settle(this.#readPart({request, partCount: 1, error: errorNumbers.none}, request.offset, lease));
				return true;
			}

			if (this.#requestCount === 1) {
				await this.#stream(request);
				return true;
			}

			await (account.isEmpty ? this.#departure() : account.free(request.length));
		}
	}

	/**
	 * Sends what was read while the rest is still to be read; no other reply may come between, so it is the only
	 * request. A failure in the middle has no place in such a reply: the connection ends there, as the protocol
	 * demands.
	 */
	async #stream(request: Request): Promise<void> {
		const {account, outbox, agreement, source} = this.#options;
		const {offset, length} = request;
		const end = offset + length;
		for (let start = offset; start < end;) {
			const lease = await this.#pieceLease(start, end);
			const byteLength = lease.bytes.length;
			const error = await this.#attempt(agreement.export.device.read(start, lease.bytes));
			if (error !== errorNumbers.none) {
				account.release(lease);
				if (start === offset) {
					this.#answer(request, error);
				} else {
					outbox.breakOff();
					source.stop();
					this.sent(1);
				}

				return;
			}

			if (start === offset) {
				this.#beginData(request, offset, length, true);
			}

			outbox.payload(lease.bytes, lease);
			start += byteLength;
		}

		outbox.finished();
	}

	async #readPart(job: Job, offset: number, lease: Lease): Promise<void> {
		const data = lease.bytes;
		try {
			await this.#options.agreement.export.device.read(offset, data);
		} catch (error) {
			job.error = this.#numberOf(error);
		}

		job.partCount--;

		if (job.error === errorNumbers.none) {
			this.#sendData(job, offset, data, lease);
		} else {
			this.#options.account.release(lease);
			if (job.partCount === 0) {
				this.#answer(job.request, job.error);
			}
		}
	}

	#sendData({request, partCount}: Job, offset: number, data: Buffer, lease: Lease): void {
		const {outbox} = this.#options;
		this.#beginData(request, offset, data.length, partCount === 0);
		outbox.payload(data, lease);
		if (partCount === 0) {
			outbox.finished();
		}
	}

	/** Data has to follow. */
	#beginData(request: Request, offset: number, byteLength: number, done: boolean): void {
		const {outbox, agreement} = this.#options;
		if (agreement.structuredReplies) {
			outbox.dataChunk(request, offset, byteLength, done);
		} else {
			outbox.simple(request, errorNumbers.none);
		}
	}

	/** False where the client left in the middle of the payload. */
	async #write(request: Request): Promise<boolean> {
		const {account} = this.#options;
		const {offset, length} = request;
		// One more part for the reader itself, so that the job cannot end before all of it was read.
		const job: Job = {request, partCount: 1, error: errorNumbers.none};
		let complete = true;
		for (let start = offset; complete && start < offset + length;) {
			const lease =
				account.tryLease(pieceEnd(start, offset + length) - start) ??
				(await this.#pieceLease(start, offset + length));
			complete = await this.#fill(lease.bytes);
			const begun = start;
			start += lease.bytes.length;
			if (complete) {
				job.partCount++;
				this.#settle(this.#writePart(job, begun, lease));
			} else {
				account.release(lease);
				job.error = errorNumbers.invalid;
			}
		}

		this.#endWritePart(job);
		return complete;
	}

	async #fill(target: Buffer): Promise<boolean> {
		this.#waitingForPayload = true;
		try {
			return await this.#options.source.fill(target, this.#onPayloadWait);
		} finally {
			this.#waitingForPayload = false;
		}
	}

	async #writePart(job: Job, offset: number, lease: Lease): Promise<void> {
		try {
			await this.#options.agreement.export.device.write(offset, lease.bytes);
		} catch (error) {
			job.error = this.#numberOf(error);
		} finally {
			this.#options.account.release(lease);
		}

		this.#endWritePart(job);
	}

	#endWritePart(job: Job): void {
		job.partCount--;
		if (job.partCount > 0) {
			return;
		}

		if (job.error === errorNumbers.none && (job.request.flags & commandFlags.fua) !== 0) {
			this.#settle(this.#secureWrite(job.request));
		} else {
			this.#answer(job.request, job.error);
		}
	}

	/** Answers a write with FUA once it is durable. */
	async #secureWrite(request: Request): Promise<void> {
		this.#answer(request, await this.#attempt(this.#options.agreement.export.device.sync()));
	}

	/** Answers a change without payload once it is done, and with FUA once it is durable. */
	async #change(request: Request, work: Promise<void>): Promise<void> {
		let error = await this.#attempt(work);
		if (error === errorNumbers.none && (request.flags & commandFlags.fua) !== 0) {
			error = await this.#attempt(this.#options.agreement.export.device.sync());
		}

		this.#answer(request, error);
	}

	/** Gives up the blocks that lie whole in the range: the client does not care what it reads there. */
	async #trim({offset, length}: Request): Promise<void> {
		const first = Math.ceil(offset / blockSize) * blockSize;
		const end = Math.floor((offset + length) / blockSize) * blockSize;
		if (first < end) {
			await this.#options.agreement.export.device.zero(first, end - first);
		}
	}

	async #writeZeroes({offset, length, flags}: Request): Promise<void> {
		if (length === 0) {
			return;
		}

		if ((flags & commandFlags.noHole) === 0) {
			await this.#options.agreement.export.device.zero(offset, length);
		} else {
			await this.#fillWithZeroes(offset, offset + length);
		}
	}

	/** The zeroes take room like any data. One piece after another: a single request may be larger than all memory. */
	async #fillWithZeroes(offset: number, end: number): Promise<void> {
		const {account, agreement} = this.#options;
		for (let start = offset; start < end;) {
			const lease = await this.#pieceLease(start, end);
			lease.bytes.fill(0);
			try {
				await agreement.export.device.write(start, lease.bytes);
				start += lease.bytes.length;
			} finally {
				account.release(lease);
			}
		}
	}

	async #flush(request: Request): Promise<void> {
		this.#answer(request, await this.#attempt(this.#options.agreement.export.device.sync()));
	}

	/** The number of the error with which the work failed, or of none. */
	async #attempt(work: Promise<void>): Promise<ErrorNumber> {
		try {
			await work;
			return errorNumbers.none;
		} catch (error) {
			return this.#numberOf(error);
		}
	}

	/** The number of an error of the device, which is reported. @throws whatever is no error of its contract */
	#numberOf(error: unknown): ErrorNumber {
		if (!isSessionError(error)) {
			throw error;
		}

		if (error.code === 'session_lost') {
			// What is accepted gets answered, nothing more is taken: what was not flushed may be lost, and a client
			// only notices that by losing its connection.
			this.#options.source.stop();
		} else {
			this.#options.onFault(error.message);
		}

		return errorNumberOf(error);
	}

	/** Ends a request without data. */
	#answer(request: Request, error: ErrorNumber): void {
		const {outbox, agreement} = this.#options;
		const chunked =
			agreement.extendedHeaders ||
			(agreement.structuredReplies &&
				(request.command === commands.read || request.command === commands.blockStatus));
		if (!chunked) {
			outbox.simple(request, error);
		} else if (error === errorNumbers.none) {
			outbox.emptyChunk(request);
		} else {
			outbox.errorChunk(request, error);
		}

		outbox.finished();
	}
}
