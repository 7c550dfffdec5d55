/**
 * What the bench has found out: printed as soon as a part is over, or when the bench is interrupted; kept for `--json`.
 */
import {writeFileSync} from 'node:fs';

/** A piece of a part's result. Both are read only when it is shown: until then it grows. */
export interface Section {
	lines(): readonly string[];
	data(): unknown;
}

export interface PartResultsOptions {
	/** Where tables go. */
	print(lines: readonly string[]): void;
	/** Where everything goes as JSON, `-` for standard output; nowhere where undefined. */
	readonly jsonFile: string | undefined;
	/** What stands beside the parts in the JSON document. */
	head(): Readonly<Record<string, unknown>>;
}

export class PartResults {
	readonly #options: PartResultsOptions;
	readonly #document: Record<string, unknown[]> = {};
	#part = '';
	#sections: Section[] = [];

	constructor(options: PartResultsOptions) {
		this.#options = options;
	}

	begin(part: string): void {
		this.show();
		this.#part = part;
	}

	add(section: Section): void {
		this.#sections.push(section);
	}

	/** Shows what the present part has; each section once. */
	show(): void {
		const sections = this.#sections.splice(0);
		if (sections.length > 0) {
			this.#options.print(sections.flatMap(section => section.lines()));
			this.#document[this.#part] = sections.map(section => section.data());
		}
	}

	writeJson(): void {
		const {jsonFile, head} = this.#options;
		if (jsonFile === undefined) {
			return;
		}

		const text = `${JSON.stringify({...head(), parts: this.#document}, undefined, '\t')}\n`;
		if (jsonFile === '-') {
			process.stdout.write(text);
		} else {
			writeFileSync(jsonFile, text);
		}
	}
}
