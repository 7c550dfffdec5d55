/** A secret as a person or a script writes it. */

/** One line end at the end, of Unix or of Windows, is not part of the secret. The same memory. */
export function withoutLineEnd(content: Buffer): Buffer {
	const end = content.at(-1) === 0x0a ? content.length - (content.at(-2) === 0x0d ? 2 : 1) : content.length;
	return content.subarray(0, end);
}
