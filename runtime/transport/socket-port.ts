/**
 * A session's way to another process. Payload is copied through the socket: what the client gives travels with the
 * call, what the server fills travels with the reply, straight into the client's memory.
 *
 * What the other process sends is checked here as far as both ends have it in common: whose turn it is, numbers of
 * calls, lengths of payload. Bounded are the calls under way, and the memory for their payload; where it is used up,
 * nothing is read until replies have left.
 */
import type {Lease} from '../sdk/component.js';
import type {BulkDirection} from '../sdk/session.js';
import {FrameSocket} from './frame-socket.js';
import {LeasePool} from './lease-pool.js';
import type {PayloadLink, PortOptions, SessionPort} from './session-port.js';
import {answered, refused} from './wire.js';

/** Calls of one session that may be under way; honest clients keep to it, see `ClientEnd`. */
const callsUnderWayMax = 1024;

/** Memory of one session for the payload of calls under way. */
const payloadMemory = 64 * 2 ** 20;

/** Where payload lies: behind the message, or in the reply that is to come. */
const behindMessage = 1;
const inReply = 2;

const nothing = Buffer.alloc(0);

interface Header {
	readonly number: number;
	readonly kind: number;
	readonly content: unknown[];
	/** Bytes that the reply is to bring (calls only). */
	readonly replyLength: number;
}

