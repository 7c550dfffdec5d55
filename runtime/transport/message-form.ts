/**
 * The form of a MessagePack message from another process, looked through before it is decoded. Only what this program's
 * own encoder writes passes: lengths that the bytes can hold, few levels, and no extension but one; what else the
 * decoder could do with bytes of a process that was taken over is never tried (docs/decisions/message-form.md).
 */

/** Deeper messages do not exist. */
const depthMax = 32;

/** The one extension in use: `undefined`, as type 0 with one byte. */
const undefinedType = 0;

class MessageFormError extends Error {
	override readonly name = 'MessageFormError';
}

class Reader {
	readonly #bytes: Buffer;
	#at = 0;

	constructor(bytes: Buffer) {
		this.#bytes = bytes;
	}

	get isAtEnd(): boolean {
		return this.#at === this.#bytes.length;
	}

	value(depth: number): void {
		const byte = this.#number(1);
		if (byte < 0x80 || byte >= 0xe0) {
			return;
		}

		if (byte < 0x90) {
			this.#values((byte & 0x0f) * 2, depth);
		} else if (byte < 0xa0) {
			this.#values(byte & 0x0f, depth);
		} else if (byte < 0xc0) {
			this.#skip(byte & 0x1f);
		} else {
			this.#long(byte, depth);
		}
	}

	#long(byte: number, depth: number): void {
		switch (byte) {
			case 0xc0:
			case 0xc2:
			case 0xc3: {
				return;
			}

			case 0xc4:
			case 0xc5:
			case 0xc6: {
				this.#skip(this.#number(2 ** (byte - 0xc4)));
				return;
			}

			case 0xca:
			case 0xcb: {
				this.#skip(4 * (byte - 0xc9));
				return;
			}

			case 0xcc:
			case 0xcd:
			case 0xce:
			case 0xcf: {
				this.#skip(2 ** (byte - 0xcc));
				return;
			}

			case 0xd0:
			case 0xd1:
			case 0xd2:
			case 0xd3: {
				this.#skip(2 ** (byte - 0xd0));
				return;
			}

			case 0xd4: {
				if (this.#number(1) !== undefinedType) {
					throw new MessageFormError('an extension that is not in use');
				}

				this.#skip(1);
				return;
			}

			case 0xd9:
			case 0xda:
			case 0xdb: {
				this.#skip(this.#number(2 ** (byte - 0xd9)));
				return;
			}

			case 0xdc:
			case 0xdd: {
				this.#values(this.#number(2 * (byte - 0xdb)), depth);
				return;
			}

			case 0xde:
			case 0xdf: {
				this.#values(this.#number(2 * (byte - 0xdd)) * 2, depth);
				return;
			}

			default: {
				throw new MessageFormError(`the byte 0x${byte.toString(16)} begins no value`);
			}
		}
	}

	#values(count: number, depth: number): void {
		// Each takes a byte at least.
		if (count > this.#bytes.length - this.#at) {
			throw new MessageFormError(`${count} values in ${this.#bytes.length - this.#at} bytes`);
		}

		if (depth === depthMax) {
			throw new MessageFormError(`more than ${depthMax} levels`);
		}

		for (let i = 0; i < count; i++) {
			this.value(depth + 1);
		}
	}

	#number(byteLength: number): number {
		const at = this.#at;
		this.#skip(byteLength);
		return this.#bytes.readUIntBE(at, byteLength);
	}

	#skip(byteLength: number): void {
		this.#at += byteLength;
		if (this.#at > this.#bytes.length) {
			throw new MessageFormError('it ends in the middle of a value');
		}
	}
}

/** @throws MessageFormError where the message is not one whole value */
export function checkMessageForm(message: Buffer): void {
	const reader = new Reader(message);
	reader.value(0);
	if (!reader.isAtEnd) {
		throw new MessageFormError('bytes after the value');
	}
}
