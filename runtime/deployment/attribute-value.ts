/**
 * Values of attributes: numbers, sizes, names, yes and no. A bad value is reported where it stands and read as
 * undefined.
 */
import {yesOrNo, type Bounds} from './allowed-values.js';
import type {SourcePosition} from './checked-deployment.js';
import type {Problems} from './problem.js';
import type {XmlAttribute, XmlElement} from './xml-document.js';

/** A value and where it was declared. */
export interface Declared<T> {
	readonly value: T;
	readonly position: SourcePosition;
}

const unitFactors: Readonly<Record<string, number>> = {'': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3};

/** Most characters of a name that becomes part of log lines and messages. */
const nameLengthMax = 64;

function shown(attribute: XmlAttribute): string {
	return `${attribute.name}="${attribute.value.slice(0, nameLengthMax)}"`;
}

/** Bytes as Genode writes them: 4096, 64K, 64M, 1G. */
export function parseByteCount(text: string): number | undefined {
	const match = /^(\d{1,15})([KMG]?)$/.exec(text);
	return match ? Number(match[1]) * unitFactors[match[2]] : undefined;
}

/** Bytes in the largest unit that shows them exactly. */
export function formatByteCount(byteCount: number): string {
	const unit =
		['G', 'M', 'K'].find(name => byteCount >= unitFactors[name] && byteCount % unitFactors[name] === 0) ?? '';
	return `${byteCount / unitFactors[unit]}${unit}`;
}

function declared<T>(attribute: XmlAttribute, value: T): Declared<T> {
	return {value, position: attribute.position};
}

export function readInteger(
	element: XmlElement,
	name: string,
	bounds: Bounds,
	problems: Problems,
): Declared<number> | undefined {
	const attribute = element.attributes.get(name);
	if (!attribute) {
		return undefined;
	}

	const value = /^-?\d{1,15}$/.test(attribute.value) ? Number(attribute.value) : Number.NaN;
	if (value >= bounds.min && value <= bounds.max) {
		return declared(attribute, value);
	}

	problems.report(
		attribute.position,
		`bad value ${shown(attribute)} of <${element.name}>`,
		`a whole number from ${bounds.min} to ${bounds.max} is required`,
	);
	return undefined;
}

export function readByteCount(
	element: XmlElement,
	name: string,
	bounds: Bounds,
	problems: Problems,
): Declared<number> | undefined {
	const attribute = element.attributes.get(name);
	if (!attribute) {
		return undefined;
	}

	const value = parseByteCount(attribute.value);
	if (value === undefined) {
		problems.report(
			attribute.position,
			`bad value ${shown(attribute)} of <${element.name}>`,
			'write bytes, or a whole number with K, M or G, such as "64M"',
		);
		return undefined;
	}

	if (value < bounds.min || value > bounds.max) {
		const which =
			value < bounds.min
				? `at least ${formatByteCount(bounds.min)} is required`
				: `at most ${formatByteCount(bounds.max)} is possible`;
		problems.report(
			attribute.position,
			`${shown(attribute)} is too ${value < bounds.min ? 'small' : 'large'}`,
			which,
		);
		return undefined;
	}

	return declared(attribute, value);
}

export function readYesNo(element: XmlElement, name: string, problems: Problems): Declared<boolean> | undefined {
	const attribute = element.attributes.get(name);
	if (!attribute) {
		return undefined;
	}

	const [yes, no] = yesOrNo;
	if (attribute.value !== yes && attribute.value !== no) {
		problems.report(
			attribute.position,
			`bad value ${shown(attribute)} of <${element.name}>`,
			`write "${yes}" or "${no}"`,
		);
		return undefined;
	}

	return declared(attribute, attribute.value === yes);
}

export function readText(element: XmlElement, name: string): Declared<string> | undefined {
	const attribute = element.attributes.get(name);
	return attribute && declared(attribute, attribute.value);
}

/** Names stand in log lines, file names and routes, so they hold nothing that could be misread there. */
export function readName(element: XmlElement, name: string, problems: Problems): Declared<string> | undefined {
	const attribute = element.attributes.get(name);
	if (!attribute) {
		return undefined;
	}

	if (!/^\w[\w.-]*$/.test(attribute.value) || attribute.value.length > nameLengthMax) {
		problems.report(
			attribute.position,
			`bad value ${shown(attribute)} of <${element.name}>`,
			`a name has 1 to ${nameLengthMax} letters, digits, "_", "-" or "." and starts with a letter, a digit or "_"`,
		);
		return undefined;
	}

	return declared(attribute, attribute.value);
}
