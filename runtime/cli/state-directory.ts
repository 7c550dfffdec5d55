/** The option that names the state directory. */
import {resolve} from 'node:path';
import {InvalidArgumentError} from 'commander';

/** An unset variable on the command line must not make the current directory the state directory. */
export function stateDirectory(text: string): string {
	if (text === '') {
		throw new InvalidArgumentError('it is empty; name a directory.');
	}

	return resolve(text);
}
