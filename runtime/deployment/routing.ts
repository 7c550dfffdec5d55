/** Who serves whom: each required session of each child led to one server, first matching rule first. */
import type {Component} from '../sdk/component.js';
import {isEnvironmentService} from '../sdk/environment-service.js';
import type {Route, SourcePosition} from './checked-deployment.js';
import type {Problems} from './problem.js';
import type {RouteRule, RouteTarget} from './route-rule.js';
import type {StartNode} from './start-node.js';
import {suggestName} from './suggestion.js';

/** A child whose binary may be unknown; then its routes are not judged. */
export interface Participant {
	readonly node: StartNode;
	readonly component: Component | undefined;
	/** The module of the component, an absolute path. */
	readonly modulePath: string | undefined;
}

export interface PlacedRoute extends Route {
	readonly position: SourcePosition;
}

interface Need {
	readonly client: StartNode;
	readonly label: string;
	readonly service: string;
	readonly optional: boolean;
}

interface Requirement {
	readonly label: string;
	readonly service: string;
	readonly optional: boolean;
}

/** The sessions a component requires, in its own order. */
function requirementsOf(component: Component | undefined): Requirement[] {
	return Object.entries(component?.requires ?? {}).map(([label, requirement]) =>
		'optional' in requirement
			? {label, service: requirement.session.name, optional: true}
			: {label, service: requirement.name, optional: false},
	);
}

function providedNames(component: Component): string[] {
	return Object.values(component.provides).map(session => session.name);
}

/** `ended`: the search is over, with or without a server. */
type Outcome = {readonly ended: false} | {readonly ended: true; readonly route?: PlacedRoute};
const goOn: Outcome = {ended: false};
const failed: Outcome = {ended: true};

export class Routing {
	readonly #participants: ReadonlyMap<string, Participant>;
	readonly #defaultRules: readonly RouteRule[];
	readonly #parentServices: ReadonlySet<string>;
	readonly #knownServices: ReadonlySet<string>;
	readonly #problems: Problems;

	constructor(input: {
		participants: ReadonlyMap<string, Participant>;
		defaultRules: readonly RouteRule[];
		parentServices: ReadonlySet<string>;
		knownServices: ReadonlySet<string>;
		problems: Problems;
	}) {
		this.#participants = input.participants;
		this.#defaultRules = input.defaultRules;
		this.#parentServices = input.parentServices;
		this.#knownServices = input.knownServices;
		this.#problems = input.problems;
	}

	/** Routes of every child. */
	resolve(): Map<string, PlacedRoute[]> {
		this.#checkRules(this.#defaultRules);
		const routes = new Map<string, PlacedRoute[]>();
		for (const [name, {node, component}] of this.#participants) {
			this.#checkProvides(node, component);
			this.#checkRules(node.rules);
			this.#checkUse(node, component);
			const resolved = requirementsOf(component).map(requirement =>
				this.#routeOf({client: node, ...requirement}),
			);
			routes.set(
				name,
				resolved.filter(route => route !== undefined),
			);
		}

		return routes;
	}

