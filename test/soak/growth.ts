/** Whether memory still grows at the end of a soak, or has found its size. */

export interface Sample {
	readonly seconds: number;
	/** By what it belongs to. */
	readonly bytes: Readonly<Record<string, number>>;
}

export interface Growth {
	readonly name: string;
	/** Medians of the third and of the last quarter of the samples. */
	readonly from: number;
	readonly to: number;
}

/** Growth between two quarters that is more than the coming and going of garbage: both of these. */
const growthFactor = 1.1;
const growthBytes = 8 * 2 ** 20;

function median(values: readonly number[]): number {
	return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** What grew from the third quarter to the last one; nothing where there are too few samples to say. */
export function growths(samples: readonly Sample[]): Growth[] {
	const quarter = Math.floor(samples.length / 4);
	if (quarter < 3) {
		return [];
	}

	const [third, last] = [samples.slice(-2 * quarter, -quarter), samples.slice(-quarter)];
	return Object.keys(samples[0].bytes)
		.map(name => ({
			name,
			from: median(third.map(({bytes}) => bytes[name])),
			to: median(last.map(({bytes}) => bytes[name])),
		}))
		.filter(({from, to}) => to > from * growthFactor && to > from + growthBytes);
}
