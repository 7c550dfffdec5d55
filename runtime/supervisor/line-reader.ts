/** Cuts what a socket brings into lines, each with the bytes that follow it. */

const lineEnd = 0x0a;

export interface LineReaderOptions {
	/** Bytes of a line; a longer one ends the reading. */
	readonly lengthMax: number;
	/** How many bytes follow the line. @throws Error where it cannot be understood */
	payloadLengthOf(line: string): number;
	/** Memory for so many bytes that follow the line; new memory for each where it is left out. */
	payloadMemory?(length: number, line: string): Buffer;
	/** @param payload undefined where none follows */
	onLine(line: string, payload: Buffer | undefined): void;
}

interface OpenLine {
	readonly line: string;
	readonly payload: Buffer;
	/** How much of the payload is there. */
	length: number;
}

export class LineReader {
	readonly #options: LineReaderOptions;
	#parts: Buffer[] = [];
	#lineLength = 0;
	/** The line whose payload is being read. */
	#open: OpenLine | undefined;

	constructor(options: LineReaderOptions) {
		this.#options = options;
	}

	/**
	 * Where the next bytes are best put: the place that they have in the payload being read. Undefined between
	 * payloads.
	 */
	get room(): Buffer | undefined {
		return this.#open?.payload.subarray(this.#open.length);
	}

	/** Keeps nothing of `data`. @throws Error where a line is too long or cannot be understood */
	take(data: Buffer): void {
		for (let at = 0; at < data.length;) {
			at = this.#open ? this.#takePayload(this.#open, data, at) : this.#takeLine(data, at);
		}
	}

	#takePayload(open: OpenLine, data: Buffer, at: number): number {
		const {line, payload} = open;
		const isThere = data.buffer === payload.buffer && data.byteOffset + at === payload.byteOffset + open.length;
		const taken = isThere
			? Math.min(data.length - at, payload.length - open.length)
			: data.copy(payload, open.length, at);
		open.length += taken;
		if (open.length === payload.length) {
			this.#open = undefined;
			this.#options.onLine(line, payload);
		}

		return at + taken;
	}

	#takeLine(data: Buffer, at: number): number {
		const end = data.indexOf(lineEnd, at);
		const part = data.subarray(at, end === -1 ? data.length : end);
		this.#lineLength += part.length;
		if (this.#lineLength > this.#options.lengthMax) {
			throw new Error(`a line has more than ${this.#options.lengthMax} bytes`);
		}

		if (end === -1) {
			this.#parts.push(Buffer.from(part));
			return data.length;
		}

		this.#parts.push(part);
		const line = Buffer.concat(this.#parts).toString();
		this.#parts = [];
		this.#lineLength = 0;
		const length = this.#options.payloadLengthOf(line);
		if (length > 0) {
			this.#open = {
				line,
				payload: this.#options.payloadMemory?.(length, line) ?? Buffer.allocUnsafeSlow(length),
				length: 0,
			};
		} else {
			this.#options.onLine(line, undefined);
		}

		return end + 1;
	}
}
