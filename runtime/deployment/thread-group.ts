/**
 * Children that share a thread. What belongs to a thread (CPUs, priority, heartbeat, its process) is the same for all
 * of them: one that does not say takes what the others say, and two that contradict each other are an error.
 */
import type {Declared} from './attribute-value.js';
import type {Placement} from './allowed-values.js';
import type {Problems} from './problem.js';
import type {StartNode} from './start-node.js';

export interface ThreadSettings {
	readonly group: string;
	readonly cpus: readonly number[];
	readonly priority: number;
	readonly placement: Placement;
	/** Undefined where no child of the group says. */
	readonly heartbeatMs: number | undefined;
}

interface Claim<T> {
	readonly child: string;
	readonly declared: Declared<T>;
}

function agree<T>(what: string, group: string, claims: ReadonlyArray<Claim<T>>, problems: Problems): T | undefined {
	for (const {child, declared} of claims.slice(1)) {
		if (String(declared.value) !== String(claims[0].declared.value)) {
			problems.report(
				declared.position,
				`child "${child}" shares the thread "${group}" with "${claims[0].child}" but has another ${what}`,
				`give the ${what} once, or take one of them out of the group`,
			);
		}
	}

	return claims.at(0)?.declared.value;
}

function claims<T>(members: readonly StartNode[], pick: (node: StartNode) => Declared<T> | undefined): Array<Claim<T>> {
	return members.flatMap(node => {
		const declared = pick(node);
		return declared ? [{child: node.name, declared}] : [];
	});
}

function groupName(node: StartNode): string {
	return node.group?.value ?? node.name;
}

/** What the thread of each child is like, by the child's name. */
export function threadSettings(nodes: readonly StartNode[], problems: Problems): Map<string, ThreadSettings> {
	const groups = new Map<string, StartNode[]>();
	for (const node of nodes) {
		groups.set(groupName(node), [...(groups.get(groupName(node)) ?? []), node]);
	}

	const terms = new Map<string, ThreadSettings>();
	for (const [group, members] of groups) {
		const loner = members.find(node => node.group === undefined);
		const intruder = members.find(node => node.group !== undefined);
		if (loner && intruder?.group) {
			problems.report(
				intruder.group.position,
				`the group "${group}" has the name of a child that is not in it`,
				`choose another name, or add colocate="${group}" to that child`,
			);
		}

		const shared = {
			group,
			cpus:
				agree(
					'affinity',
					group,
					claims(members, node => node.affinity),
					problems,
				) ?? [],
			priority:
				agree(
					'priority',
					group,
					claims(members, node => node.priority),
					problems,
				) ?? 0,
			placement:
				agree(
					'isolation',
					group,
					claims(members, node => node.placement),
					problems,
				) ?? 'thread',
			heartbeatMs: agree(
				'heartbeat',
				group,
				claims(members, node => node.heartbeatMs),
				problems,
			),
		};
		for (const {name} of members) {
			terms.set(name, shared);
		}
	}

	return terms;
}
