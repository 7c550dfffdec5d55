/**
 * The transmission phase of one connection: requests in, replies out, many at a time.
 *
 * The reader takes requests as long as the connection's bounds allow; beyond them it leaves the bytes in the socket, so
 * that the client's own sending comes to rest. Payload is copied once, from what the socket brought into memory that the
 * device sees.
 */
import type {Environment, Lease} from '../../runtime/sdk/component.js';
import {isSessionError} from '../../runtime/sdk/session.js';
import {blockSize} from '../sessions/block.js';
import type {ByteSource} from './byte-source.js';
import {errorNumberOf} from './device-fault.js';
import type {Agreement} from './handshake.js';
import {pieceByteLengthMax, requestCountMax} from './limits.js';
import type {Outbox} from './outbox.js';
import type {PayloadMemory} from './payload-memory.js';
import {commandFlags, commands, errorNumbers, requestHeaderLength, type ErrorNumber} from './protocol.js';
import {checkRequest} from './request-check.js';
import {readRequest, type Request} from './request.js';

export interface TransmissionOptions {
	readonly env: Environment;
	readonly memory: PayloadMemory;
	readonly source: ByteSource;
	readonly outbox: Outbox;
	readonly agreement: Agreement;
	readonly requestByteLengthMax: number;
	/** Payload of all requests of this connection at one time, in bytes; one request alone may exceed it. */
	readonly payloadByteLengthMax: number;
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

/** Where the part of a request that starts at `offset` ends: behind whole blocks, so that only the ends are partial. */
function pieceEnd(offset: number, end: number): number {
	const limit = offset + pieceByteLengthMax;
	return limit >= end ? end : limit - limit % blockSize;
}

export class Transmission {
	readonly #options: TransmissionOptions;
	#requestCount = 0;
	#acceptedCount = 0;
	#payloadByteLength = 0;
	#waitingForPayload = false;
	#wakeReader: (() => void) | undefined;
	#wakeIdle: (() => void) | undefined;
	readonly #onBug: (error: unknown) => void;
	/** The rest of the only request is all that is missing. */
	readonly #onPayloadWait = (): void => {
		if (this.#requestCount === 1) {
			this.#options.onLull(1);
		}
	};

	constructor(options: TransmissionOptions) {
		this.#options = options;
		this.#onBug = error => options.env.fail(error instanceof Error ? error.stack ?? error.message : String(error));
	}

	/** True while the client owes the payload of a request, for which memory may be held. */
	get waitingForPayload(): boolean {
		return this.#waitingForPayload;
	}

	/** Serves until the client ends; resolves when every accepted request has been answered and its reply has left. */
	async run(): Promise<void> {
		for (;;) {
			// Each turn takes one request off the socket. What need not wait does not: a promise for each request costs.
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
	sent(replyCount: number, replyByteLength: number): void {
		this.#requestCount -= replyCount;
		this.#payloadByteLength -= replyByteLength;
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
		const header = this.#options.source.tryTake(requestHeaderLength);
		return header ? this.#serveHeader(header) : this.#serveArriving();
	}

	async #serveArriving(): Promise<boolean> {
		const header = await this.#options.source.take(requestHeaderLength);
		return header !== undefined && this.#serveHeader(header);
	}

	#serveHeader(header: Buffer): boolean | Promise<boolean> {
		const {agreement, requestByteLengthMax} = this.#options;
		const request = readRequest(header);
		if (!request || request.command === commands.disconnect) {
			return false;
		}

		const error = checkRequest(request, agreement, requestByteLengthMax);
		if (error !== errorNumbers.none) {
			return this.#refuse(request, error);
		}

		const payloadLength = request.command === commands.read || request.command === commands.write ? request.length : 0;
		return this.#hasRoom(payloadLength) ? this.#accept(request, payloadLength) : this.#acceptLater(request, payloadLength);
	}