	#checkProvides(node: StartNode, component: Component | undefined): void {
		const possible = component && providedNames(component);
		for (const {value, position} of node.provides) {
			if (possible && !possible.includes(value)) {
				this.#problems.report(
					position,
					`child "${node.name}" cannot provide "${value}"`,
					suggestName(value, possible, `services of binary "${node.binary?.value}"`),
				);
			}
		}
	}

	/** Names in rules must be names of something, whether or not a session comes along. */
	#checkRules(rules: readonly RouteRule[]): void {
		for (const {service, targets} of rules) {
			if (service && !this.#knownServices.has(service.value)) {
				this.#problems.report(
					service.position,
					`unknown service "${service.value}"`,
					suggestName(service.value, this.#knownServices, 'services'),
				);
			}

			for (const target of targets) {
				this.#checkTarget(service?.value, target);
			}
		}
	}

	#checkTarget(service: string | undefined, target: RouteTarget): void {
		if (target.kind === 'child' && !this.#participants.has(target.name)) {
			this.#problems.report(
				target.position,
				`there is no child "${target.name}"`,
				suggestName(target.name, this.#participants.keys(), 'children'),
			);
		}

		if (
			target.kind === 'parent' &&
			service !== undefined &&
			this.#knownServices.has(service) &&
			!this.#parentServices.has(service)
		) {
			const remedy = isEnvironmentService(service)
				? `add <service name="${service}"/> to <parent-provides>`
				: 'route it to a child that provides it';
			this.#problems.report(target.position, `the parent does not provide "${service}"`, remedy);
		}
	}

	/** A rule of a child's own route that none of its sessions can match was meant for something else. */
	#checkUse(node: StartNode, component: Component | undefined): void {
		if (!component) {
			return;
		}

		const requirements = requirementsOf(component);
		for (const {service, label, position} of node.rules) {
			if (!service || !this.#knownServices.has(service.value) || isEnvironmentService(service.value)) {
				continue;
			}

			const used = requirements.some(
				requirement =>
					requirement.service === service.value && (label === undefined || label.value === requirement.label),
			);
			if (!used) {
				const labelText = label ? ` label "${label.value}"` : '';
				const list = requirements
					.map(requirement => `${requirement.service} (label "${requirement.label}")`)
					.join(', ');
				this.#problems.report(
					label?.position ?? position,
					`child "${node.name}" requires no "${service.value}"${labelText}`,
					`remove the route; binary "${node.binary?.value}" requires ${list === '' ? 'nothing' : list}`,
				);
			}
		}
	}

	#routeOf(need: Need): PlacedRoute | undefined {
		for (const rule of [...need.client.rules, ...this.#defaultRules]) {
			const matches =
				(rule.service === undefined || rule.service.value === need.service) &&
				(rule.label === undefined || rule.label.value === need.label);
			const outcome = matches ? this.#follow(rule, need) : goOn;
			if (outcome.ended) {
				return outcome.route;
			}
		}

		if (!need.optional) {
			this.#reportMissing(need);
		}

		return undefined;
	}

	/** As in Genode, a rule for one service ends the search, while `<any-service>` passes on what it cannot serve. */
	#follow(rule: RouteRule, need: Need): Outcome {
		for (const target of rule.targets) {
			const outcome = this.#try(target, need, rule.service !== undefined);
			if (outcome.ended) {
				return outcome;
			}
		}

		return rule.service === undefined ? goOn : failed;
	}

	#try(target: RouteTarget, need: Need, explicit: boolean): Outcome {
		switch (target.kind) {
			case 'child': {
				return this.#tryChild(target, need, explicit);
			}

			case 'any-child': {
				return this.#tryAnyChild(target.position, need, explicit);
			}

			case 'parent': {
				// No session leads to the runtime: what it gives, components have in their environment.
				return explicit ? failed : goOn;
			}
		}
	}

	#tryChild(target: RouteTarget & {kind: 'child'}, need: Need, explicit: boolean): Outcome {
		const server = this.#participants.get(target.name);
		if (!server) {
			return failed;
		}

		if (this.#provides(server, need.service)) {
			return {ended: true, route: this.#placed(need, target.name, target.position, target.label)};
		}

		if (!explicit) {
			return goOn;
		}

		this.#reportUnprovided(target, server, need);
		return failed;
	}

	#tryAnyChild(position: SourcePosition, need: Need, explicit: boolean): Outcome {
		const servers = this.#providersFor(need);
		if (servers.length === 1) {
			return {ended: true, route: this.#placed(need, servers[0], position, undefined)};
		}

		if (servers.length > 1) {
			this.#problems.report(
				need.client.position,
				`ambiguous route: "${need.service}" (label "${need.label}") of child "${need.client.name}" could go to ${servers.map(name => `"${name}"`).join(' or ')}`,
				`say which: ${this.#routeText(need, servers[0])} in its <route>`,
			);
			return failed;
		}

		if (explicit && !need.optional) {
			this.#reportMissing(need);
		}

		return explicit ? failed : goOn;
	}

	#placed(need: Need, server: string, position: SourcePosition, serverLabel: string | undefined): PlacedRoute {
		const {label, service} = need;
		return {label, service, server, position, ...(serverLabel === undefined ? {} : {serverLabel})};
	}

	#provides({node}: Participant, service: string): boolean {
		return node.provides.some(({value}) => value === service);
	}

	/** A child never serves itself. */
	#providersFor(need: Need): string[] {
		return [...this.#participants.values()]
			.filter(
				participant => participant.node.name !== need.client.name && this.#provides(participant, need.service),
			)
			.map(({node}) => node.name);
	}

	#routeText({service, label}: Need, server: string): string {
		return `<service name="${service}" label="${label}"><child name="${server}"/></service>`;
	}

	#reportMissing(need: Need): void {
		const [server] = this.#providersFor(need);
		this.#problems.report(
			need.client.position,
			`missing route: child "${need.client.name}" requires "${need.service}" (label "${need.label}")`,
			server === undefined
				? `start a child that provides "${need.service}" and route to it`
				: `add ${this.#routeText(need, server)} to its <route>`,
		);
	}

	#reportUnprovided(target: RouteTarget & {kind: 'child'}, {component}: Participant, need: Need): void {
		const possible = component && providedNames(component).includes(need.service);
		const servers = this.#providersFor(need);
		const others = servers.length === 0 ? `no child provides "${need.service}"` : `these do: ${servers.join(', ')}`;
		this.#problems.report(
			target.position,
			`child "${target.name}" does not provide "${need.service}"`,
			possible ? `add <service name="${need.service}"/> to its <provides>` : others,
		);
	}
}
