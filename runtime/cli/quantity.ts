/** Sizes and times as people read and write them. */

/** Bytes of one block of a device. */
export const blockSize = 4096;

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;
const factors: Readonly<Record<string, number>> = {K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40};

/** `256.0 MiB`. */
export function formatBytes(byteLength: number): string {
	let value = byteLength;
	let unit = 0;
	for (; value >= 1024 && unit < units.length - 1; unit++) {
		value /= 1024;
	}

	return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `45 s`, `12 min`, `3 h 20 min`, `5 d 2 h`. */
export function formatSeconds(seconds: number): string {
	if (seconds < 120) {
		return `${Math.ceil(seconds)} s`;
	}

	const minutes = Math.round(seconds / 60);
	if (minutes < 120) {
		return `${minutes} min`;
	}

	const hours = Math.floor(minutes / 60);
	return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Blocks of a size: a number of blocks, or of bytes with K, M, G or T behind it; undefined where it is neither. */
export function parseBlockCount(text: string): number | undefined {
	const match = /^(\d{1,15})([KMGT]?)$/.exec(text);
	if (!match) {
		return undefined;
	}

	const count = match[2] === '' ? Number(match[1]) : (Number(match[1]) * factors[match[2]]) / blockSize;
	return Number.isSafeInteger(count) && count > 0 ? count : undefined;
}

/** Bytes of a size, with K, M, G or T behind it or without; undefined where it is none. */
export function parseBytes(text: string): number | undefined {
	const match = /^(\d{1,15})([KMGT]?)$/.exec(text);
	const byteLength = match ? Number(match[1]) * (factors[match[2]] ?? 1) : 0;
	return Number.isSafeInteger(byteLength) && byteLength > 0 ? byteLength : undefined;
}
