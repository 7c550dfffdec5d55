/** Paths as messages show them: relative where the file lies in the current directory. */
import {relative, resolve} from 'node:path';

export function displayPath(path: string): string {
	const fromHere = relative(process.cwd(), resolve(path));
	return fromHere === '' || fromHere.startsWith('..') ? resolve(path) : fromHere;
}
