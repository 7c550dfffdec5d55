/** The rules of a `<route>` or `<default-route>` as they are written. */
import {readName, type Declared} from './attribute-value.js';
import type {SourcePosition} from './checked-deployment.js';
import type {Problems} from './problem.js';
import {childrenNamed, type XmlElement} from './xml-document.js';

export type RouteTarget =
	| {
			readonly kind: 'child';
			readonly name: string;
			readonly label: string | undefined;
			readonly position: SourcePosition;
	  }
	/** The one child that provides the service. */
	| {readonly kind: 'any-child'; readonly position: SourcePosition}
	/** The runtime itself. */
	| {readonly kind: 'parent'; readonly position: SourcePosition};

export interface RouteRule {
	/** Undefined for `<any-service>`. */
	readonly service: Declared<string> | undefined;
	/** The label the rule is for; undefined for any. */
	readonly label: Declared<string> | undefined;
	readonly targets: readonly RouteTarget[];
	readonly position: SourcePosition;
}

function readTarget(element: XmlElement, problems: Problems): RouteTarget | undefined {
	const {position} = element;
	if (element.name === 'parent' || element.name === 'any-child') {
		return {kind: element.name, position};
	}

	const name = element.name === 'child' ? readName(element, 'name', problems) : undefined;
	return name && {kind: 'child', name: name.value, label: readName(element, 'label', problems)?.value, position};
}

function readRule(element: XmlElement, problems: Problems): RouteRule | undefined {
	const anyService = element.name === 'any-service';
	const service = anyService ? undefined : readName(element, 'name', problems);
	if (!anyService && !service) {
		return undefined;
	}

	const what = service ? `the route for "${service.value}"` : 'the route for any service';
	if (element.children.length === 0) {
		problems.report(
			element.position,
			`${what} has no target`,
			'put <child name="…"/>, <any-child/> or <parent/> into it',
		);
	} else if (service && element.children.length > 1) {
		problems.report(
			element.children[1].position,
			`${what} has ${element.children.length} targets`,
			'keep one: only the first could ever match',
		);
	}

	return {
		service,
		label: anyService ? undefined : readName(element, 'label', problems),
		targets: element.children.map(child => readTarget(child, problems)).filter(target => target !== undefined),
		position: element.position,
	};
}

export function readRouteRules(route: XmlElement | undefined, problems: Problems): RouteRule[] {
	return (route?.children ?? [])
		.filter(element => element.name === 'service' || element.name === 'any-service')
		.map(element => readRule(element, problems))
		.filter(rule => rule !== undefined);
}

/** The names in `<provides>` or `<parent-provides>`. */
export function readServiceNames(element: XmlElement | undefined, problems: Problems): Array<Declared<string>> {
	return childrenNamed(element, 'service')
		.map(service => readName(service, 'name', problems))
		.filter(name => name !== undefined);
}
