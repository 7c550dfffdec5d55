/**
 * Replies on their way to one client. All replies of one turn leave in one write; small payload is copied into it,
 * large payload goes out from where it lies and its lease is released afterwards.
 */
import type {Socket} from 'node:net';
import type {Environment, Lease} from '../../runtime/sdk/component.js';
import type {DirectSocket} from './direct-socket.js';
import {batchByteLengthMax, copiedReplyByteLengthMax, replyPageCountMax, replyPageSize} from './client-limits.js';
import type {PayloadAccount} from './payload-memory.js';
import {
	allocationContext,
	chunkTypes,
	extendedReplyHeaderLength,
	extendedReplyMagic,
	replyFlags,
	simpleReplyHeaderLength,
	simpleReplyMagic,
	structuredReplyHeaderLength,
	structuredReplyMagic,
	type ErrorNumber,
} from './protocol.js';

const wordRange = 2 ** 32;

/** Outgoing bytes; headers are written through the view, which costs less than a Buffer's own functions. */
class ReplyPage {
	readonly bytes = Buffer.allocUnsafeSlow(replyPageSize);
	readonly view = new DataView(this.bytes.buffer);
}

/** Pages of outgoing bytes, shared by all connections. */
export class ReplyPages {
	readonly #free: ReplyPage[] = [];

	take(): ReplyPage {
		return this.#free.pop() ?? new ReplyPage();
	}

	give(page: ReplyPage): void {
		if (this.#free.length < replyPageCountMax) {
			this.#free.push(page);
		}
	}
}

/** The client's name for a request, as two halves, and where it begins. */
export interface Cookie {
	readonly cookieHigh: number;
	readonly cookieLow: number;
	/** Bytes from the start of the export; inexact beyond 2^53, which no export reaches. */
	readonly offset: number;
}

/** What leaves in one write. */
class Batch {
	readonly segments: Buffer[] = [];
	readonly pages: ReplyPage[] = [];
	readonly leases: Lease[] = [];
	replyCount = 0;
	payloadByteLength = 0;
	/** What copied payload counts for. */
	copiedSize = 0;

	get isEmpty(): boolean {
		return this.pages.length === 0 && this.segments.length === 0;
	}
}

export interface OutboxContext {
	/** Shared by all connections. */
	readonly pages: ReplyPages;
	readonly env: Pick<Environment, 'now'>;
	readonly direct?: DirectSocket | undefined;
	/** Where the payload's leases come from, and go back to. */
	readonly account: PayloadAccount;
	/** The headers of replies say where the request began, and have lengths of 64 bits. */
	readonly extendedHeaders: boolean;
}

export class Outbox {
	readonly #socket: Socket;
	readonly #direct: DirectSocket | undefined;
	readonly #pages: ReplyPages;
	readonly #env: Pick<Environment, 'now'>;
	readonly #account: PayloadAccount;
	readonly #extendedHeaders: boolean;
	readonly #onSent: (replyCount: number) => void;
	/** Full ones that wait for the one under way. */
	readonly #batches: Batch[] = [];
	#batch = new Batch();
	#page: ReplyPage | undefined;
	/** The part of the page that belongs to no segment yet. */
	#start = 0;
	#end = 0;
	#scheduled = false;
	#sending = false;
	#sendingSinceMs = 0;
	#sentBatchCount = 0;

	/** `onSent` hears of finished requests once their replies have left. */
	constructor(
		socket: Socket,
		{pages, env, direct, account, extendedHeaders}: OutboxContext,
		onSent: (replyCount: number) => void,
	) {
		this.#socket = socket;
		this.#direct = direct;
		this.#pages = pages;
		this.#env = env;
		this.#account = account;
		this.#extendedHeaders = extendedHeaders;
		this.#onSent = onSent;
	}

	/** Since when there are replies that wait for the client to take them. */
	get sendingSinceMs(): number | undefined {
		return this.#sending ? this.#sendingSinceMs : undefined;
	}

