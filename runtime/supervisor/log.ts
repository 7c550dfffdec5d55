/** The log of a runtime: its own lines and those of its children, each with a level. */
import type {LogLevel} from '../sdk/component.js';
import {RepeatLimit} from './repeat-limit.js';

export interface LogEntry {
	readonly level: LogLevel;
	/** Missing where the runtime itself speaks. */
	readonly child?: string;
	/** One line. */
	readonly text: string;
}

/** @param line as people read it: `[runtime -> CHILD] LEVEL: TEXT` */
export type LogSink = (line: string, entry: LogEntry) => void;

function levelPrefix(level: LogLevel): string {
	return level === 'info' ? '' : `${level}: `;
}

export class RuntimeLog {
	readonly #sink: LogSink;
	readonly #repeats = new RepeatLimit((child, level, text) => {
		this.#write(child, level, text);
	});

	constructor(sink: LogSink) {
		this.#sink = sink;
	}

	/** A line of the runtime itself. */
	say(text: string, level: LogLevel = 'info'): void {
		this.#sink(`[runtime] ${text}`, {level, text});
	}

	/** What is wrong with a file: such lines name it and have no other head, so that editors find the place. */
	problem(text: string): void {
		this.#sink(text, {level: 'error', text});
	}

	/** What a child says. Warnings and errors that only differ in their numbers are limited in rate. */
	write(child: string, level: LogLevel, text: string): void {
		if (level === 'info' || this.#repeats.mayPass(child, level, text)) {
			this.#write(child, level, text);
		}
	}

	/** Nothing more will come: says what was held back. */
	close(): void {
		this.#repeats.close();
	}

	#write(child: string, level: LogLevel, text: string): void {
		for (const line of text.split('\n')) {
			this.#sink(`[runtime -> ${child}] ${levelPrefix(level)}${line}`, {level, child, text: line});
		}
	}
}
