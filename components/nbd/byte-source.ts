/** What a client has sent and nobody has looked at yet. Bounded: the socket is not read while enough is here. */
import type {Socket} from 'node:net';
import type {DirectSocket} from './direct-socket.js';
import {receivedByteLengthMax, turnByteLengthMax} from './client-limits.js';

export interface ByteSourceOptions {
	/** Reads the socket without its stream. */
	readonly direct?: DirectSocket | undefined;
	/** Hears of everything that arrives. */
	onProgress(): void;
}

export class ByteSource {
	readonly #socket: Socket;
	readonly #direct: DirectSocket | undefined;
	readonly #onProgress: () => void;
	readonly #chunks: Buffer[] = [];
	/** Bytes of the first chunk that were taken already. */
	#taken = 0;
	#byteLength = 0;
	/** Bytes read past the event loop since it last brought some. */
	#directByteLength = 0;
	#ended = false;
	#stopped = false;
	#wake: ((hasMore: boolean) => void) | undefined;
	readonly #onData = (chunk: Buffer): void => {
		this.#append(chunk);
	};

	readonly #onEnd = (): void => {
		this.#end();
	};

	constructor(socket: Socket, {direct, onProgress}: ByteSourceOptions) {
		this.#socket = socket;
		this.#direct = direct;
		this.#onProgress = onProgress;
		if (direct) {
			direct.listen(bytes => {
				this.#append(Buffer.from(bytes));
			});
		} else {
			socket.on('data', this.#onData);
		}

		socket.once('end', this.#onEnd);
		socket.once('close', this.#onEnd);
		socket.resume();
	}

	/** Leaves the socket to somebody else; false where the peer has sent more than was taken. */
	detach(): boolean {
		const isEmpty = this.#byteLength === 0;
		this.#socket.pause();
		this.#socket.off('data', this.#onData);
		this.#direct?.listen(() => undefined);
		this.#socket.off('end', this.#onEnd);
		this.#socket.off('close', this.#onEnd);
		this.#end();
		return isEmpty;
	}

	/** True after `stop`. */
	get stopped(): boolean {
		return this.#stopped;
	}

	/** `length` bytes where they are here, else nothing. Usually a view on what was received. */
	tryTake(length: number): Buffer | undefined {
		if (this.#byteLength < length) {
			return undefined;
		}

		const first = this.#chunks[0];
		if (first !== undefined && first.length - this.#taken >= length) {
			const view = first.subarray(this.#taken, this.#taken + length);
			this.#advance(length);
			return view;
		}

		const assembled = Buffer.allocUnsafe(length);
		this.moveInto(assembled, 0);
		return assembled;
	}

	/** Exactly `length` bytes as soon as they are here; undefined where the peer ends before. */
	async take(length: number): Promise<Buffer | undefined> {
		for (;;) {
			const bytes = this.tryTake(length);
			if (bytes) {
				return bytes;
			}

			if (!(await this.more())) {
				return undefined;
			}
		}
	}

	/** Copies what is here into `target` from `offset` on, at most to its end, and says how much that was. */
	moveInto(target: Buffer, offset: number): number {
		let moved = 0;
		while (this.#byteLength > 0 && offset + moved < target.length) {
			const copied = this.#chunks[0].copy(target, offset + moved, this.#taken);
			this.#advance(copied);
			moved += copied;
		}

		return moved;
	}

	/**
	 * Fills `target` as bytes come, where possible from the socket straight into it; false where the peer ends before.
	 * `onWait` is called each time before it waits.
	 */
	async fill(target: Buffer, onWait: () => void): Promise<boolean> {
		let filled = this.moveInto(target, 0);
		while (filled < target.length) {
			const count = this.#receiveInto(target, filled);
			if (count > 0) {
				filled += count;
				continue;
			}

			onWait();
			if (!(await this.more())) {
				return false;
			}

			filled += this.moveInto(target, filled);
		}

		return true;
	}

	/** Drops `length` bytes as they come; false where the peer ends before. */
	async skip(length: number): Promise<boolean> {
		let left = length;
		for (;;) {
			while (left > 0 && this.#byteLength > 0) {
				const dropped = Math.min(left, this.#chunks[0].length - this.#taken);
				this.#advance(dropped);
				left -= dropped;
			}

			if (left === 0) {
				return true;
			}

			if (!(await this.more())) {
				return false;
			}
		}
	}

	/** Looks whether something has arrived of which nobody has told; false where it makes no sense to look again. */
	look(): boolean {
		return this.#direct !== undefined && this.#wake !== undefined && !this.#direct.look();
	}

	/** Waits until more bytes are here than now; false where none will come. */
	async more(): Promise<boolean> {
		if (this.#ended) {
			return false;
		}

		this.#socket.resume();
		return new Promise(resolve => {
			this.#wake = resolve;
		});
	}

	/** Forgets what is here and takes nothing more. */
	stop(): void {
		this.#stopped = true;
		this.#chunks.length = 0;
		this.#byteLength = 0;
		this.#taken = 0;
		this.#end();
		// What still arrives is thrown away, so that the end of the connection is noticed.
		this.#socket.resume();
	}

	/**
	 * What is there, behind everything that was received already; nothing where others on this thread have waited
	 * enough.
	 */
	#receiveInto(target: Buffer, offset: number): number {
		if (!this.#direct || this.#ended || this.#directByteLength >= turnByteLengthMax) {
			return 0;
		}

		const count = this.#direct.receive(target, offset);
		if (count > 0) {
			this.#directByteLength += count;
			this.#onProgress();
		}

		return count;
	}

	#append(chunk: Buffer): void {
		if (this.#ended) {
			return;
		}

		this.#onProgress();
		this.#directByteLength = 0;
		this.#chunks.push(chunk);
		this.#byteLength += chunk.length;
		if (this.#byteLength >= receivedByteLengthMax) {
			this.#socket.pause();
		}

		this.#wakeUp(true);
	}

	#end(): void {
		this.#ended = true;
		this.#wakeUp(false);
	}

	#wakeUp(hasMore: boolean): void {
		const wake = this.#wake;
		this.#wake = undefined;
		wake?.(hasMore);
	}

	#advance(length: number): void {
		this.#taken += length;
		this.#byteLength -= length;
		if (this.#taken === this.#chunks[0].length) {
			this.#chunks.shift();
			this.#taken = 0;
		}
	}
}
