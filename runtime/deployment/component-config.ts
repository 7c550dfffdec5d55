/**
 * A child's `<config>` as plain data, checked by its component's schema; complaints are led back to the line they are
 * about.
 */
import {z} from 'zod';
import type {SourcePosition} from './checked-deployment.js';
import type {Problems} from './problem.js';
import {nearestName} from './suggestion.js';
import type {XmlElement} from './xml-document.js';

/** Attributes as strings, child elements as arrays of such objects under their names. */
function configData(element: XmlElement | undefined): Record<string, unknown> {
	const attributes = [...(element?.attributes.values() ?? [])].map(({name, value}): [string, unknown] => [
		name,
		value,
	]);
	const lists = new Map<string, unknown[]>();
	for (const child of element?.children ?? []) {
		const list = lists.get(child.name) ?? [];
		list.push(configData(child));
		lists.set(child.name, list);
	}

	return Object.fromEntries([...attributes, ...lists]);
}

/** Characters of a bad value that a message repeats. */
const shownLengthMax = 64;

interface Place {
	/** The innermost element on the way. */
	readonly element: XmlElement;
	readonly position: SourcePosition;
	/** `attribute size="1" of <config>`, `<unix>` and the like. */
	readonly label: string;
	/** False where the way leads to something that is not there. */
	readonly present: boolean;
}

/** Follows a path of the data back to what was written. */
function placeOf(root: XmlElement, path: ReadonlyArray<PropertyKey>): Place {
	let place: Place = {element: root, position: root.position, label: `<${root.name}>`, present: true};
	for (let index = 0; index < path.length; index++) {
		const key = String(path[index]);
		const {element} = place;
		const named = element.children.filter(child => child.name === key);
		const attribute = element.attributes.get(key);
		if (named.length > 0) {
			const inner = named[typeof path[index + 1] === 'number' ? Number(path[++index]) : 0];
			place = {element: inner, position: inner.position, label: `<${key}>`, present: true};
		} else {
			const position = attribute?.position ?? element.position;
			const shown = attribute ? `${key}="${attribute.value.slice(0, shownLengthMax)}"` : `"${key}"`;
			return {
				element,
				position,
				label: `attribute ${shown} of <${element.name}>`,
				present: attribute !== undefined,
			};
		}
	}

	return place;
}

/**
 * Where the value at the end of the way was written, or what is nearest to it; undefined where there is no `<config>`.
 */
export function configPosition(
	root: XmlElement | undefined,
	way: ReadonlyArray<PropertyKey>,
): SourcePosition | undefined {
	return root && placeOf(root, way).position;
}

/** Takes the wrappers off a schema that do not change which keys it has. */
function bare(schema: unknown): unknown {
	if (
		schema instanceof z.ZodOptional ||
		schema instanceof z.ZodDefault ||
		schema instanceof z.ZodPrefault ||
		schema instanceof z.ZodNullable ||
		schema instanceof z.ZodReadonly
	) {
		return bare(schema.unwrap());
	}

	if (schema instanceof z.ZodArray) {
		return bare(schema.element);
	}

	return schema instanceof z.ZodPipe ? bare(schema.in) : schema;
}

function shapeAt(schema: unknown, path: ReadonlyArray<PropertyKey>): Record<string, unknown> {
	const here = bare(schema);
	if (!(here instanceof z.ZodObject)) {
		return {};
	}

	const keys = path.filter(key => typeof key === 'string');
	return keys.length === 0 ? here.shape : shapeAt(here.shape[keys[0]], keys.slice(1));
}

function isElement(schema: unknown): boolean {
	let inner = schema;
	while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
		inner = inner.unwrap();
	}

	return inner instanceof z.ZodArray;
}

/** What an element may hold: `path, create, <unix>`. */
function listShape(shape: Record<string, unknown>): string {
	const names = Object.entries(shape).map(([name, schema]) => (isElement(schema) ? `<${name}>` : name));
	return names.length === 0 ? 'it takes nothing' : `it takes ${names.join(', ')}`;
}