	async #acceptLater(request: Request, payloadLength: number): Promise<boolean> {
		await this.#room(payloadLength);
		return !this.#options.source.stopped && this.#accept(request, payloadLength);
	}

	#accept(request: Request, payloadLength: number): boolean | Promise<boolean> {
		this.#requestCount++;
		this.#acceptedCount++;
		this.#payloadByteLength += payloadLength;
		return this.#serve(request);
	}

	async #refuse(request: Request, error: ErrorNumber): Promise<boolean> {
		if (!this.#hasRoom(0)) {
			await this.#room(0);
		}

		this.#requestCount++;
		const inStep = request.command !== commands.write || await this.#options.source.skip(request.length);
		this.#answer(request, error, 0);
		return inStep;
	}

	#hasRoom(payloadLength: number): boolean {
		return this.#requestCount < requestCountMax
			&& (this.#payloadByteLength === 0 || this.#payloadByteLength + payloadLength <= this.#options.payloadByteLengthMax);
	}

	async #room(payloadLength: number): Promise<void> {
		do {
			await new Promise<void>(resolve => {
				this.#wakeReader = resolve;
			});
		} while (!this.#hasRoom(payloadLength));
	}

	#serve(request: Request): boolean | Promise<boolean> {
		switch (request.command) {
			case commands.read: {
				this.#read(request);
				return true;
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

			default: {
				this.#options.outbox.allocatedChunk(request, request.length);
				this.#options.outbox.finished(0);
				return true;
			}
		}
	}

	/** Work whose failures are answered to the client; anything that escapes it is a bug of this component. */
	#settle(work: Promise<void>): void {
		work.catch(this.#onBug);
	}

	#read(request: Request): void {
		const {agreement} = this.#options;
		const {offset, length} = request;
		if (length === 0) {
			this.#answer(request, errorNumbers.none, 0);
			return;
		}

		// A simple reply says first whether all of it was read, so it is read in one piece.
		const fragmented = agreement.structuredReplies && (request.flags & commandFlags.dontFragment) === 0;
		const job: Job = {request, partCount: 0, error: errorNumbers.none};
		for (let start = offset; start < offset + length;) {
			const end = fragmented ? pieceEnd(start, offset + length) : offset + length;
			job.partCount++;
			this.#settle(this.#readPart(job, start, end - start));
			start = end;
		}
	}

	async #readPart(job: Job, offset: number, length: number): Promise<void> {
		const {memory, agreement} = this.#options;
		const lease = await memory.lease(length);
		const data = lease.bytes.length === length ? lease.bytes : lease.bytes.subarray(0, length);
		try {
			await agreement.export.device.read(offset, data);
		} catch (error) {
			job.error = this.#numberOf(error);
		}

		job.partCount--;

		if (job.error === errorNumbers.none) {
			this.#sendData(job, offset, data, lease);
		} else {
			lease.release();
			if (job.partCount === 0) {
				this.#answer(job.request, job.error, job.request.length);
			}
		}
	}

	#sendData({request, partCount}: Job, offset: number, data: Buffer, lease: Lease): void {
		const {outbox, agreement} = this.#options;
		if (agreement.structuredReplies) {
			outbox.dataChunk(request, offset, data.length, partCount === 0);
		} else {
			outbox.simple(request, errorNumbers.none);
		}

		outbox.payload(data, lease);
		if (partCount === 0) {
			outbox.finished(request.length);
		}
	}

	/** False where the client left in the middle of the payload. */
	async #write(request: Request): Promise<boolean> {
		const {memory} = this.#options;
		const {offset, length} = request;
		// One more part for the reader itself, so that the job cannot end before all of it was read.
		const job: Job = {request, partCount: 1, error: errorNumbers.none};
		let complete = true;
		for (let start = offset; complete && start < offset + length;) {
			const end = pieceEnd(start, offset + length);
			const lease = await memory.lease(end - start);
			complete = await this.#fill(lease.bytes, end - start);
			if (complete) {
				job.partCount++;
				this.#settle(this.#writePart(job, start, end - start, lease));
			} else {
				lease.release();
				job.error = errorNumbers.invalid;
			}

			start = end;
		}

		this.#endWritePart(job);
		return complete;
	}

	async #fill(memory: Buffer, length: number): Promise<boolean> {
		const target = memory.length === length ? memory : memory.subarray(0, length);
		this.#waitingForPayload = true;
		try {
			return await this.#options.source.fill(target, this.#onPayloadWait);
		} finally {
			this.#waitingForPayload = false;
		}
	}

	async #writePart(job: Job, offset: number, length: number, lease: Lease): Promise<void> {
		const data = lease.bytes.length === length ? lease.bytes : lease.bytes.subarray(0, length);
		try {
			await this.#options.agreement.export.device.write(offset, data);
		} catch (error) {
			job.error = this.#numberOf(error);
		} finally {
			lease.release();
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
			this.#answer(job.request, job.error, job.request.length);
		}
	}

	/** Answers a write with FUA once it is durable. */
	async #secureWrite(request: Request): Promise<void> {
		this.#answer(request, await this.#attempt(this.#options.agreement.export.device.sync()), request.length);
	}

	/** Answers a change without payload once it is done, and with FUA once it is durable. */
	async #change(request: Request, work: Promise<void>): Promise<void> {
		let error = await this.#attempt(work);
		if (error === errorNumbers.none && (request.flags & commandFlags.fua) !== 0) {
			error = await this.#attempt(this.#options.agreement.export.device.sync());
		}

		this.#answer(request, error, 0);
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
		const {memory, agreement} = this.#options;
		const lease = await memory.lease(Math.min(end - offset, pieceByteLengthMax));
		lease.bytes.fill(0);
		try {
			for (let start = offset; start < end;) {
				const next = pieceEnd(start, end);
				await agreement.export.device.write(start, lease.bytes.subarray(0, next - start));
				start = next;
			}
		} finally {
			lease.release();
		}
	}

	async #flush(request: Request): Promise<void> {
		this.#answer(request, await this.#attempt(this.#options.agreement.export.device.sync()), 0);
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
			// What is accepted gets answered, nothing more is taken: what was not flushed may be lost, and a client only
			// notices that by losing its connection.
			this.#options.source.stop();
		} else {
			this.#options.onFault(error.message);
		}

		return errorNumberOf(error);
	}

	/** Ends a request without data. */
	#answer(request: Request, error: ErrorNumber, payloadLength: number): void {
		const {outbox, agreement} = this.#options;
		const chunked = agreement.structuredReplies && (request.command === commands.read || request.command === commands.blockStatus);
		if (!chunked) {
			outbox.simple(request, error);
		} else if (error === errorNumbers.none) {
			outbox.emptyChunk(request);
		} else {
			outbox.errorChunk(request, error);
		}

		outbox.finished(payloadLength);
	}
}
