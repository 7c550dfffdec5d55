/** SIGINT and SIGTERM: the first asks for an ordered end, a second one does not wait for it. */
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';

const signals = ['SIGINT', 'SIGTERM'] as const;

/** Calls `stop` at the first signal. Returns what takes the handlers away again. */
export function onStopSignal(stop: () => void): () => void {
	let asked = false;
	const handle = (signal: NodeJS.Signals) => {
		if (asked) {
			complain(`[runtime] ${signal} again: stopped at once`);
			process.exit(exitCode.failed);
		}

		asked = true;
		print(`[runtime] ${signal}: stopping`);
		stop();
	};

	for (const signal of signals) {
		process.on(signal, handle);
	}

	return () => {
		for (const signal of signals) {
			process.off(signal, handle);
		}
	};
}
