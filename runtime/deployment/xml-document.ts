/**
 * XML text as a tree of elements that know where they stand. Documents are bounded in size and depth, and whatever
 * could declare an entity is refused, so no document can make the reader fetch or multiply anything.
 */
import {closeSync, openSync, readSync} from 'node:fs';
import {SaxesParser} from 'saxes';
import type {SourcePosition} from './checked-deployment.js';
import type {Problems} from './problem.js';
import {lexicalFault} from './xml-lexis.js';

/** Bytes of the largest accepted file. */
const fileLengthMax = 1024 * 1024;

/** Elements within elements. */
const depthMax = 16;

export interface XmlAttribute {
	readonly name: string;
	readonly value: string;
	readonly position: SourcePosition;
}

export interface XmlElement {
	readonly name: string;
	readonly attributes: ReadonlyMap<string, XmlAttribute>;
	readonly children: readonly XmlElement[];
	readonly position: SourcePosition;
}

interface OpenElement extends XmlElement {
	readonly children: XmlElement[];
}

/** Ends the parsing; its reason has been reported. */
class Refused extends Error {}

const attributePattern = /\s+([^\s=]+)\s*=\s*(?:"[^"]*"|'[^']*')/y;

/** Remedies for what the parser says; it speaks of syntax only. */
const malformedRemedies: ReadonlyArray<readonly [RegExp, string]> = [
	[
		/is not closed|unmatched closing tag|unexpected end/,
		'close every element with </NAME> or />, in the reverse order of their opening',
	],
	[/duplicate attribute/, 'give each attribute once'],
	[/undefined entity|malformed/, 'write & as &amp; and < as &lt;'],
	[/unquoted attribute|attribute without value|in attribute name/, 'write attributes as NAME="VALUE"'],
	[/one root/, 'put everything into one root element'],
];

class DocumentReader {
	readonly #file: string;
	readonly #text: string;
	readonly #problems: Problems;
	readonly #parser = new SaxesParser({xmlns: false, fragment: false});
	readonly #open: OpenElement[] = [];
	readonly #lineStarts: number[];
	#lastClosed: XmlElement | undefined;
	#tagStart = 0;
	#root: XmlElement | undefined;

