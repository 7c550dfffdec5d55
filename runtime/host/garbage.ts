/** Collects garbage when told to. */
import {setFlagsFromString} from 'node:v8';
import {runInNewContext} from 'node:vm';

let collect: (() => void) | undefined;

function collector(): () => void {
	// Node shows the engine's own function only where it was asked for it before a context is made.
	setFlagsFromString('--expose-gc');
	return runInNewContext('gc') as () => void;
}

/** Everything of this thread that is unreachable is gone afterwards. */
export function dropGarbage(): void {
	collect ??= collector();
	collect();
}
