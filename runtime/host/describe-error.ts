/** Errors in one line of a log. */
import {withOpenFilesMax} from '../sdk/open-files.js';

/** The message and, for what its user cannot mend, where it was thrown first. */
export function describeError(error: unknown): string {
	if (!(error instanceof Error)) {
		return `threw ${String(error)}`;
	}

	const place = error.stack
		?.split('\n')
		.find(line => line.startsWith('    at '))
		?.trim();
	return withOpenFilesMax(`${error.name}: ${error.message}${place ? ` (${place})` : ''}`);
}
