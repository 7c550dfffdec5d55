/** One line of the shell: words, and the file that the output goes to. */

export interface ShellLine {
	readonly words: readonly string[];
	/** The file after ">", if there is one. */
	readonly target: string | undefined;
}

/** A line or a command's words are not understood; the message says what would be. */
export class ShellUsageError extends Error {
	override readonly name = 'ShellUsageError';
}

/** A word, quoted or plain, or the arrow. */
const token = /\s*(?:(>)|((?:'[^']*'|"[^"]*"|[^\s>'"])+))/y;

function unquote(word: string): string {
	return word.replace(/'([^']*)'|"([^"]*)"/g, (_, single?: string, double?: string) => single ?? double ?? '');
}

/** @throws ShellUsageError */
export function parseShellLine(text: string): ShellLine {
	const words: string[] = [];
	let arrowAt: number | undefined;
	const line = text.trim();
	token.lastIndex = 0;
	while (token.lastIndex < line.length) {
		const [, arrow, word] = token.exec(line) ?? [];
		if (arrow === undefined && word === undefined) {
			throw new ShellUsageError('a quotation does not end');
		}

		if (word !== undefined) {
			words.push(unquote(word));
		} else if (arrowAt === undefined) {
			arrowAt = words.length;
		} else {
			throw new ShellUsageError('there is more than one ">"');
		}
	}

	if (arrowAt === undefined) {
		return {words, target: undefined};
	}

	const [target, ...rest] = words.splice(arrowAt);
	if (target === undefined) {
		throw new ShellUsageError('a file is missing after ">"');
	}

	return {words: [...words, ...rest], target};
}
