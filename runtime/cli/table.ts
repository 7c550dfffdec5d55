/** Tables of text, columns as wide as their widest cell. */

const gap = '  ';

function widthsOf(rows: ReadonlyArray<readonly string[]>): number[] {
	return rows[0].map((_, column) => Math.max(...rows.map(row => row[column].length)));
}

export function formatTable(header: readonly string[], rows: ReadonlyArray<readonly string[]>): string[] {
	const all = [header, ...rows];
	const widths = widthsOf(all);
	return all.map(row =>
		row
			.map((cell, column) => cell.padEnd(widths[column]))
			.join(gap)
			.trimEnd(),
	);
}

/** As much of a text as fits. */
export function fitText(text: string, width: number): string {
	return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}

/** A sentence in as many lines as it needs; a word that is wider stays whole. */
export function wrapText(text: string, width: number): string[] {
	const lines = [''];
	for (const word of text.split(' ')) {
		const line = lines.at(-1)!;
		if (line === '') {
			lines[lines.length - 1] = word;
		} else if (line.length + 1 + word.length <= width) {
			lines[lines.length - 1] = `${line} ${word}`;
		} else {
			lines.push(word);
		}
	}

	return lines;
}

/**
 * A table no wider than `width`: columns are left out, in the order of `expendable`, until it fits; what is still too
 * wide is cut off. `isComplete` says whether all of it is there.
 */
export function fitTable(
	header: readonly string[],
	rows: ReadonlyArray<readonly string[]>,
	width: number,
	expendable: readonly string[],
): {lines: string[]; isComplete: boolean} {
	const all = [header, ...rows];
	const widths = widthsOf(all);
	const shown = new Set(header.keys());
	const isTooWide = () => [...shown].reduce((sum, column) => sum + widths[column] + gap.length, -gap.length) > width;
	for (const name of expendable) {
		if (isTooWide()) {
			shown.delete(header.indexOf(name));
		}
	}

	const isCut = isTooWide();
	const pick = (row: readonly string[]) => row.filter((_, column) => shown.has(column));
	const lines = formatTable(
		pick(header),
		rows.map(row => pick(row)),
	).map(line => fitText(line, width));
	return {lines, isComplete: shown.size === header.length && !isCut};
}
