/**
 * Says in the log when this process has hardly a file left to open: the system then closes new connections of clients,
 * and of `runtime status`, without a word to anybody.
 */
import {moreOpenFiles, openFileCount, openFilesMax} from '../sdk/open-files.js';
import type {RuntimeLog} from './log.js';

const lookMs = 2000;

/** So few are left when it is said, and twice as many before it may be said again. */
const leftMin = 8;

export interface OpenFilesView {
	/** Undefined where the system does not tell: then nothing is watched. */
	readonly max?: number | undefined;
	/** Undefined where it cannot even be counted. */
	readonly openCount?: () => number | undefined;
	readonly intervalMs?: number;
}

/** Returns what ends the watch. */
export function watchOpenFiles(
	log: Pick<RuntimeLog, 'say'>,
	{max = openFilesMax(), openCount = openFileCount, intervalMs = lookMs}: OpenFilesView = {},
): () => void {
	if (max === undefined) {
		return () => undefined;
	}

	let isSaid = false;
	const timer = setInterval(() => {
		const left = max - (openCount() ?? max);
		if (left < leftMin && !isSaid) {
			isSaid = true;
			log.say(
				`this process has ${max - left} of ${max} files open that it may have at once: new connections, and restarts of components, fail; close connections, or ${moreOpenFiles(Math.max(4096, 4 * max))}`,
				'warning',
			);
		} else if (left >= 2 * leftMin) {
			isSaid = false;
		}
	}, intervalMs);
	timer.unref();
	return () => {
		clearInterval(timer);
	};
}
