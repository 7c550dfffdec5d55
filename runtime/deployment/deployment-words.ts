/**
 * The words of deployment files and launchers: which elements and attributes may stand where, which values they have,
 * and what they mean. `config/deploy.xsd` and the table in README.md are made of it (`published-words.ts`); what values
 * mean beyond that is checked where they are read.
 */
import {environmentServices} from '../sdk/environment-service.js';
import {
	heartbeatBounds,
	missingActions,
	placements,
	priorityLevelsMax,
	resources,
	spacePositionBounds,
	spaceSizeBounds,
	userBounds,
	yesOrNo,
	type Bounds,
} from './allowed-values.js';
import type {Problems} from './problem.js';
import {suggestName} from './suggestion.js';
import type {XmlElement} from './xml-document.js';

export type ValueRule =
	/** Of a child, a service, a group, a label. */
	| {readonly kind: 'name'}
	| {readonly kind: 'text'}
	/** Bytes, or a number with K, M or G. */
	| {readonly kind: 'size'}
	| {readonly kind: 'integer'; readonly bounds: Bounds}
	| {readonly kind: 'choice'; readonly words: readonly string[]};

export interface AttributeRule {
	readonly presence: 'required' | 'optional';
	readonly value: ValueRule;
	/** What it says, where the element's text does not say it. Markdown, as seen from this folder. */
	readonly text?: string;
}

export interface ElementRule {
	/** What it says. Markdown, as seen from this folder; empty where it only holds others. */
	readonly text: string;
	readonly attributes: Readonly<Record<string, AttributeRule>>;
	readonly children: Readonly<Record<string, {readonly rule: ElementRule; readonly occurs: 'once' | 'many'}>>;
	/** How many of its children it needs; any number unless it is said. */
	readonly needs?: 'one' | 'some';
	/** What stands inside is checked by somebody else. */
	readonly open?: true;
}

const required = (value: ValueRule, text?: string): AttributeRule => ({presence: 'required', value, text});
const optional = (value: ValueRule, text?: string): AttributeRule => ({presence: 'optional', value, text});

const name: ValueRule = {kind: 'name'};
const size: ValueRule = {kind: 'size'};
const integer = (bounds: Bounds): ValueRule => ({kind: 'integer', bounds});
const choice = (words: readonly string[]): ValueRule => ({kind: 'choice', words});

const leaf = (text: string, attributes: ElementRule['attributes'] = {}): ElementRule => ({
	text,
	attributes,
	children: {},
});
const once = (rule: ElementRule) => ({rule, occurs: 'once'}) as const;
const many = (rule: ElementRule) => ({rule, occurs: 'many'}) as const;

const targets = {
	child: many(
		leaf('a target of a rule', {
			name: required(name),
			label: optional(
				name,
				"who the client is to the server, which may tell its clients apart by it (a `<policy>` of [block_file](../../components/block_file/README.md) does); the client's name unless given",
			),
		}),
	),
	'any-child': many(
		leaf('the one child that provides the service; several are an error; a child never serves itself'),
	),
	parent: many(leaf('the runtime itself, for what `<parent-provides>` lists; no component needs a route to that')),
};

const routeRules: ElementRule = {
	text: 'rules, the first that matches counts: those of the child before those of `<default-route>`',
	attributes: {},
	children: {
		service: many({
			text: 'a rule for one service; one target',
			attributes: {
				name: required(name),
				label: optional(
					name,
					"only for this one of the child's sessions to the service; each component's README names them",
				),
			},
			children: targets,
			needs: 'one',
		}),
		'any-service': many({
			text: 'a rule for all services; a target that does not provide the service is passed over',
			attributes: {},
			children: targets,
			needs: 'some',
		}),
	},
};

const provides: ElementRule = {
	text: 'services that may be routed to the child; its binary has to have them',
	attributes: {},
	children: {service: many(leaf('', {name: required(name)}))},
};

const heartbeat = leaf('for all children, or in a `<start>` for one: a thread that gives no sign of life is replaced', {
	rate_ms: required(integer(heartbeatBounds), 'milliseconds between two signs of life'),
});

