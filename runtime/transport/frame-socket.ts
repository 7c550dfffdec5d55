/**
 * Frames on a stream socket to another process: header length (4 bytes, little-endian), payload length (4), header
 * (MessagePack), payload. Everything sent in one turn of the event loop leaves in one write.
 *
 * Guarantee: whatever the other process sends, this one keeps bounded memory, and either gets whole frames of the right
 * form in time or is told that the socket is broken, once.
 */
import {Socket} from 'node:net';
import {decode, encode} from './codec.js';
import {checkMessageForm} from './message-form.js';

const lengthsLength = 8;

/** Addresses of the largest request there is take a tenth of it. */
const headerLengthMax = 4 * 2 ** 20;

/** What is read at once. */
const chunkLength = 256 * 1024;

/** A frame that has begun has to be there whole by then; the time in which it is not read does not count. */
const frameMsMax = 30_000;

/** A timer that is later than this shows that the event loop stood still. */
const lateMsMax = 1000;

const noPlaces: readonly Uint8Array[] = [];

export interface FrameSocketOptions {
	readonly frameMsMax?: number;
	/**
	 * Where the payload of a frame goes; may take its time, while nothing is read. @throws Error where the header
	 * cannot be right
	 */
	place(header: unknown, payloadLength: number): readonly Uint8Array[] | Promise<readonly Uint8Array[]>;
	/** A whole frame is there. @throws Error where the header cannot be right */
	onFrame(header: unknown): void;
	/** The other end sent what no honest process sends, or (`isEnd`) is gone. Nothing follows. */
	onBroken(reason: string, isEnd: boolean): void;
}

type Part =
	| {readonly kind: 'lengths'; readonly bytes: Buffer; filled: number}
	| {readonly kind: 'header'; readonly bytes: Buffer; filled: number; readonly payloadLength: number}
	| {
			readonly kind: 'payload';
			readonly header: unknown;
			readonly places: readonly Uint8Array[];
			index: number;
			filled: number;
	  };

function lengthsPart(): Part {
	return {kind: 'lengths', bytes: Buffer.alloc(lengthsLength), filled: 0};
}

function reasonOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

export class FrameSocket {
	readonly #socket: Socket;
	readonly #options: FrameSocketOptions;
	#part = lengthsPart();
	/** What was read and not taken yet, while a payload waits for its place. */
	#rest: Buffer | undefined;
	#isPlacing = false;
	#closed = false;
	#isCorked = false;
	#limit: NodeJS.Timeout | undefined;

