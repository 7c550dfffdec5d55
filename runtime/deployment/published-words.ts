/** The words of deployment files as others read them: the schema of editors, and the table of the documents. */
import {
	deploymentRule,
	launcherRule,
	type AttributeRule,
	type ElementRule,
	type ValueRule,
} from './deployment-words.js';

function escaped(text: string): string {
	return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** Markdown as plain text. */
function plain(text: string): string {
	return text.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll('`', '');
}

type Lines = readonly string[];

/** An element, on one line where nothing is in it. */
function element(tag: string, content: Lines): Lines {
	return content.length === 0
		? [`<${tag}/>`]
		: [`<${tag}>`, ...content.map(line => `\t${line}`), `</${tag.split(' ')[0]}>`];
}

function annotation(text: string | undefined): Lines {
	return text === undefined || text === ''
		? []
		: element('xs:annotation', [`<xs:documentation>${escaped(plain(text))}</xs:documentation>`]);
}

const simpleTypes: Lines = [
	...element(
		'xs:simpleType name="name"',
		element('xs:restriction base="xs:string"', ['<xs:pattern value="[A-Za-z0-9_][A-Za-z0-9_.\\-]{0,63}"/>']),
	),
	'',
	...element('xs:simpleType name="size"', [
		...annotation('Bytes, or a number with K, M or G: 64M.'),
		...element('xs:restriction base="xs:string"', ['<xs:pattern value="[0-9]{1,15}[KMG]?"/>']),
	]),
];

/** The name of a simple type; undefined for one that is written where it is used. */
function typeName(value: ValueRule): string | undefined {
	switch (value.kind) {
		case 'name':
		case 'size': {
			return value.kind;
		}

		case 'text': {
			return 'xs:string';
		}

		case 'integer':
		case 'choice': {
			return undefined;
		}
	}
}

function restriction(value: ValueRule): Lines {
	switch (value.kind) {
		case 'integer': {
			const {min, max} = value.bounds;
			return element(
				'xs:simpleType',
				element('xs:restriction base="xs:integer"', [
					`<xs:minInclusive value="${min}"/>`,
					`<xs:maxInclusive value="${max}"/>`,
				]),
			);
		}

		case 'choice': {
			return element(
				'xs:simpleType',
				element(
					'xs:restriction base="xs:string"',
					value.words.map(word => `<xs:enumeration value="${word}"/>`),
				),
			);
		}

		case 'name':
		case 'size':
		case 'text': {
			return [];
		}
	}
}

function attributeLines(name: string, {presence, value, text}: AttributeRule): Lines {
	const type = typeName(value);
	const tag = [
		'xs:attribute',
		`name="${name}"`,
		...(type === undefined ? [] : [`type="${type}"`]),
		...(presence === 'required' ? ['use="required"'] : []),
	].join(' ');
	return element(tag, [...annotation(text), ...restriction(value)]);
}

/** What editors know of every XML file. */
function isGeneral(attribute: string): boolean {
	return attribute.includes(':');
}

function attributesOf({attributes}: ElementRule): ReadonlyArray<readonly [string, AttributeRule]> {
	return Object.entries(attributes).filter(([name]) => !isGeneral(name));
}

/** Rules that stand in more than one place get a name in the schema. */
class Schema {
	readonly #uses = new Map<ElementRule, number>();
	readonly #names = new Map<ElementRule, string>();

	constructor(roots: readonly ElementRule[]) {
		for (const root of roots) {
			this.#count(root);
		}
	}

	#count(rule: ElementRule): void {
		for (const [name, {rule: child}] of Object.entries(rule.children)) {
			const uses = (this.#uses.get(child) ?? 0) + 1;
			this.#uses.set(child, uses);
			if (uses === 1) {
				this.#count(child);
			} else if (!this.#names.has(child)) {
				const taken = [...this.#names.values()].includes(name);
				this.#names.set(child, taken ? `${name}-${this.#names.size}` : name);
			}
		}
	}

	namedTypes(): Lines {
		return [...this.#names]
			.sort(([, a], [, b]) => (a < b ? -1 : 1))
			.flatMap(([rule, name]) => ['', ...element(`xs:complexType name="${name}"`, this.content(rule))]);
	}

	content(rule: ElementRule): Lines {
		const inside = rule.open
			? [
					...element('xs:sequence', ['<xs:any minOccurs="0" maxOccurs="unbounded" processContents="skip"/>']),
					'<xs:anyAttribute processContents="skip"/>',
				]
			: this.#children(rule);
		return [
			...annotation(rule.text),
			...inside,
			...attributesOf(rule).flatMap(([name, attribute]) => attributeLines(name, attribute)),
		];
	}

	element(name: string, rule: ElementRule, occurs = ''): Lines {
		const type = this.#names.get(rule);
		return type === undefined
			? element(`xs:element name="${name}"${occurs}`, element('xs:complexType', this.content(rule)))
			: [`<xs:element name="${name}" type="${type}"${occurs}/>`];
	}

	#children({children, needs}: ElementRule): Lines {
		const entries = Object.entries(children);
		if (entries.length === 0) {
			return [];
		}

		if (needs === undefined && entries.every(([, {occurs}]) => occurs === 'once')) {
			return element(
				'xs:all',
				entries.flatMap(([name, {rule}]) => this.element(name, rule, ' minOccurs="0"')),
			);
		}

		const bounds =
			needs === 'one' ? '' : needs === 'some' ? ' maxOccurs="unbounded"' : ' minOccurs="0" maxOccurs="unbounded"';
		return element(
			`xs:choice${bounds}`,
			entries.flatMap(([name, {rule}]) => this.element(name, rule)),
		);
	}
}

/** `config/deploy.xsd`. */
export function schemaText(): string {
	const schema = new Schema([deploymentRule, launcherRule]);
	const [open, ...deployment] = schema.element('config', deploymentRule);
	const close = deployment.pop();
	const lines = [
		...annotation(
			"Deployment files (root element config) and launchers (root element launcher), in the words of Genode's init. Editors use this schema; " +
				'"runtime check FILE" checks more: that binaries, children and services exist, that routes lead somewhere, and that each component accepts its configuration.',
		),
		'<!-- Made of runtime/deployment/deployment-words.ts by "npm run words". -->',
		'',
		...simpleTypes,
		...schema.namedTypes(),
		'',
		...schema.element('launcher', launcherRule),
		'',
		open,
		...deployment,
		// Of a file as a whole: no two children have one name.
		...element('xs:unique name="child-name"', ['<xs:selector xpath="start"/>', '<xs:field xpath="@name"/>']).map(
			line => `\t${line}`,
		),
		close,
	];
	const [first, ...rest] = element(
		'xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" elementFormDefault="qualified"',
		lines.map(line => line ?? ''),
	);
	return ['<?xml version="1.0" encoding="UTF-8"?>', first, ...rest].map(line => line.trimEnd()).join('\n') + '\n';
}

/** Which values there are, where the text does not name them already. */
function valueText(value: ValueRule, text: string): string {
	switch (value.kind) {
		case 'integer': {
			return `${value.bounds.min} to ${value.bounds.max}`;
		}

		case 'choice': {
			const words = value.words.map(word => `\`${word}\``);
			return words.every(word => text.includes(word)) ? '' : words.join(' or ');
		}

		case 'name':
		case 'size':
		case 'text': {
			return '';
		}
	}
}

/** One row for the element, and one for each attribute of which there is something to say. */
function rowsOf(name: string, rule: ElementRule): string[] {
	const attributes = attributesOf(rule).flatMap(([attribute, {text = '', value}]) => {
		const said = [text, valueText(value, text)].filter(part => part !== '').join('; ');
		return said === '' ? [] : [`| | \`${attribute}\` | ${said} |`];
	});
	return [`| \`<${name}>\` | | ${rule.text} |`, ...attributes];
}

/** The table of the documents: every word once, where it stands first. */
export function wordsTable(): string {
	const names = new Map<ElementRule, Set<string>>([[deploymentRule, new Set(['config'])]]);
	const visit = (rule: ElementRule) => {
		for (const [name, {rule: child}] of Object.entries(rule.children)) {
			const known = names.get(child);
			if (known) {
				known.add(name);
			} else {
				names.set(child, new Set([name]));
				visit(child);
			}
		}
	};
	visit(deploymentRule);
	const rows = [...names].flatMap(([rule, called]) =>
		rule.text === '' ? [] : rowsOf([...called].join('>`, `<'), rule),
	);
	return ['| element | attribute | meaning |', '|---|---|---|', ...rows].join('\n') + '\n';
}
