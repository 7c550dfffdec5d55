/**
 * The words in which contracts and configurations are written: what a value has to be, what is made of it, what is wrong
 * with it. Types come from them, too.
 *
 * They are zod's words, a small part of them, and mean the same; a test compares both. What is different is what it costs:
 * zod takes 50 ms and 6 MiB in each thread that loads it, and each message some microseconds.
 */
import {
	ArraySchema, DiscriminatedSchema, ObjectSchema, RecordSchema, TupleSchema, UnionSchema, type Shape,
} from './compound-schema.js';
import {BooleanSchema, ChoiceSchema, CoercedNumberSchema, CustomSchema, NumberSchema, StringSchema, UnknownSchema} from './scalar-schema.js';
import type {Schema} from './schema-base.js';

export {elementOf, shapeOf, type Shape} from './compound-schema.js';
export {NEVER, Schema, SchemaError, innermost, type Issue, type Parsed, type QuickCheck, type TransformContext, type input, type output} from './schema-base.js';

export function number(): NumberSchema {
	return new NumberSchema([]);
}

export function string(): StringSchema {
	return new StringSchema([]);
}

export function boolean(): BooleanSchema {
	return new BooleanSchema([]);
}

export function unknown(): UnknownSchema {
	return new UnknownSchema();
}

function oneOf<const T extends string>(values: readonly T[]): ChoiceSchema<T> {
	return new ChoiceSchema(values);
}

export {oneOf as enum};

export function literal<const T extends string | number | boolean>(value: T): ChoiceSchema<T> {
	return new ChoiceSchema([value]);
}

export function custom<T>(fits: (value: unknown) => boolean, message: string): CustomSchema<T> {
	return new CustomSchema(fits, message);
}

export function array<Element extends Schema>(element: Element): ArraySchema<Element> {
	return new ArraySchema(element);
}

export function tuple<const Parts extends readonly Schema[]>(parts: Parts): TupleSchema<Parts> {
	return new TupleSchema(parts);
}

/** Fields that are not named here are dropped. */
export function object<S extends Shape>(shape: S): ObjectSchema<S> {
	return new ObjectSchema(shape, false);
}

/** Fields that are not named here are wrong. */
export function strictObject<S extends Shape>(shape: S): ObjectSchema<S> {
	return new ObjectSchema(shape, true);
}

export function record<Value extends Schema>(_name: StringSchema, value: Value): RecordSchema<Value> {
	return new RecordSchema(value);
}

export function union<Member extends Schema>(members: readonly Member[]): UnionSchema<Member> {
	return new UnionSchema(members);
}

export function discriminatedUnion<Member extends ObjectSchema>(field: string, members: readonly Member[]): DiscriminatedSchema<Member> {
	return new DiscriminatedSchema(field, members);
}

export const coerce = {
	number: () => new CoercedNumberSchema(new NumberSchema([])),
} as const;