	/** Batches that have left. */
	get sentBatchCount(): number {
		return this.#sentBatchCount;
	}

	/** A simple reply's header; data may follow. */
	simple(cookie: Cookie, error: ErrorNumber): void {
		const {view} = this.#room(simpleReplyHeaderLength);
		const at = this.#end;
		view.setUint32(at, simpleReplyMagic);
		view.setUint32(at + 4, error);
		view.setUint32(at + 8, cookie.cookieHigh);
		view.setUint32(at + 12, cookie.cookieLow);
		this.#end += simpleReplyHeaderLength;
	}

	/** A chunk of data of a structured read reply: the header and the data's place; the data must follow. */
	dataChunk(cookie: Cookie, offset: number, byteLength: number, done: boolean): void {
		const {view} = this.#chunkHeader(cookie, chunkTypes.offsetData, 8 + byteLength, done, 8);
		this.#putUint64(view, offset);
	}

	emptyChunk(cookie: Cookie): void {
		this.#chunkHeader(cookie, chunkTypes.none, 0, true, 0);
	}

	errorChunk(cookie: Cookie, error: ErrorNumber): void {
		const {view} = this.#chunkHeader(cookie, chunkTypes.error, 6, true, 6);
		view.setUint32(this.#end, error);
		view.setUint16(this.#end + 4, 0);
		this.#end += 6;
	}

	/** A chunk of a structured read reply that says that a range reads as zeroes. */
	holeChunk(cookie: Cookie, offset: number, byteLength: number, done: boolean): void {
		const {view} = this.#chunkHeader(cookie, chunkTypes.offsetHole, 12, done, 12);
		this.#putUint64(view, offset);
		this.#putUint32(view, byteLength);
	}

	/** What is known of a range: pairs of a number of bytes and their flags. */
	statusChunk(cookie: Cookie, runs: readonly number[]): void {
		const count = runs.length / 2;
		const length = this.#extendedHeaders ? 8 + 16 * count : 4 + 8 * count;
		const {view} = this.#chunkHeader(
			cookie,
			this.#extendedHeaders ? chunkTypes.extendedBlockStatus : chunkTypes.blockStatus,
			length,
			true,
			length,
		);
		this.#putUint32(view, allocationContext.id);
		if (this.#extendedHeaders) {
			this.#putUint32(view, count);
		}

		for (const value of runs) {
			if (this.#extendedHeaders) {
				this.#putUint64(view, value);
			} else {
				this.#putUint32(view, value);
			}
		}
	}

	/** Payload behind the header just written. Takes the lease over. */
	payload(data: Buffer, lease: Lease): void {
		if (this.#batch.payloadByteLength >= batchByteLengthMax) {
			this.#endBatch();
		}

		this.#batch.payloadByteLength += data.length;
		this.#account.queued(data.length);
		this.#schedule();
		if (data.length <= copiedReplyByteLengthMax) {
			data.copy(this.#room(data.length).bytes, this.#end);
			this.#end += data.length;
			// The copy takes room as well, until it has left.
			this.#batch.copiedSize += this.#account.exchange(lease);
			return;
		}

		this.#seal();
		this.#batch.segments.push(data);
		this.#batch.leases.push(lease);
	}

	/** Ends the connection in the middle of a reply that cannot be finished. */
	breakOff(): void {
		this.#socket.destroy();
	}

	/** Marks the end of a request. */
	finished(): void {
		this.#batch.replyCount++;
		this.#schedule();
	}

	#chunkHeader(cookie: Cookie, type: number, length: number, done: boolean, extra: number): ReplyPage {
		const headerLength = this.#extendedHeaders ? extendedReplyHeaderLength : structuredReplyHeaderLength;
		const page = this.#room(headerLength + extra);
		const {view} = page;
		const at = this.#end;
		view.setUint32(at, this.#extendedHeaders ? extendedReplyMagic : structuredReplyMagic);
		view.setUint16(at + 4, done ? replyFlags.done : 0);
		view.setUint16(at + 6, type);
		view.setUint32(at + 8, cookie.cookieHigh);
		view.setUint32(at + 12, cookie.cookieLow);
		if (this.#extendedHeaders) {
			view.setUint32(at + 16, Math.floor(cookie.offset / wordRange));
			view.setUint32(at + 20, cookie.offset % wordRange);
			// No reply is longer than 4 GiB.
			view.setUint32(at + 24, 0);
			view.setUint32(at + 28, length);
		} else {
			view.setUint32(at + 16, length);
		}

		this.#end += headerLength;
		this.#schedule();
		return page;
	}

	#putUint32(view: DataView, value: number): void {
		view.setUint32(this.#end, value);
		this.#end += 4;
	}

	#putUint64(view: DataView, value: number): void {
		this.#putUint32(view, Math.floor(value / wordRange));
		this.#putUint32(view, value % wordRange);
	}

	/** The page, with room for `length` more bytes. */
	#room(length: number): ReplyPage {
		if (!this.#page || this.#end + length > replyPageSize) {
			this.#seal();
			this.#page = this.#pages.take();
			this.#batch.pages.push(this.#page);
			this.#start = 0;
			this.#end = 0;
		}

		return this.#page;
	}

