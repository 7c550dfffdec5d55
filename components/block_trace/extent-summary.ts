/** Extents shown in one line; a request may have thousands. */
const extentCountMax = 4;

/** Extents in a few words: `5 blocks at 17+4, 40`. */
export function summarizeExtents(extents: readonly number[]): string {
	const places: string[] = [];
	let blockCount = 0;
	for (let i = 0; i < extents.length; i += 2) {
		blockCount += extents[i + 1];
		if (places.length < extentCountMax) {
			places.push(extents[i + 1] === 1 ? `${extents[i]}` : `${extents[i]}+${extents[i + 1]}`);
		}
	}

	const more = extents.length / 2 - places.length;
	return `${blockCount} ${blockCount === 1 ? 'block' : 'blocks'} at ${places.join(', ')}${more > 0 ? ` and ${more} more extents` : ''}`;
}
