/** A figure as a whole number, with its thousands apart. */
export function whole(value: number): string {
	return Math.round(value).toLocaleString('en-US');
}
