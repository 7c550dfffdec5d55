/**
 * The children of one deployment, as they are managed. An edited deployment gets a table of its own that shares what
 * goes on.
 */
import type {Child} from '../deployment/checked-deployment.js';
import {ChildGraph} from './child-graph.js';
import {ManagedChild, ManagedGroup} from './managed-child.js';

export class ChildTable {
	readonly graph: ChildGraph;
	/** In the order of the deployment: servers before their clients. */
	readonly #children = new Map<string, ManagedChild>();
	readonly #groups = new Map<string, ManagedGroup>();

	/** @param kept children that run already and go on, by name */
	constructor(children: readonly Child[], kept: ReadonlyMap<string, ManagedChild> = new Map()) {
		this.graph = new ChildGraph(children);
		for (const child of children) {
			const managed = kept.get(child.name) ?? this.#add(child);
			this.#children.set(child.name, managed);
			this.#groups.set(managed.group.name, managed.group);
		}
	}

	get children(): Iterable<ManagedChild> {
		return this.#children.values();
	}

	get groups(): Iterable<ManagedGroup> {
		return this.#groups.values();
	}

	get names(): readonly string[] {
		return [...this.#children.keys()];
	}

	of(child: Child): ManagedChild {
		return this.#children.get(child.name)!;
	}

	named(name: string): ManagedChild | undefined {
		return this.#children.get(name);
	}

	/** From now on its children are what this deployment says, also those that another table shares. */
	install(): void {
		for (const child of this.graph.children) {
			this.of(child).child = child;
		}
	}

	#add(child: Child): ManagedChild {
		const group = this.#groups.get(child.group) ?? new ManagedGroup(child.group, child.isolation);
		this.#groups.set(group.name, group);
		const managed = new ManagedChild(child, group);
		group.children.push(managed);
		return managed;
	}
}
