/** Which exports a client may use, by the name under which TLS knows it. */
import type {Export, ExportList} from './export-list.js';

export interface ClientRule {
	readonly name: string;
	/** Export names; `*` at the end stands for anything. */
	readonly exports: readonly string[];
	readonly readOnly: boolean;
}

/** The exports as one client sees them. */
export interface Exports {
	list(): Promise<Export[]>;
	find(name: string): Promise<Export | undefined>;
}

function matches(pattern: string, name: string): boolean {
	return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

export class ClientAccess {
	readonly #exports: ExportList;
	readonly #rules: ReadonlyMap<string, ClientRule>;

	constructor(exports: ExportList, rules: readonly ClientRule[]) {
		this.#exports = exports;
		this.#rules = new Map(rules.map(rule => [rule.name, rule]));
	}

	/**
	 * Where there are rules, only who is named in one sees anything. A local client has no name: the socket's mode lets
	 * it in.
	 */
	of(identity: string | undefined): Exports {
		if (this.#rules.size === 0 || identity === undefined) {
			return this.#exports;
		}

		const rule = this.#rules.get(identity);
		const seen = (found: Export | undefined): Export | undefined => {
			if (!found || !rule?.exports.some(pattern => matches(pattern, found.name))) {
				return undefined;
			}

			return rule.readOnly ? {...found, readOnly: true} : found;
		};

		return {
			list: async () => (await this.#exports.list()).flatMap(found => seen(found) ?? []),
			find: async name => seen(await this.#exports.find(name)),
		};
	}
}
