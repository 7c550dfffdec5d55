/** Schemas of values with parts: lists, objects, alternatives. */
import {NEVER, Schema, readPart, wrongType, type Issue, type QuickCheck, type input, type output} from './schema-base.js';
import {UnknownSchema} from './scalar-schema.js';

export class ArraySchema<Element extends Schema> extends Schema<Array<output<Element>>, Array<input<Element>>> {
	readonly quickCheck: QuickCheck | undefined;
	readonly #lengthMax: number | undefined;

	constructor(readonly element: Element, lengthMax?: number) {
		super();
		this.#lengthMax = lengthMax;
		const {quickCheck} = element;
		this.quickCheck = quickCheck && (value => {
			if (!Array.isArray(value) || (lengthMax !== undefined && value.length > lengthMax)) {
				return false;
			}

			// Not `every`, which passes over holes.
			for (let i = 0; i < value.length; i++) {
				if (!quickCheck(value[i])) {
					return false;
				}
			}

			return true;
		});
	}

	max(lengthMax: number): ArraySchema<Element> {
		return new ArraySchema(this.element, lengthMax);
	}

	read(value: unknown, issues: Issue[]): Array<output<Element>> {
		if (!Array.isArray(value)) {
			issues.push(wrongType('array', value));
			return [];
		}

		const limit = this.#lengthMax;
		if (limit !== undefined && value.length > limit) {
			issues.push({code: 'too_big', path: [], origin: 'array', limit, message: `Too big: expected array to have <=${limit} items`});
			return [];
		}

		return Array.from(value, (element: unknown, at) => readPart(this.element, element, issues, at));
	}
}

export type TupleOf<Parts extends readonly Schema[], Side extends 'outputType' | 'inputType'> = {-readonly [K in keyof Parts]: Parts[K][Side]};

/** A list with a schema for each of its elements. */
export class TupleSchema<const Parts extends readonly Schema[]> extends Schema<TupleOf<Parts, 'outputType'>, TupleOf<Parts, 'inputType'>> {
	readonly quickCheck = undefined;
	readonly #parts: Parts;

	constructor(parts: Parts) {
		super();
		this.#parts = parts;
	}

	read(value: unknown, issues: Issue[]): TupleOf<Parts, 'outputType'> {
		if (!Array.isArray(value) || value.length !== this.#parts.length) {
			issues.push(wrongType(`list of ${this.#parts.length}`, value));
			return NEVER;
		}

		return this.#parts.map((part, at) => readPart(part, value[at], issues, at)) as TupleOf<Parts, 'outputType'>;
	}
}

export type Shape = Readonly<Record<string, Schema>>;
export type MayBeMissing<T> = unknown extends T ? false : undefined extends T ? true : false;
export type Fields<S extends Shape, Side extends 'outputType' | 'inputType'> = keyof S extends never
	? Record<string, never>
	: {[K in keyof S as MayBeMissing<S[K][Side]> extends true ? never : K]: S[K][Side]}
	& {[K in keyof S as MayBeMissing<S[K][Side]> extends true ? K : never]?: S[K][Side]};
export type Flat<T> = {[K in keyof T]: T[K]};

