/** Big-endian fields and sized buffers (TPM2B) as TPM commands and responses hold them. */
import {TpmError} from './tpm-error.js';

/** The longest sized buffer of any command used here is far below. */
const sizedLengthMax = 0xffff;

export class TpmWriter {
	readonly #pieces: Uint8Array[] = [];

	u8(value: number): this {
		this.#pieces.push(Buffer.of(value));
		return this;
	}

	u16(value: number): this {
		const piece = Buffer.alloc(2);
		piece.writeUInt16BE(value);
		this.#pieces.push(piece);
		return this;
	}

	u32(value: number): this {
		const piece = Buffer.alloc(4);
		piece.writeUInt32BE(value);
		this.#pieces.push(piece);
		return this;
	}

	u64(value: number): this {
		const piece = Buffer.alloc(8);
		piece.writeBigUInt64BE(BigInt(value));
		this.#pieces.push(piece);
		return this;
	}

	raw(bytes: Uint8Array): this {
		this.#pieces.push(bytes);
		return this;
	}

	/** A length of two bytes, then the bytes. */
	sized(bytes: Uint8Array): this {
		if (bytes.length > sizedLengthMax) {
			throw new RangeError(`${bytes.length} bytes do not fit into a sized buffer`);
		}

		return this.u16(bytes.length).raw(bytes);
	}

	/** A copy of everything written; the caller wipes it where it holds a secret. */
	bytes(): Buffer {
		return Buffer.concat(this.#pieces);
	}
}

/** Reads what somebody else wrote: every length is checked before it is believed. */
export class TpmReader {
	readonly #bytes: Buffer;
	#offset = 0;

	constructor(bytes: Uint8Array) {
		this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	}

	get remaining(): number {
		return this.#bytes.length - this.#offset;
	}

	u8(): number {
		return this.#bytes.readUInt8(this.#take(1));
	}

	u16(): number {
		return this.#bytes.readUInt16BE(this.#take(2));
	}

	u32(): number {
		return this.#bytes.readUInt32BE(this.#take(4));
	}

	/** @throws TpmError for numbers that cannot be counted exactly */
	u64(): number {
		const value = this.#bytes.readBigUInt64BE(this.#take(8));
		if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
			throw new TpmError('malformed', `the number ${value} is too large`);
		}

		return Number(value);
	}

	/** A view, no copy. */
	raw(length: number): Buffer {
		const offset = this.#take(length);
		return this.#bytes.subarray(offset, offset + length);
	}

	/** A view on the content of a sized buffer, no copy. */
	sized(): Buffer {
		return this.raw(this.u16());
	}

	/** @throws TpmError where something is left */
	end(): void {
		if (this.remaining > 0) {
			throw new TpmError('malformed', `${this.remaining} bytes too many`);
		}
	}

	#take(length: number): number {
		if (length > this.remaining) {
			throw new TpmError('malformed', `${length} bytes were expected, ${this.remaining} are left`);
		}

		const offset = this.#offset;
		this.#offset += length;
		return offset;
	}
}
