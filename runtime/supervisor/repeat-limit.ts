/**
 * Keeps one fault from flooding the log: of messages of one child that only differ in their numbers, the first few
 * within some seconds pass, and the rest are counted and told in one line.
 */
import type {LogLevel} from '../sdk/component.js';

/** Messages of one kind that pass within a window. */
export const passCountMax = 10;
const windowMs = 10_000;
/** Kinds of messages that are remembered at once; of the one seen first, what was held back is told early. */
const kindCountMax = 256;

interface Kind {
	readonly child: string;
	readonly level: LogLevel;
	/** The last message that was held back. */
	last: string;
	count: number;
	timer: NodeJS.Timeout;
}

/** Numbers, decimal or hexadecimal, do not make another message of it. */
function withoutNumbers(text: string): string {
	return text.replaceAll(/\b(?:0x[\da-f]+|[\da-f]*\d[\da-f]*)\b/gi, '#');
}

export class RepeatLimit {
	readonly #write: (child: string, level: LogLevel, text: string) => void;
	readonly #kinds = new Map<string, Kind>();

	constructor(write: (child: string, level: LogLevel, text: string) => void) {
		this.#write = write;
	}

	mayPass(child: string, level: LogLevel, text: string): boolean {
		const key = `${child} ${level} ${withoutNumbers(text)}`;
		const kind = this.#kinds.get(key) ?? this.#begin(key, child, level);
		kind.count++;
		kind.last = text;
		return kind.count <= passCountMax;
	}

	close(): void {
		for (const key of [...this.#kinds.keys()]) {
			this.#end(key);
		}
	}

	#begin(key: string, child: string, level: LogLevel): Kind {
		const [oldest] = this.#kinds.keys();
		if (this.#kinds.size >= kindCountMax) {
			this.#end(oldest);
		}

		const timer = setTimeout(() => {
			this.#end(key);
		}, windowMs).unref();
		const kind = {child, level, last: '', count: 0, timer};
		this.#kinds.set(key, kind);
		return kind;
	}

	#end(key: string): void {
		const kind = this.#kinds.get(key)!;
		this.#kinds.delete(key);
		clearTimeout(kind.timer);
		const heldBack = kind.count - passCountMax;
		if (heldBack > 0) {
			this.#write(
				kind.child,
				kind.level,
				`… ${heldBack} more of these in the last ${windowMs / 1000} s, the last one: ${kind.last}`,
			);
		}
	}
}