/** What describes a child, in a `<start>` and in a launcher alike. */
const childParts = {
	binary: once(
		leaf('the component: a folder below `components/`', {
			name: required(name),
			path: optional(
				{kind: 'text'},
				'the compiled module of a component [outside of the project](../../docs/write-a-component.md), relative to the file in which it stands',
			),
		}),
	),
	resource: once(
		leaf(
			'what the child may use at most: half of it, from 24M to 64M, is for the JavaScript heap, the rest for payload; a component that needs more dies of it and is restarted. ' +
				"What an empty component needs of the heap depends on Node's version: `runtime check` measures it",
			{
				name: required(choice(resources)),
				quantum: required(size, 'bytes, or a number with K, M or G; at least 32M'),
			},
		),
	),
	provides: once(provides),
	affinity: once(
		leaf('the part of the affinity space in which the thread may run', {
			xpos: required(integer(spacePositionBounds), 'its first column'),
			ypos: optional(integer(spacePositionBounds), 'its first row; 0 unless given'),
			width: optional(integer(spaceSizeBounds), 'in columns; 1 unless given'),
			height: optional(integer(spaceSizeBounds), 'in rows; 1 unless given'),
		}),
	),
	config: once({text: "checked by the component's own schema", attributes: {}, children: {}, open: true}),
	route: once(routeRules),
	heartbeat: once(heartbeat),
	exit: once(
		leaf('what the end of the child means', {
			propagate: required(choice(yesOrNo), '`yes`: the runtime ends with this child, with its exit value'),
		}),
	),
};

/** How a child is placed, in a `<start>` and in a launcher alike. */
const placing = {
	priority: optional(
		integer({min: 1 - priorityLevelsMax, max: 0}),
		'0 is the highest, `1 - prio_levels` the lowest; spread over the nice values 0 to 19',
	),
	colocate: optional(name, 'children of one group share one thread, its CPUs, priority, heartbeat and isolation'),
	isolation: optional(
		choice(placements),
		"`process`: a [confined process](../../docs/architecture.md#isolation) of its own, or of its group's; `thread` unless given. Not for front ends, nor between children that share memory",
	),
};

/** How a file names its schema for editors. */
const schemaReference = {
	'xmlns:xsi': optional({kind: 'text'}),
	'xsi:noNamespaceSchemaLocation': optional({kind: 'text'}),
};

export const launcherRule: ElementRule = {
	text: 'the root of a launcher',
	attributes: {...schemaReference, ...placing},
	children: childParts,
};

export const deploymentRule: ElementRule = {
	text: 'the root of a deployment file',
	attributes: {
		...schemaReference,
		prio_levels: optional(
			integer({min: 1, max: priorityLevelsMax}),
			'how many priorities there are; 1 unless given',
		),
	},
	children: {
		'affinity-space': once(
			leaf('a grid of CPUs: the number of a CPU is y * width + x. Without it: one row of all CPUs', {
				width: required(integer(spaceSizeBounds), 'columns'),
				height: optional(integer(spaceSizeBounds), 'rows; 1 unless given'),
			}),
		),
		'parent-provides': once({
			text: 'what the environment of the components gives; all of it where this element is left out. A component that uses a `clock` or `entropy` that is not listed dies of it; without `log` its lines go nowhere',
			attributes: {},
			children: {service: many(leaf('', {name: required(choice(environmentServices))}))},
		}),
		'default-route': once(routeRules),
		default: once(
			leaf('what children get that do not say otherwise', {
				ram: required(size, 'the RAM quantum of children without `<resource>`'),
			}),
		),
		heartbeat: once(heartbeat),
		isolation: once(
			leaf('how children with `isolation="process"` run', {
				user: optional(
					integer(userBounds),
					'the number of their user, and group, where the runtime is root; 65432 unless given',
				),
				if_missing: optional(
					choice(missingActions),
					'whether they start without what the system does not give: `refuse` unless given, or `continue` with a warning',
				),
			}),
		),
		start: many({
			text: 'a child; a tool waits for `runtime run NAME`, unless it has `<exit propagate="yes"/>`',
			attributes: {
				name: required(name),
				...placing,
				launcher: optional(
					name,
					"`config/launcher/NAME.xml`, beside the deployment file or else the project's, gives what the `<start>` does not say; without a `<binary>` the child's own name is looked for",
				),
			},
			children: childParts,
		}),
	},
};

function checkAttributes(element: XmlElement, rule: ElementRule, problems: Problems): void {
	for (const attribute of element.attributes.values()) {
		if (!Object.hasOwn(rule.attributes, attribute.name)) {
			const known = Object.keys(rule.attributes);
			problems.report(
				attribute.position,
				`unknown attribute "${attribute.name}" of <${element.name}>`,
				suggestName(attribute.name, known, 'attributes'),
			);
		}
	}

	for (const [name, {presence}] of Object.entries(rule.attributes)) {
		if (presence === 'required' && !element.attributes.has(name)) {
			problems.report(
				element.position,
				`<${element.name}> has no attribute "${name}"`,
				`write <${element.name} ${name}="…">`,
			);
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
			problems.report(
				child.position,
				`a second <${child.name}> in <${element.name}>`,
				`keep one; the first is in line ${earlier.position.line}`,
			);
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