function reportUnknownKey(
	place: Place,
	key: string,
	shape: Record<string, unknown>,
	binary: string,
	problems: Problems,
): void {
	const attribute = place.element.attributes.get(key);
	const child = place.element.children.find(candidate => candidate.name === key);
	const nearest = nearestName(key, Object.keys(shape));
	problems.report(
		(attribute ?? child ?? place).position,
		`unknown ${attribute ? `attribute "${key}"` : `element <${key}>`} of ${place.label} of "${binary}"`,
		`${nearest === undefined ? '' : `did you mean "${nearest}"? `}${listShape(shape)}`,
	);
}

function remedyOf(issue: z.core.$ZodIssue): string {
	if (issue.code === 'invalid_value') {
		return `one of ${issue.values.map(value => `"${String(value)}"`).join(', ')} is required`;
	}

	if (issue.code === 'invalid_type' && (issue.expected === 'number' || issue.expected === 'array')) {
		return issue.expected === 'number'
			? 'a number is required'
			: `it is an element: write <${String(issue.path.at(-1))} …/>`;
	}

	if (issue.code === 'too_small' && issue.origin === 'string') {
		return 'it must not be empty';
	}

	if ((issue.code === 'too_small' || issue.code === 'too_big') && issue.origin === 'number') {
		return issue.code === 'too_small'
			? `at least ${issue.minimum} is required`
			: `at most ${issue.maximum} is possible`;
	}

	return issue.message.replace(/^Invalid input: e/, 'e');
}

function reportMissing(
	place: Place,
	issue: z.core.$ZodIssue,
	shape: Record<string, unknown>,
	binary: string,
	problems: Problems,
): void {
	const key = String(issue.path.at(-1));
	const [label, word] = isElement(shape[key]) ? [`element <${key}>`, `<${key} …/>`] : [place.label, `${key}="…"`];
	problems.report(
		place.position,
		`${label} of "${binary}" is missing`,
		issue.code === 'invalid_type' ? `write ${word}` : remedyOf(issue),
	);
}

function reportIssue(
	root: XmlElement,
	schema: z.ZodType,
	issue: z.core.$ZodIssue,
	binary: string,
	problems: Problems,
): void {
	const place = placeOf(root, issue.path);
	if (issue.code === 'unrecognized_keys') {
		for (const key of issue.keys) {
			reportUnknownKey(place, key, shapeAt(schema, issue.path), binary, problems);
		}

		return;
	}

	// A custom complaint may be about a value that a default gave.
	if (issue.path.length > 0 && !place.present && issue.code !== 'custom') {
		reportMissing(place, issue, shapeAt(schema, issue.path.slice(0, -1)), binary, problems);
	} else {
		problems.report(place.position, `bad value of ${place.label} of "${binary}"`, remedyOf(issue));
	}
}

/** An attribute and an element of one name could not be told apart in the data. */
function reportNameClashes(element: XmlElement, problems: Problems): void {
	for (const child of element.children) {
		if (element.attributes.has(child.name)) {
			problems.report(
				child.position,
				`<${element.name}> has both an attribute and an element "${child.name}"`,
				'keep one of them',
			);
		}

		reportNameClashes(child, problems);
	}
}

/** Checks the configuration of `binary`; `start` is where a missing `<config>` is missed. */
export async function checkConfig(
	binary: string,
	schema: z.ZodType,
	config: XmlElement | undefined,
	start: SourcePosition,
	problems: Problems,
): Promise<Record<string, unknown>> {
	const root = config ?? {name: 'config', attributes: new Map(), children: [], position: start};
	reportNameClashes(root, problems);
	const data = configData(config);
	const parsed = await schema.safeParseAsync(data);
	for (const issue of parsed.error?.issues ?? []) {
		reportIssue(root, schema, issue, binary, problems);
	}

	return data;
}