function isCount(value: unknown): value is number {
	return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function readHeader(header: unknown): Header {
	if (!Array.isArray(header) || header.length !== 4) {
		throw new RangeError('a message that is no call and no reply');
	}

	const [number, kind, content, replyLength] = header as unknown[];
	if (!isCount(number) || !isCount(kind) || !Array.isArray(content) || !isCount(replyLength)) {
		throw new RangeError('a message that is no call and no reply');
	}

	return {number, kind, content, replyLength};
}

function lengthOf(parts: readonly Uint8Array[]): number {
	return parts.reduce((length, {length: more}) => length + more, 0);
}

/** What the server holds of a call until its reply has left. */
class ServedCall {
	readonly lease: Lease | undefined;
	readonly #requestLength: number;
	readonly #bytes: Buffer;
	#takenLength = 0;
	#filledLength = 0;
	/** What the reply is to bring, in the order of the call's fields. */
	readonly results: Buffer[] = [];

	constructor(lease: Lease | undefined, requestLength: number) {
		this.lease = lease;
		this.#bytes = lease?.bytes ?? nothing;
		this.#requestLength = requestLength;
	}

	get request(): readonly Buffer[] {
		return [this.#bytes.subarray(0, this.#requestLength)];
	}

	view(place: number, length: number): Buffer {
		if (place === behindMessage) {
			const start = this.#takenLength;
			this.#takenLength += length;
			if (this.#takenLength > this.#requestLength) {
				throw new RangeError('a call that names more payload than it brought');
			}

			return this.#bytes.subarray(start, this.#takenLength);
		}

		const start = this.#requestLength + this.#filledLength;
		this.#filledLength += length;
		if (place !== inReply || start + length > this.#bytes.length) {
			throw new RangeError('a call that names more payload than it announced');
		}

		const result = this.#bytes.subarray(start, start + length);
		this.results.push(result);
		return result;
	}
}

/** The payload of the message that is being made, and of the one that is being read. */
class SocketLink implements PayloadLink {
	readonly #end: PortOptions['end'];
	/** Travels with the next message. */
	outgoing: Uint8Array[] = [];
	/** Is filled by the reply to the next message. */
	results: Uint8Array[] = [];
	/** The call that is being read. */
	served: ServedCall | undefined;

	constructor(end: PortOptions['end']) {
		this.#end = end;
	}

	show(bytes: Uint8Array, direction: BulkDirection): number {
		if (this.#end === 'server') {
			throw new TypeError('memory cannot be shared with another process');
		}

		if (direction === 'in') {
			this.outgoing.push(bytes);
			return behindMessage;
		}

		this.results.push(bytes);
		return inReply;
	}

	view(place: number, _offset: number, length: number): Buffer {
		if (!isCount(length) || !this.served) {
			throw new RangeError('payload of an impossible length');
		}

		return this.served.view(place, length);
	}
}

export class SocketPort implements SessionPort {
	readonly link: SocketLink;
	readonly #frames: FrameSocket;
	readonly #options: PortOptions;
	readonly #pool = new LeasePool(payloadMemory);
	/** Server's end: calls that are not answered. */
	readonly #served = new Map<number, ServedCall>();
	/** Replies that have not left yet. */
	#leavingCount = 0;
	/** Client's end: where the replies to calls go. */
	readonly #expected = new Map<number, readonly Uint8Array[]>();
	/** The call whose payload is being read. */
	#arriving: ServedCall | undefined;

	constructor(fd: number, options: PortOptions, limits: {readonly frameMsMax?: number} = {}) {
		this.#options = options;
		this.link = new SocketLink(options.end);
		this.#frames = new FrameSocket(fd, {
			...limits,
			place: (header, payloadLength) =>
				options.end === 'server'
					? this.#placeCall(readHeader(header), payloadLength)
					: this.#placeReply(readHeader(header), payloadLength),
			onFrame: header => {
				this.#deliver(readHeader(header));
			},
			onBroken: (reason, isEnd) => {
				options.onBroken(reason, isEnd);
			},
		});
	}

	get closed(): boolean {
		return this.#frames.closed;
	}

	send(number: number, kind: number, content: readonly unknown[]): void {
		if (this.#options.end === 'client') {
			this.#sendCall(number, kind, content);
		} else {
			this.#sendReply(number, kind, content);
		}
	}

	close(): void {
		this.#frames.close();
	}

	#sendCall(number: number, kind: number, content: readonly unknown[]): void {
		const {outgoing, results} = this.link;
		this.link.outgoing = [];
		this.link.results = [];
		this.#expected.set(number, results);
		this.#frames.send([number, kind, content, lengthOf(results)], outgoing);
	}

	/** Refusals bring no payload. */
	#sendReply(number: number, kind: number, content: readonly unknown[]): void {
		const call = this.#served.get(number);
		this.#served.delete(number);
		this.#leavingCount++;
		this.#frames.send([number, kind, content, 0], kind === answered ? call?.results : undefined, () => {
			this.#leavingCount--;
			call?.lease?.release();
		});
	}

	#placeCall(
		{number, replyLength}: Header,
		payloadLength: number,
	): readonly Uint8Array[] | Promise<readonly Uint8Array[]> {
		if (number >= callsUnderWayMax || this.#served.has(number)) {
			throw new RangeError(`a call under the number ${number}, which is in use or too high`);
		}

		// An honest client has its replies, or they have left, before it makes further calls.
		if (this.#served.size + this.#leavingCount >= 2 * callsUnderWayMax) {
			throw new RangeError('calls, and no reply is read');
		}

		const length = payloadLength + replyLength;
		if (length > payloadMemory) {
			throw new RangeError(`a call with ${length} bytes of payload; at most ${payloadMemory} are possible`);
		}

		if (length === 0) {
			return this.#admit(number, undefined, 0);
		}

		return this.#pool.leaseWhenFree(length).then(lease => this.#admit(number, lease, payloadLength));
	}

	#admit(number: number, lease: Lease | undefined, payloadLength: number): readonly Uint8Array[] {
		this.#arriving = new ServedCall(lease, payloadLength);
		this.#served.set(number, this.#arriving);
		return this.#arriving.request;
	}

	#placeReply({number, kind}: Header, payloadLength: number): readonly Uint8Array[] {
		const places = this.#expected.get(number);
		if (!places || kind > refused) {
			throw new RangeError(`a reply to ${number}, which was not asked`);
		}

		const length = kind === answered ? lengthOf(places) : 0;
		if (payloadLength !== length) {
			throw new RangeError(`a reply with ${payloadLength} bytes of payload instead of ${length}`);
		}

		return length === 0 ? [] : places;
	}

	#deliver({number, kind, content}: Header): void {
		this.#expected.delete(number);
		this.link.served = this.#arriving;
		this.#arriving = undefined;
		try {
			this.#options.onTriple(number, kind, content);
		} finally {
			this.link.served = undefined;
		}
	}
}
