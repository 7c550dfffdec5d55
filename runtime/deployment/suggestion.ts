/** The known name that a misspelt one was probably meant to be. */

/** Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
	const rows: number[][] = [Array.from({length: b.length + 1}, (_, column) => column)];
	for (let row = 1; row <= a.length; row++) {
		rows.push([row]);
		for (let column = 1; column <= b.length; column++) {
			const same = a[row - 1] === b[column - 1];
			let distance = Math.min(
				rows[row - 1][column] + 1,
				rows[row][column - 1] + 1,
				rows[row - 1][column - 1] + (same ? 0 : 1),
			);
			if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
				distance = Math.min(distance, rows[row - 2][column - 2] + 1);
			}

			rows[row].push(distance);
		}
	}

	return rows[a.length][b.length];
}

/** Longer names are compared by their beginning only, which bounds the work for a hostile file. */
const comparedLengthMax = 64;

/** Fewer letters begin too many words to mean one of them. */
const beginningLengthMin = 3;

/**
 * The shortest of the names that go on where `name` ends: who writes "stat" wants "status", though "start" is nearer.
 */
function continuedName(name: string, known: readonly string[]): string | undefined {
	return name.length < beginningLengthMin
		? undefined
		: known
				.filter(candidate => candidate.toLowerCase().startsWith(name.toLowerCase()))
				.sort((a, b) => a.length - b.length)
				.at(0);
}

/** The one of `known` that was begun, else the nearest, where one is near enough to be meant. */
export function nearestName(name: string, names: Iterable<string>): string | undefined {
	const known = [...names];
	const continued = continuedName(name, known);
	if (continued !== undefined) {
		return continued;
	}

	let nearest: string | undefined;
	let nearestDistance = Math.max(1, Math.floor(Math.min(name.length, comparedLengthMax) / 3)) + 1;
	for (const candidate of known) {
		const distance = editDistance(
			name.slice(0, comparedLengthMax).toLowerCase(),
			candidate.slice(0, comparedLengthMax).toLowerCase(),
		);
		if (distance < nearestDistance) {
			nearest = candidate;
			nearestDistance = distance;
		}
	}

	return nearest;
}

/** The remedy for an unknown name: the nearest known one, and all that are known. `kind` is a plural: "binaries". */
export function suggestName(name: string, known: Iterable<string>, kind: string): string {
	const names = [...known].sort();
	const nearest = nearestName(name, names);
	const list = names.length === 0 ? `there are no ${kind}` : `${kind}: ${names.join(', ')}`;
	return nearest === undefined ? list : `did you mean "${nearest}"? (${list})`;
}
