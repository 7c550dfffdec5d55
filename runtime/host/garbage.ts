/** Collects garbage when told to. */
import {setFlagsFromString} from 'node:v8';
import {runInNewContext} from 'node:vm';

let collect: (() => void) | undefined;

/**
 * Node shows the engine's own function only where it was asked for it before a context is made. It is asked for that
 * long alone: with other flags than before, the engine takes none of the code that was made for bundles.
 */
function collector(): () => void {
	for (;;) {
		setFlagsFromString('--expose-gc');
		const found = runInNewContext('globalThis.gc') as (() => void) | undefined;
		setFlagsFromString('--no-expose-gc');
		// The flags are those of all threads: another one may just have taken it back.
		if (found) {
			return found;
		}
	}
}

/** Everything of this thread that is unreachable is gone afterwards. */
export function dropGarbage(): void {
	collect ??= collector();
	collect();
}
