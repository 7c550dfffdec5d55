/** Reads the fields of one option's data; `undefined` stands for data that is not what the option needs. */
import {stringLengthMax} from './protocol.js';

class OptionReader {
	readonly #data: Buffer;
	#position = 0;

	constructor(data: Buffer) {
		this.#data = data;
	}

	get atEnd(): boolean {
		return this.#position === this.#data.length;
	}

	uint16(): number | undefined {
		const bytes = this.#take(2);
		return bytes?.readUInt16BE();
	}

	uint32(): number | undefined {
		const bytes = this.#take(4);
		return bytes?.readUInt32BE();
	}

	/** A length of 32 bits and that many bytes of UTF-8. */
	string(): string | undefined {
		const length = this.uint32();
		return length === undefined || length > stringLengthMax ? undefined : this.#take(length)?.toString('utf8');
	}

	#take(length: number): Buffer | undefined {
		if (this.#data.length - this.#position < length) {
			return undefined;
		}

		const bytes = this.#data.subarray(this.#position, this.#position + length);
		this.#position += length;
		return bytes;
	}
}

/** Data of INFO and GO: an export's name and the kinds of information asked for. */
export function readInfoRequest(data: Buffer): {name: string; kinds: number[]} | undefined {
	const reader = new OptionReader(data);
	const name = reader.string();
	const count = reader.uint16();
	if (name === undefined || count === undefined) {
		return undefined;
	}

	const kinds: number[] = [];
	for (let i = 0; i < count; i++) {
		const kind = reader.uint16();
		if (kind === undefined) {
			return undefined;
		}

		kinds.push(kind);
	}

	return reader.atEnd ? {name, kinds} : undefined;
}

/** Data of LIST_META_CONTEXT and SET_META_CONTEXT: an export's name and queries. */
export function readMetaContextRequest(data: Buffer): {name: string; queries: string[]} | undefined {
	const reader = new OptionReader(data);
	const name = reader.string();
	const count = reader.uint32();
	if (name === undefined || count === undefined) {
		return undefined;
	}

	const queries: string[] = [];
	for (let i = 0; i < count; i++) {
		const query = reader.string();
		if (query === undefined) {
			return undefined;
		}

		queries.push(query);
	}

	return reader.atEnd ? {name, queries} : undefined;
}
