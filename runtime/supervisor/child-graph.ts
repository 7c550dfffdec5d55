/** The children of a deployment with their routes as a graph, and what a death means for the others. */
import type {Child, Deployment, Route} from '../deployment/checked-deployment.js';

export interface RouteEdge {
	readonly client: Child;
	readonly server: Child;
	readonly route: Route;
}

export class ChildGraph {
	/** Servers before their clients. */
	readonly children: readonly Child[];
	readonly #edges: readonly RouteEdge[];

	constructor(children: readonly Child[]) {
		this.children = children;
		const byName = new Map(children.map(child => [child.name, child]));
		this.#edges = children.flatMap(client =>
			client.routes.map(route => {
				const server = byName.get(route.server);
				if (!server) {
					throw new Error(`no child "${route.server}" serves "${client.name}"`);
				}

				return {client, server, route};
			}),
		);
	}

	routesFrom(client: Child): readonly RouteEdge[] {
		return this.#edges.filter(edge => edge.client === client);
	}

	routesTo(server: Child): readonly RouteEdge[] {
		return this.#edges.filter(edge => edge.server === server);
	}

	/** Children of the same group share a thread: they start and die together. */
	groupOf(child: Child): readonly Child[] {
		return this.children.filter(({group}) => group === child.group);
	}

	/** Every child that depends on this one, at first hand or through others. */
	dependents(server: Child): Set<Child> {
		const found = new Set<Child>();
		const visit = (from: Child) => {
			for (const {client} of this.routesTo(from)) {
				if (!found.has(client)) {
					found.add(client);
					visit(client);
				}
			}
		};
		visit(server);
		return found;
	}

	/**
	 * Everything that has to start over when the thread of `child` dies: stateful children take all stateful children
	 * that depend on them along, and a child takes those on its thread along.
	 */
	lostWith(child: Child): Set<Child> {
		const lost = new Set<Child>();
		const lose = (one: Child) => {
			for (const member of this.groupOf(one)) {
				if (lost.has(member)) {
					continue;
				}

				lost.add(member);
				if (member.component.stateful) {
					for (const dependent of this.dependents(member)) {
						if (dependent.component.stateful) {
							lose(dependent);
						}
					}
				}
			}
		};
		lose(child);
		return lost;
	}

	/** Children that see state go back when these are lost: those that depend on a lost stateful one. */
	resetBy(lost: ReadonlySet<Child>): Set<Child> {
		const reset = new Set<Child>();
		for (const child of lost) {
			if (child.component.stateful) {
				reset.add(child);
				for (const dependent of this.dependents(child)) {
					reset.add(dependent);
				}
			}
		}

		return reset;
	}
}

/** The part of a deployment that one tool needs: itself and the servers behind its routes. */
export function childrenNeededBy(deployment: Deployment, tool: Child): Child[] {
	const needed = new Set([tool.name]);
	for (const child of [...deployment.children].reverse()) {
		if (needed.has(child.name)) {
			for (const {server} of child.routes) {
				needed.add(server);
			}
		}
	}

	return deployment.children.filter(({name}) => needed.has(name));
}