	#seal(): void {
		if (this.#page && this.#end > this.#start) {
			this.#batch.segments.push(this.#page.bytes.subarray(this.#start, this.#end));
			this.#start = this.#end;
		}
	}

	/** After everything that this turn still brings, so that it leaves together. */
	#schedule(): void {
		if (!this.#scheduled) {
			this.#scheduled = true;
			process.nextTick(() => {
				this.#flush();
			});
		}
	}

	#endBatch(): void {
		this.#seal();
		this.#batches.push(this.#batch);
		this.#batch = new Batch();
		this.#page = undefined;
	}

	/** One batch is under way at a time: what comes meanwhile leaves together, and takes no more room than it needs. */
	#flush(): void {
		this.#scheduled = false;
		if (this.#sending) {
			return;
		}

		if (!this.#batch.isEmpty && this.#batches.length === 0) {
			this.#endBatch();
		}

		const batch = this.#batches.shift();
		if (!batch) {
			return;
		}

		this.#sending = true;
		this.#sendingSinceMs = this.#env.now();
		if (this.#sendDirectly(batch)) {
			return;
		}

		const last = batch.segments.length - 1;
		this.#socket.cork();
		for (let i = 0; i < last; i++) {
			this.#socket.write(batch.segments[i]);
		}

		this.#socket.write(batch.segments[last], () => {
			this.#sent(batch);
		});
		this.#socket.uncork();
	}

	/**
	 * Sends what lies in one page past the stream, which has nothing under way; true where all of it was taken. What is
	 * left goes through the stream.
	 */
	#sendDirectly(batch: Batch): boolean {
		const [segment] = batch.segments;
		if (!this.#direct || batch.segments.length > 1 || this.#socket.writableLength > 0) {
			return false;
		}

		const sent = this.#direct.send(segment);
		if (sent < segment.length) {
			batch.segments[0] = segment.subarray(sent);
			return false;
		}

		this.#sent(batch);
		return true;
	}

	/** Also called where the connection broke; nothing reads the memory any more either way. */
	#sent(batch: Batch): void {
		this.#sending = false;
		for (const page of batch.pages) {
			this.#pages.give(page);
		}

		for (const lease of batch.leases) {
			this.#account.release(lease);
		}

		this.#sentBatchCount++;
		this.#account.discharge(batch.copiedSize);
		this.#account.taken(batch.payloadByteLength);
		this.#onSent(batch.replyCount);
		if (this.#batches.length > 0 || !this.#batch.isEmpty) {
			this.#schedule();
		}
	}
}
