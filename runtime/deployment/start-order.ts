/** An order in which every server stands before its clients; cycles have none. */
import type {Problems} from './problem.js';
import type {PlacedRoute} from './routing.js';

class DepthFirst {
	readonly order: string[] = [];
	readonly #routes: ReadonlyMap<string, readonly PlacedRoute[]>;
	readonly #problems: Problems;
	/** Children between the first and the present one, in the order of the visit. */
	readonly #path: string[] = [];
	readonly #done = new Set<string>();

	constructor(routes: ReadonlyMap<string, readonly PlacedRoute[]>, problems: Problems) {
		this.#routes = routes;
		this.#problems = problems;
	}

	visit(name: string): void {
		if (this.#done.has(name)) {
			return;
		}

		this.#path.push(name);
		for (const route of this.#routes.get(name) ?? []) {
			const start = this.#path.indexOf(route.server);
			if (start === -1) {
				this.visit(route.server);
			} else {
				const cycle = [...this.#path.slice(start), route.server].map(child => `"${child}"`).join(' -> ');
				this.#problems.report(
					route.position,
					`cycle of routes: ${cycle}`,
					'route one of these sessions elsewhere: a server must be there before its clients',
				);
			}
		}

		this.#path.pop();
		this.#done.add(name);
		this.order.push(name);
	}
}

/** Names of all children, servers first, otherwise as they stand in the file. Reports every cycle. */
export function startOrder(routes: ReadonlyMap<string, readonly PlacedRoute[]>, problems: Problems): string[] {
	const search = new DepthFirst(routes, problems);
	for (const name of routes.keys()) {
		search.visit(name);
	}

	return search.order;
}
