/** How a long operation stands, on one line of a terminal, or in a few lines of a log. */
import type {OperationStatus} from './device-call.js';
import {formatBytes, formatSeconds} from './quantity.js';

/** Characters between the bar's brackets. */
const barWidth = 30;

/** Where there is no terminal a line is printed each time this many percent more are done. */
const percentStep = 10;

/** Moves to the start of the line and clears it. */
const clearLine = '\r\u001B[K';

function percentOf({done, total}: OperationStatus): number {
	return total === 0 ? 0 : Math.floor((100 * done) / total);
}

/** `34 %, 12.0 MiB/s, 20 s left`. */
export function describeProgress(status: OperationStatus): string {
	const parts = [`${percentOf(status)} %`];
	if (status.phase === 'paused') {
		return [...parts, 'paused'].join(', ');
	}

	if (status.waitsFor !== undefined) {
		return [...parts, `waits for ${status.waitsFor}`].join(', ');
	}

	parts.push(`${formatBytes(status.bytesPerSecond)}/s`);
	if (status.secondsLeft !== undefined) {
		parts.push(`${formatSeconds(status.secondsLeft)} left`);
	}

	return parts.join(', ');
}

function bar(status: OperationStatus): string {
	const filled = Math.min(barWidth, Math.floor((barWidth * percentOf(status)) / 100));
	return `[${'#'.repeat(filled)}${'-'.repeat(barWidth - filled)}]`;
}

export class ProgressLine {
	readonly #title: string;
	readonly #isTerminal: boolean;
	readonly #write: (text: string) => void;
	#lastStep = -1;
	#lastPhase = '';
	#shown = false;

	constructor(title: string, {isTerminal, write}: {isTerminal: boolean; write: (text: string) => void}) {
		this.#title = title;
		this.#isTerminal = isTerminal;
		this.#write = write;
	}

	show(status: OperationStatus): void {
		if (this.#isTerminal) {
			this.#shown = true;
			this.#write(`${clearLine}${this.#title} ${bar(status)} ${describeProgress(status)}`);
			return;
		}

		const step = Math.floor(percentOf(status) / percentStep);
		if (step !== this.#lastStep || status.phase !== this.#lastPhase) {
			this.#lastStep = step;
			this.#lastPhase = status.phase;
			this.#write(`${this.#title}: ${describeProgress(status)}\n`);
		}
	}

	/** Leaves the terminal's line, so that what follows does not stand behind the bar. */
	end(): void {
		if (this.#shown) {
			this.#write('\n');
		}
	}
}