	/** @param fd which from now on is this object's to close */
	constructor(fd: number, options: FrameSocketOptions) {
		this.#options = options;
		this.#socket = new Socket({
			fd,
			readable: true,
			writable: true,
			onread: {
				buffer: Buffer.allocUnsafeSlow(chunkLength),
				callback: (length: number, buffer: Uint8Array) => this.#take((buffer as Buffer).subarray(0, length)),
			},
		} as ConstructorParameters<typeof Socket>[0]);
		this.#socket.on('error', error => {
			this.#break(`its socket failed: ${error.message}`, true);
		});
		this.#socket.on('end', () => {
			this.#break('it closed its socket', true);
		});
		this.#socket.on('close', () => {
			this.#break('it closed its socket', true);
		});
		this.#socket.resume();
	}

	get closed(): boolean {
		return this.#closed;
	}

	/** @param onSent called when the payload may be used for something else */
	send(header: unknown, payload: readonly Uint8Array[] = noPlaces, onSent?: () => void): void {
		if (this.#closed) {
			return;
		}

		if (!this.#isCorked) {
			this.#isCorked = true;
			this.#socket.cork();
			process.nextTick(() => {
				this.flush();
			});
		}

		const encoded = encode([header]);
		if (encoded.length > headerLengthMax) {
			throw new RangeError(`a message of ${encoded.length} bytes; at most ${headerLengthMax} are possible`);
		}

		const head = Buffer.allocUnsafe(lengthsLength + encoded.length);
		head.writeUInt32LE(encoded.length, 0);
		head.writeUInt32LE(
			payload.reduce((length, part) => length + part.length, 0),
			4,
		);
		head.set(encoded, lengthsLength);
		const parts = [head, ...payload.filter(part => part.length > 0)];
		for (const [i, part] of parts.entries()) {
			this.#socket.write(part, i === parts.length - 1 ? onSent : undefined);
		}
	}

	/** Hands what was sent to the system now. */
	flush(): void {
		if (this.#isCorked) {
			this.#isCorked = false;
			this.#socket.uncork();
		}
	}

	close(): void {
		this.#closed = true;
		this.#rest = undefined;
		clearTimeout(this.#limit);
		this.#socket.destroy();
	}

	#break(reason: string, isEnd = false): void {
		if (!this.#closed) {
			this.close();
			this.#options.onBroken(reason, isEnd);
		}
	}

	/** False where no more may be read for now. */
	#take(chunk: Buffer): boolean {
		try {
			for (let at = 0; at < chunk.length && !this.#closed;) {
				if (this.#isPlacing) {
					this.#rest = chunk.subarray(at);
					return false;
				}

				at += this.#fill(chunk, at);
			}
		} catch (error) {
			this.#break(reasonOf(error));
		}

		this.#watchTime();
		return !this.#isPlacing && !this.#closed;
	}

	#watchTime(): void {
		const isWhole = this.#part.kind === 'lengths' && this.#part.filled === 0;
		if (isWhole || this.#isPlacing || this.#closed) {
			clearTimeout(this.#limit);
			this.#limit = undefined;
			return;
		}

		this.#limit ??= this.#limitFrame(this.#options.frameMsMax ?? frameMsMax);
	}

	#limitFrame(ms: number): NodeJS.Timeout {
		const due = performance.now() + ms;
		return setTimeout(() => {
			if (performance.now() > due + lateMsMax) {
				// This thread was kept from reading, not the other process from sending.
				this.#limit = this.#limitFrame(ms);
			} else {
				this.#break(`its message was not complete within ${ms / 1000} s`);
			}
		}, ms).unref();
	}

	/** Takes bytes for the part that is being read; how many. */
	#fill(chunk: Buffer, at: number): number {
		const part = this.#part;
		if (part.kind === 'payload') {
			const place = part.places[part.index];
			const count = Math.min(place.length - part.filled, chunk.length - at);
			place.set(chunk.subarray(at, at + count), part.filled);
			part.filled += count;
			if (part.filled === place.length) {
				part.index++;
				part.filled = 0;
				if (part.index === part.places.length) {
					this.#finish(part.header);
				}
			}

			return count;
		}

		const count = Math.min(part.bytes.length - part.filled, chunk.length - at);
		part.bytes.set(chunk.subarray(at, at + count), part.filled);
		part.filled += count;
		if (part.filled === part.bytes.length) {
			if (part.kind === 'lengths') {
				this.#beginHeader(part.bytes);
			} else {
				this.#beginPayload(part.bytes, part.payloadLength);
			}
		}

		return count;
	}

	#beginHeader(lengths: Buffer): void {
		const headerLength = lengths.readUInt32LE(0);
		if (headerLength === 0 || headerLength > headerLengthMax) {
			throw new RangeError(`a message of ${headerLength} bytes; 1 to ${headerLengthMax} are possible`);
		}

		this.#part = {
			kind: 'header',
			bytes: Buffer.allocUnsafe(headerLength),
			filled: 0,
			payloadLength: lengths.readUInt32LE(4),
		};
	}

	#beginPayload(encoded: Buffer, payloadLength: number): void {
		checkMessageForm(encoded);
		const [header] = decode(encoded);
		const places = this.#options.place(header, payloadLength);
		if (!(places instanceof Promise)) {
			this.#receiveInto(header, places);
			return;
		}

		this.#isPlacing = true;
		places.then(
			given => {
				this.#goOn(header, given);
			},
			(error: unknown) => {
				this.#break(reasonOf(error));
			},
		);
	}

	#receiveInto(header: unknown, places: readonly Uint8Array[]): void {
		const filled = places.filter(({length}) => length > 0);
		if (filled.length === 0) {
			this.#finish(header);
		} else {
			this.#part = {kind: 'payload', header, places: filled, index: 0, filled: 0};
		}
	}

	#finish(header: unknown): void {
		this.#part = lengthsPart();
		this.#options.onFrame(header);
	}

	/** A payload has its place: goes on with what was read, then with reading. */
	#goOn(header: unknown, places: readonly Uint8Array[]): void {
		if (this.#closed) {
			return;
		}

		this.#isPlacing = false;
		const rest = this.#rest;
		this.#rest = undefined;
		try {
			this.#receiveInto(header, places);
		} catch (error) {
			this.#break(reasonOf(error));
		}

		if (!this.#closed && this.#take(rest ?? Buffer.alloc(0))) {
			this.#socket.resume();
		}
	}
}