function isFields(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Quick check of an object that has all these fields and no other one. */
function fieldsCheck(shape: Shape): QuickCheck | undefined {
	const names = Object.keys(shape);
	const checks = names.map(name => shape[name].quickCheck);
	if (!checks.every(check => check !== undefined)) {
		return undefined;
	}

	const mayBeMissing = checks.map(check => check(undefined));
	return value => {
		if (!isFields(value)) {
			return false;
		}

		let knownCount = 0;
		for (let i = 0; i < names.length; i++) {
			const field = value[names[i]];
			if (field !== undefined) {
				if (!checks[i](field)) {
					return false;
				}

				knownCount++;
			} else if (!mayBeMissing[i]) {
				return false;
			} else if (names[i] in value) {
				knownCount++;
			}
		}

		// Any field more is one that the schema does not know.
		for (const _name in value) {
			knownCount--;
		}

		return knownCount === 0;
	};
}

export class ObjectSchema<S extends Shape = Shape> extends Schema<Flat<Fields<S, 'outputType'>>, Flat<Fields<S, 'inputType'>>> {
	readonly quickCheck: QuickCheck | undefined;
	readonly #isStrict: boolean;

	constructor(readonly shape: S, isStrict: boolean) {
		super();
		this.#isStrict = isStrict;
		this.quickCheck = isStrict ? fieldsCheck(shape) : undefined;
	}

	read(value: unknown, issues: Issue[]): Flat<Fields<S, 'outputType'>> {
		if (!isFields(value)) {
			issues.push(wrongType('object', value));
			return NEVER;
		}

		const result: Record<string, unknown> = {};
		for (const [name, schema] of Object.entries(this.shape)) {
			const field = readPart(schema, value[name], issues, name);
			if (field !== undefined || name in value) {
				result[name] = field;
			} else if (schema instanceof UnknownSchema) {
				issues.push({...wrongType('a value', undefined), path: [name]});
			}
		}

		const keys = this.#isStrict ? Object.keys(value).filter(name => !Object.hasOwn(this.shape, name)) : [];
		if (keys.length > 0) {
			issues.push({code: 'unrecognized_keys', path: [], keys, message: `Unrecognized key${keys.length > 1 ? 's' : ''}: ${keys.map(key => JSON.stringify(key)).join(', ')}`});
		}

		return result as Flat<Fields<S, 'outputType'>>;
	}
}

/** The fields of a schema of objects; undefined for one of anything else. */
export function shapeOf(schema: Schema): Shape | undefined {
	return schema instanceof ObjectSchema ? (schema as ObjectSchema).shape : undefined;
}

/** The schema of a list's elements; undefined for one of anything else. */
export function elementOf(schema: Schema): Schema | undefined {
	return schema instanceof ArraySchema ? (schema as ArraySchema<Schema>).element : undefined;
}

/** An object whose field names are not known beforehand. */
export class RecordSchema<Value extends Schema> extends Schema<Record<string, output<Value>>, Record<string, input<Value>>> {
	readonly quickCheck = undefined;
	readonly #value: Value;

	constructor(value: Value) {
		super();
		this.#value = value;
	}

	read(value: unknown, issues: Issue[]): Record<string, output<Value>> {
		if (!isFields(value) || Object.getPrototypeOf(value) !== Object.prototype) {
			issues.push(wrongType('record', value));
			return NEVER;
		}

		return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, readPart(this.#value, field, issues, name)]));
	}
}

/** The first of several schemas that a value fits. */
export class UnionSchema<Member extends Schema> extends Schema<output<Member>, input<Member>> {
	readonly quickCheck = undefined;
	readonly #members: readonly Member[];

	constructor(members: readonly Member[]) {
		super();
		this.#members = members;
	}

	read(value: unknown, issues: Issue[]): output<Member> {
		for (const member of this.#members) {
			const {success, data} = member.safeParse(value);
			if (success) {
				return data;
			}
		}

		issues.push({code: 'invalid_union', path: [], message: 'Invalid input'});
		return NEVER;
	}
}

/** Objects that one field tells apart. */
export class DiscriminatedSchema<Member extends ObjectSchema> extends Schema<output<Member>, input<Member>> {
	readonly quickCheck = undefined;
	readonly #field: string;
	readonly #members: readonly Member[];

	constructor(field: string, members: readonly Member[]) {
		super();
		this.#field = field;
		this.#members = members;
	}

	read(value: unknown, issues: Issue[]): output<Member> {
		if (!isFields(value)) {
			issues.push(wrongType('object', value));
			return NEVER;
		}

		const member = this.#members.find(({shape}) => shape[this.#field].safeParse(value[this.#field]).success);
		if (!member) {
			issues.push({code: 'invalid_union', path: [this.#field], message: 'Invalid input'});
			return NEVER;
		}

		return member.read(value, issues);
	}
}
