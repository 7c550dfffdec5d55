/** A table that fills up while the bench measures, so that an interrupted one can show what it has. */
import {table} from './report.js';

export interface TableText {
	readonly title: string;
	readonly header: readonly string[];
	/** What a reader has to know of the figures. */
	readonly note?: string;
}

export class GrowingTable {
	readonly rows: string[][] = [];
	readonly #text: TableText;

	constructor(text: TableText) {
		this.#text = text;
	}

	add(...cells: readonly string[]): void {
		this.rows.push([...cells]);
	}

	/** Nothing while it is empty. */
	get lines(): string[] {
		const {title, header, note} = this.#text;
		return this.rows.length === 0
			? []
			: [`### ${title}`, '', ...table(header, this.rows), '', ...(note === undefined ? [] : [note, ''])];
	}

	get data(): {
		readonly title: string;
		readonly header: readonly string[];
		readonly rows: ReadonlyArray<readonly string[]>;
	} {
		const {title, header} = this.#text;
		return {title, header, rows: this.rows};
	}
}
