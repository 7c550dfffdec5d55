/**
 * File names are bytes, and JavaScript's words are text: a name that is no UTF-8 would silently become the name of
 * another place, and there a new device would be made. So it is refused before anything is done.
 */
import {isUtf8} from 'node:buffer';
import {readFileSync, readlinkSync} from 'node:fs';

/** Bytes that are no ASCII as \xNN. */
function escaped(name: Buffer): string {
	return Array.from(name, byte =>
		byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : String.raw`\x${byte.toString(16).padStart(2, '0')}`,
	).join('');
}

function wordsOf(commandLine: Buffer): Buffer[] {
	const words: Buffer[] = [];
	for (let from = 0; from < commandLine.length;) {
		const end = commandLine.indexOf(0, from);
		words.push(commandLine.subarray(from, end === -1 ? commandLine.length : end));
		from = end === -1 ? commandLine.length : end + 1;
	}

	return words;
}

/**
 * What this process was called with or in that text cannot name, with the remedy; undefined where there is nothing
 * such.
 */
export function inexactName(): string | undefined {
	const word = wordsOf(readFileSync('/proc/self/cmdline')).find(candidate => !isUtf8(candidate));
	if (word) {
		return `"${escaped(word)}" is not UTF-8; rename the file or folder, or name a symbolic link to it whose name is UTF-8`;
	}

	const folder = readlinkSync('/proc/self/cwd', {encoding: 'buffer'});
	return isUtf8(folder)
		? undefined
		: `the path of the current folder, ${escaped(folder)}, is not UTF-8; call this from another folder and name paths in full, through a symbolic link where needed`;
}
