/** What a snapshot may be called beside its generation. */

/** Bytes of UTF-8. */
export const snapshotNameByteLengthMax = 48;

/** Control characters and line ends would break lists of names. */
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}]/u;

/** Why the text is no name of a snapshot, and what to do; undefined where it is one. */
export function snapshotNameFault(name: string): string | undefined {
	const byteLength = Buffer.byteLength(name);
	if (byteLength === 0 || byteLength > snapshotNameByteLengthMax) {
		return `a snapshot's name has 1 to ${snapshotNameByteLengthMax} bytes, this one has ${byteLength}`;
	}

	if (Buffer.from(name).toString() !== name) {
		return "a snapshot's name is text in UTF-8";
	}

	if (unprintable.test(name)) {
		return "a snapshot's name has no control characters";
	}

	if (name.includes('/') || name === '.' || name === '..') {
		return `"${name}" is a path, and no name for a snapshot; choose one without "/"`;
	}

	if (/^\d+$/.test(name)) {
		return `"${name}" would look like the number of a snapshot; choose a name that is not digits only`;
	}

	return name.trim() === name ? undefined : "a snapshot's name neither begins nor ends with white space";
}
