/**
 * SIGINT, SIGTERM and SIGHUP (the terminal is gone): the first asks for an ordered end, a second one does not wait for
 * it. Node.js takes back at its start that a signal is ignored, so `nohup` cannot be seen from here, and has no effect.
 */
import {exitCode} from './exit-code.js';
import type {LogLevel} from '../sdk/component.js';
import {leaveAtOnce} from './leave.js';

/**
 * One Ctrl-C arrives twice where a parent (npm, npx, timeout) passes on what the terminal sent to all: no second wish.
 */
const echoMs = 1000;

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Calls `stop` at the first signal. Returns what takes the handlers away again. */
export function onStopSignal(stop: () => void, say: (text: string, level: LogLevel) => void): () => void {
	let askedAt: number | undefined;
	const handle = (signal: NodeJS.Signals) => {
		if (askedAt !== undefined && performance.now() - askedAt < echoMs) {
			return;
		}

		if (askedAt !== undefined) {
			say(`${signal} again: stopped at once`, 'warning');
			leaveAtOnce(exitCode.failed);
		}

		askedAt = performance.now();
		say(`${signal}: stopping`, 'info');
		stop();
	};

	for (const signal of signals) {
		// The program's first handler ends it at once, which is right only as long as nothing was started.
		process.removeAllListeners(signal);
		process.on(signal, handle);
	}

	return () => {
		for (const signal of signals) {
			process.off(signal, handle);
		}
	};
}
