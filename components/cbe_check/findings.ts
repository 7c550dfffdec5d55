/** What is wrong with the container. All findings are counted, the first ones are kept with their text. */

/** Findings that are reported in full; a broken container could have one for each of its blocks. */
export const findingTextCountMax = 20;

export class Findings {
	readonly #texts: string[] = [];
	#count = 0;

	add(text: string): void {
		this.#count++;
		if (this.#texts.length < findingTextCountMax) {
			this.#texts.push(text);
		}
	}

	get count(): number {
		return this.#count;
	}

	get texts(): readonly string[] {
		return this.#texts;
	}
}
