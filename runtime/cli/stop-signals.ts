/** SIGINT and SIGTERM: the first asks for an ordered end, a second one does not wait for it. */
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';

/** One Ctrl-C arrives twice where a parent (npm, npx, timeout) passes on what the terminal sent to all: no second wish. */
const echoMs = 1000;

const signals = ['SIGINT', 'SIGTERM'] as const;

/** Calls `stop` at the first signal. Returns what takes the handlers away again. */
export function onStopSignal(stop: () => void): () => void {
	let askedAt: number | undefined;
	const handle = (signal: NodeJS.Signals) => {
		if (askedAt !== undefined && performance.now() - askedAt < echoMs) {
			return;
		}

		if (askedAt !== undefined) {
			complain(`[runtime] ${signal} again: stopped at once`);
			process.exit(exitCode.failed);
		}

		askedAt = performance.now();
		print(`[runtime] ${signal}: stopping`);
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