	constructor(file: string, text: string, problems: Problems) {
		this.#file = file;
		this.#text = text;
		this.#problems = problems;
		this.#lineStarts = [0];
		for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) {
			this.#lineStarts.push(at + 1);
		}
	}

	read(): XmlElement | undefined {
		const fault = lexicalFault(this.#text);
		if (fault) {
			this.#problems.report(this.#positionAt(fault.offset), `malformed XML: ${fault.what}`, fault.remedy, true);
			return undefined;
		}

		const parser = this.#parser;
		parser.on('error', error => this.#refuseMalformed(error));
		parser.on('doctype', () => this.#refuseDoctype());
		parser.on('xmldecl', ({encoding}) => this.#checkEncoding(encoding));
		parser.on('opentagstart', () => {
			this.#tagStart = this.#text.lastIndexOf('<', parser.position - 1);
		});
		parser.on('opentag', ({name, attributes}) => this.#openElement(name, attributes));
		parser.on('closetag', () => {
			this.#lastClosed = this.#open.pop();
		});
		parser.on('text', text => this.#refuseText(text));
		parser.on('cdata', text => this.#refuseText(text));
		try {
			parser.write(this.#text).close();
		} catch (error) {
			if (!(error instanceof Refused)) {
				throw error;
			}

			return undefined;
		}

		return this.#root;
	}

	#positionAt(offset: number): SourcePosition {
		let low = 0;
		let high = this.#lineStarts.length;
		while (high - low > 1) {
			const middle = (low + high) >> 1;
			if (this.#lineStarts[middle] <= offset) {
				low = middle;
			} else {
				high = middle;
			}
		}

		return {file: this.#file, line: low + 1, column: offset - this.#lineStarts[low] + 1};
	}

	#refuse(offset: number, what: string, remedy: string): never {
		this.#problems.report(this.#positionAt(offset), what, remedy);
		throw new Refused();
	}

	#refuseUnfinished(offset: number, what: string, remedy: string): never {
		this.#problems.report(this.#positionAt(offset), what, remedy, true);
		throw new Refused();
	}

	#refuseMalformed(error: Error): never {
		const message = this.#explain(error.message.replace(/^\d+:\d+: /, '').replace(/\.$/, ''));
		const remedy = malformedRemedies.find(([pattern]) => pattern.test(message))?.[1] ?? 'write well-formed XML';
		this.#refuseUnfinished(
			Math.max(0, Math.min(this.#parser.position, this.#text.length) - 1),
			`malformed XML: ${message}`,
			remedy,
		);
	}

	/** Where an element is not closed, the one that is still open says more than the one that comes too early. */
	#explain(message: string): string {
		const unclosed = message === 'unexpected close tag' ? this.#lastClosed : this.#open.at(-1);
		return unclosed && /unexpected close tag|unclosed tag|unexpected end/.test(message)
			? `<${unclosed.name}> of line ${unclosed.position.line} is not closed`
			: message;
	}

	#refuseDoctype(): never {
		const start = Math.max(0, this.#text.indexOf('<!DOCTYPE'));
		this.#refuse(
			start,
			'a document type declaration is not accepted, nor the entities it could declare',
			'remove it',
		);
	}

	#checkEncoding(encoding: string | undefined): void {
		if (encoding !== undefined && !/^utf-?8$/i.test(encoding)) {
			this.#refuse(
				0,
				`the encoding "${encoding}" is not supported`,
				'store the file as UTF-8 and write encoding="UTF-8"',
			);
		}
	}

	#refuseText(text: string): void {
		const innermost = this.#open.at(-1);
		if (innermost && text.trim() !== '') {
			const shown = text.trim().split(/\s/)[0].slice(0, 40);
			const offset = this.#text.lastIndexOf(shown, this.#parser.position);
			this.#problems.report(
				offset === -1 ? innermost.position : this.#positionAt(offset),
				`text "${shown}" inside <${innermost.name}>`,
				'everything is said by elements and attributes; put remarks into <!-- -->',
			);
		}
	}

	#openElement(name: string, values: Record<string, string>): void {
		const element: OpenElement = {
			name,
			attributes: this.#attributesOf(name, values),
			children: [],
			position: this.#positionAt(this.#tagStart),
		};
		if (this.#open.length === depthMax) {
			this.#refuse(this.#tagStart, `<${name}> lies deeper than ${depthMax} elements`, 'nest less');
		}

		const parent = this.#open.at(-1);
		if (parent) {
			parent.children.push(element);
		} else {
			this.#root = element;
		}

		this.#open.push(element);
	}

	/** The parser has checked the tag, so a plain pattern finds where each of its attributes starts. */
	#attributesOf(elementName: string, values: Record<string, string>): Map<string, XmlAttribute> {
		const attributes = new Map<string, XmlAttribute>();
		attributePattern.lastIndex = this.#tagStart + 1 + elementName.length;
		for (let match = attributePattern.exec(this.#text); match; match = attributePattern.exec(this.#text)) {
			const name = match[1];
			const start = match.index + match[0].indexOf(name);
			attributes.set(name, {name, value: values[name], position: this.#positionAt(start)});
		}

		return attributes;
	}
}

function decode(file: string, bytes: Uint8Array, problems: Problems): string | undefined {
	const position = {file, line: 1, column: 1};
	if (bytes.length > fileLengthMax) {
		problems.report(
			position,
			`the file has more than ${fileLengthMax} bytes`,
			'split it into launchers or shorten it',
		);
		return undefined;
	}

	try {
		return new TextDecoder('utf-8', {fatal: true}).decode(bytes).replaceAll(/\r\n?/g, '\n');
	} catch {
		problems.report(position, 'the file is not UTF-8 text', 'store it as UTF-8', true);
		return undefined;
	}
}

/**
 * What a file holds, or its beginning where that is more than is accepted: not every file has an end (/dev/zero).
 * @throws where it cannot be read
 */
export function readDocument(path: string): Uint8Array {
	const bytes = Buffer.alloc(fileLengthMax + 1);
	const fd = openSync(path, 'r');
	try {
		let length = 0;
		for (let count = -1; count !== 0 && length < bytes.length; length += count) {
			count = readSync(fd, bytes, length, bytes.length - length, null);
		}

		return bytes.subarray(0, length);
	} finally {
		closeSync(fd);
	}
}

/** The root element, or undefined where the text is no acceptable XML; the problems then say why. */
export function parseXml(file: string, bytes: Uint8Array, problems: Problems): XmlElement | undefined {
	const text = decode(file, bytes, problems);
	return text === undefined ? undefined : new DocumentReader(file, text, problems).read();
}

/** The first child element of that name. */
export function childNamed(element: XmlElement | undefined, name: string): XmlElement | undefined {
	return element?.children.find(child => child.name === name);
}

export function childrenNamed(element: XmlElement | undefined, name: string): XmlElement[] {
	return element?.children.filter(child => child.name === name) ?? [];
}
