/** All that happened in a history, in one number: two runs of a history that differ anywhere have different ones. */
import {createHash} from 'node:crypto';

export class Trace {
	readonly #hash = createHash('sha256');
	#eventCount = 0;

	/** An event in plain values, bytes, and lists and records of them. */
	note(...values: readonly unknown[]): void {
		this.#eventCount++;
		this.#add(values);
	}

	/** What all events so far come to. */
	toString(): string {
		return `trace of ${this.#eventCount} events: ${this.#hash.copy().digest('hex')}`;
	}

	/** Each value says its kind and where it ends, so that no two lists of events look the same. */
	#add(value: unknown): void {
		if (value instanceof Uint8Array) {
			this.#hash.update(`bytes ${value.length}:`).update(value);
		} else if (Array.isArray(value)) {
			this.#hash.update(`list ${value.length}:`);
			for (const part of value) {
				this.#add(part);
			}
		} else if (typeof value === 'object' && value !== null) {
			const fields = Object.entries(value);
			this.#hash.update(`record ${fields.length}:`);
			for (const [name, field] of fields) {
				this.#add(name);
				this.#add(field);
			}
		} else {
			const text = String(value);
			this.#hash.update(`${typeof value} ${text.length}:${text}`);
		}
	}
}
