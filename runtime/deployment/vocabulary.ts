/**
 * The words of deployment files and launchers: which elements and attributes may stand where. `config/deploy.xsd` says
 * the same to editors; what values mean is checked where they are read.
 */
import type {Problems} from './problem.js';
import {suggestName} from './suggestion.js';
import type {XmlElement} from './xml-document.js';

interface ElementRule {
	readonly attributes: Readonly<Record<string, 'required' | 'optional'>>;
	readonly children: Readonly<Record<string, {readonly rule: ElementRule; readonly occurs: 'once' | 'many'}>>;
	/** What stands inside is checked by somebody else. */
	readonly open?: true;
}

const leaf = (attributes: ElementRule['attributes']): ElementRule => ({attributes, children: {}});
const once = (rule: ElementRule) => ({rule, occurs: 'once'} as const);
const many = (rule: ElementRule) => ({rule, occurs: 'many'} as const);

const childTarget = leaf({name: 'required', label: 'optional'});

const routeRules: ElementRule = {
	attributes: {},
	children: {
		'service': many({
			attributes: {name: 'required', label: 'optional'},
			children: {'child': many(childTarget), 'parent': many(leaf({})), 'any-child': many(leaf({}))},
		}),
		'any-service': many({
			attributes: {},
			children: {'child': many(childTarget), 'parent': many(leaf({})), 'any-child': many(leaf({}))},
		}),
	},
};

const services: ElementRule = {attributes: {}, children: {service: many(leaf({name: 'required'}))}};

/** What describes a child, in a `<start>` and in a launcher alike. */
const childParts = {
	binary: once(leaf({name: 'required', path: 'optional'})),
	resource: once(leaf({name: 'required', quantum: 'required'})),
	provides: once(services),
	affinity: once(leaf({xpos: 'required', ypos: 'optional', width: 'optional', height: 'optional'})),
	config: once({attributes: {}, children: {}, open: true}),
	route: once(routeRules),
	heartbeat: once(leaf({rate_ms: 'required'})),
	exit: once(leaf({propagate: 'required'})),
};

/** How a file names its schema for editors. */
const schemaReference = {'xmlns:xsi': 'optional', 'xsi:noNamespaceSchemaLocation': 'optional'} as const;

export const launcherRule: ElementRule = {attributes: {...schemaReference, priority: 'optional', colocate: 'optional', isolation: 'optional'}, children: childParts};

export const deploymentRule: ElementRule = {
	attributes: {...schemaReference, prio_levels: 'optional'},
	children: {
		'affinity-space': once(leaf({width: 'required', height: 'optional'})),
		'parent-provides': once(services),
		'default-route': once(routeRules),
		'default': once(leaf({ram: 'required'})),
		'heartbeat': once(leaf({rate_ms: 'required'})),
		'isolation': once(leaf({user: 'optional', if_missing: 'optional'})),
		'start': many({
			attributes: {name: 'required', priority: 'optional', launcher: 'optional', colocate: 'optional', isolation: 'optional'},
			children: childParts,
		}),
	},
};

function checkAttributes(element: XmlElement, rule: ElementRule, problems: Problems): void {
	for (const attribute of element.attributes.values()) {
		if (!Object.hasOwn(rule.attributes, attribute.name)) {
			const known = Object.keys(rule.attributes);
			problems.report(attribute.position, `unknown attribute "${attribute.name}" of <${element.name}>`, suggestName(attribute.name, known, 'attributes'));
		}
	}

	for (const [name, presence] of Object.entries(rule.attributes)) {
		if (presence === 'required' && !element.attributes.has(name)) {
			problems.report(element.position, `<${element.name}> has no attribute "${name}"`, `write <${element.name} ${name}="…">`);
		}
	}
}

/** Reports every element and attribute that has no place here. */
export function checkVocabulary(element: XmlElement, rule: ElementRule, problems: Problems): void {
	if (rule.open) {
		return;
	}

	checkAttributes(element, rule, problems);
	const first = new Map<string, XmlElement>();
	for (const child of element.children) {
		if (!Object.hasOwn(rule.children, child.name)) {
			const known = Object.keys(rule.children);
			problems.report(
				child.position,
				`unknown element <${child.name}> in <${element.name}>`,
				known.length === 0 ? `<${element.name}> takes no elements` : suggestName(child.name, known, 'elements'),
			);
			continue;
		}

		const {rule: childRule, occurs} = rule.children[child.name];
		const earlier = first.get(child.name);
		if (earlier && occurs === 'once') {
			problems.report(child.position, `a second <${child.name}> in <${element.name}>`, `keep one; the first is in line ${earlier.position.line}`);
		}

		first.set(child.name, earlier ?? child);
		checkVocabulary(child, childRule, problems);
	}
}

/** Reports a root element of the wrong kind; true where it is the right one. */
export function checkRoot(root: XmlElement, name: 'config' | 'launcher', problems: Problems): boolean {
	if (root.name === name) {
		return true;
	}

	const kind = name === 'config' ? 'a deployment file' : 'a launcher';
	problems.report(root.position, `the root element is <${root.name}>`, `the root element of ${kind} is <${name}>`);
	return false;
}

