/** Another binary for one child in the text of a deployment file; everything else stays as it was written. */
import type {SourcePosition} from './checked-deployment.js';
import {Problems} from './problem.js';
import {childNamed, childrenNamed, parseXml} from './xml-document.js';

/** Names of binaries, so that nothing has to be escaped. */
const binaryPattern = /^[a-z][a-z\d_]*$/;

/** The text cannot be edited; the message says why. */
export class EditError extends Error {
	override readonly name = 'EditError';
}

/** Where a line and a column lie in the text, whatever ends its lines. */
function offsetOf(text: string, {line, column}: SourcePosition): number {
	let start = 0;
	for (let at = 1; at < line; at++) {
		const end = /\r\n?|\n/g;
		end.lastIndex = start;
		start = end.exec(text) ? end.lastIndex : text.length;
	}

	return start + column - 1;
}

/** @throws EditError where the child is not there, or its binary is not named in this file */
export function withBinary(file: string, text: string, child: string, binary: string): string {
	if (!binaryPattern.test(binary)) {
		throw new EditError(`"${binary}" is no name of a binary`);
	}

	const problems = new Problems();
	const root = parseXml(file, Buffer.from(text), problems);
	if (!root) {
		throw new EditError(`${file} is no well-formed XML; "runtime check" says where`);
	}

	const starts = childrenNamed(root, 'start');
	const start = starts.find(({attributes}) => attributes.get('name')?.value === child);
	if (!start) {
		throw new EditError(
			`${file} has no child "${child}"; its children are ${starts.map(({attributes}) => attributes.get('name')?.value).join(', ')}`,
		);
	}

	const attributes = childNamed(start, 'binary')?.attributes;
	const attribute = attributes?.get('name');
	if (!attribute) {
		throw new EditError(
			`the binary of "${child}" is named by its launcher; write <binary name="${binary}"/> into its <start> in place of the launcher`,
		);
	}

	// A binary of the project has no path. From the end, so that what comes before keeps its place.
	const edits = [
		{
			at: offsetOf(text, attribute.position),
			pattern: /^(name\s*=\s*)("[^"]*"|'[^']*')/,
			put: (start: string, value: string) => `${start}${value[0]}${binary}${value[0]}`,
		},
		...[attributes?.get('path')].flatMap(path =>
			path
				? [{at: offsetOf(text, path.position), pattern: /^(path\s*=\s*)("[^"]*"|'[^']*')\s*/, put: () => ''}]
				: [],
		),
	].sort((a, b) => b.at - a.at);
	let edited = text;
	for (const {at, pattern, put} of edits) {
		edited =
			edited.slice(0, at) +
			edited.slice(at).replace(pattern, (_all, start: string, value: string) => put(start, value));
	}

	return edited;
}
