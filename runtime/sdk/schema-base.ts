/** What every schema is, and those around another one: optional values, defaults, demands, transformations. */

/** What is wrong with a value; `path` leads from the outermost one to it. */
export type Issue = {readonly path: PropertyKey[]; readonly message: string} & (
	| {readonly code: 'invalid_type'; readonly expected: string}
	| {readonly code: 'invalid_value'; readonly values: readonly unknown[]}
	| {readonly code: 'too_small' | 'too_big'; readonly origin: 'number' | 'string' | 'array'; readonly limit: number}
	| {readonly code: 'invalid_format'}
	| {readonly code: 'invalid_union'}
	| {readonly code: 'unrecognized_keys'; readonly keys: readonly string[]}
	| {readonly code: 'custom'}
);

export class SchemaError extends Error {
	override readonly name = 'SchemaError';

	constructor(readonly issues: readonly Issue[]) {
		super(issues.map(({path, message}) => `${path.join('.')} ${message}`.trim()).join('; '));
	}
}

export type Parsed<T> = {readonly success: true; readonly data: T; readonly error?: undefined} | {readonly success: false; readonly data?: undefined; readonly error: SchemaError};

/** True of what the schema takes as it is, and makes nothing else of. */
export type QuickCheck = (value: unknown) => boolean;

export interface TransformContext {
	addIssue(issue: {readonly code: 'custom'; readonly message: string; readonly path?: PropertyKey[]}): void;
}

/** What a transformation returns once it has added an issue. */
export const NEVER = undefined as never;

export abstract class Schema<Output = unknown, Input = Output> {
	/** There for the compiler alone. */
	declare readonly outputType: Output;
	declare readonly inputType: Input;
	/** Without it every value goes through `read`. */
	abstract readonly quickCheck: QuickCheck | undefined;

	/** What is made of a value. Where it adds to `issues`, its result means nothing. */
	abstract read(value: unknown, issues: Issue[]): Output;

	safeParse(value: unknown): Parsed<Output> {
		const issues: Issue[] = [];
		const data = this.read(value, issues);
		return issues.length === 0 ? {success: true, data} : {success: false, error: new SchemaError(issues)};
	}

	/** @throws SchemaError */
	parse(value: unknown): Output {
		const {data, error} = this.safeParse(value);
		if (error) {
			throw error;
		}

		return data;
	}

	optional(): Schema<Output | undefined, Input | undefined> {
		return new OptionalSchema(this);
	}

	nullable(): Schema<Output | null, Input | null> {
		return new NullableSchema(this);
	}

	default(fallback: Output): Schema<Output, Input | undefined> {
		return new DefaultSchema(this, fallback);
	}

	/** Looks at what was made of a value that nothing is wrong with. */
	refine(holds: (value: Output) => boolean, message: string): Schema<Output, Input> {
		return new RefinedSchema(this, holds, message);
	}

	transform<Result>(change: (value: Output, context: TransformContext) => Result): Schema<Result, Input> {
		return new TransformedSchema(this, change);
	}
}

export type output<S extends Schema> = S['outputType'];
export type input<S extends Schema> = S['inputType'];

function kindOf(value: unknown): string {
	if (Number.isNaN(value)) {
		return 'NaN';
	}

	if (value === null) {
		return 'null';
	}

	return Array.isArray(value) ? 'array' : typeof value;
}

export function wrongType(expected: string, value: unknown): Issue {
	return {code: 'invalid_type', path: [], expected, message: `Invalid input: expected ${expected}, received ${kindOf(value)}`};
}

export function wrongValue(values: ReadonlyArray<string | number | boolean>): Issue {
	const shown = values.map(value => JSON.stringify(value)).join('|');
	return {code: 'invalid_value', path: [], values, message: values.length === 1 ? `Invalid input: expected ${shown}` : `Invalid option: expected one of ${shown}`};
}

/** Reads a part of a value; issues of the part are then issues at `key`. */
export function readPart<Output>(schema: Schema<Output, unknown>, value: unknown, issues: Issue[], key: PropertyKey): Output {
	const knownCount = issues.length;
	const result = schema.read(value, issues);
	for (let at = knownCount; at < issues.length; at++) {
		issues[at].path.unshift(key);
	}

	return result;
}

/** A schema around another one that does not change which fields a value has. */
export abstract class WrappingSchema<Output, Input, Inner extends Schema = Schema> extends Schema<Output, Input> {
	constructor(readonly inner: Inner) {
		super();
	}
}

export class OptionalSchema<Output, Input> extends WrappingSchema<Output | undefined, Input | undefined, Schema<Output, Input>> {
	readonly quickCheck: QuickCheck | undefined;

	constructor(inner: Schema<Output, Input>) {
		super(inner);
		const {quickCheck} = inner;
		this.quickCheck = quickCheck && (value => value === undefined || quickCheck(value));
	}

	read(value: unknown, issues: Issue[]): Output | undefined {
		return value === undefined ? undefined : this.inner.read(value, issues);
	}
}

export class NullableSchema<Output, Input> extends WrappingSchema<Output | null, Input | null, Schema<Output, Input>> {
	readonly quickCheck: QuickCheck | undefined;

	constructor(inner: Schema<Output, Input>) {
		super(inner);
		const {quickCheck} = inner;
		this.quickCheck = quickCheck && (value => value === null || quickCheck(value));
	}

	read(value: unknown, issues: Issue[]): Output | null {
		return value === null ? null : this.inner.read(value, issues);
	}
}

export class DefaultSchema<Output, Input> extends WrappingSchema<Output, Input | undefined, Schema<Output, Input>> {
	readonly quickCheck = undefined;
	readonly #fallback: Output;

	constructor(inner: Schema<Output, Input>, fallback: Output) {
		super(inner);
		this.#fallback = fallback;
	}

	read(value: unknown, issues: Issue[]): Output {
		return value === undefined ? structuredClone(this.#fallback) : this.inner.read(value, issues);
	}
}

export class RefinedSchema<Output, Input> extends WrappingSchema<Output, Input, Schema<Output, Input>> {
	readonly quickCheck = undefined;
	readonly #holds: (value: Output) => boolean;
	readonly #message: string;

	constructor(inner: Schema<Output, Input>, holds: (value: Output) => boolean, message: string) {
		super(inner);
		this.#holds = holds;
		this.#message = message;
	}

	read(value: unknown, issues: Issue[]): Output {
		const knownCount = issues.length;
		const result = this.inner.read(value, issues);
		if (issues.length === knownCount && !this.#holds(result)) {
			issues.push({code: 'custom', path: [], message: this.#message});
		}

		return result;
	}
}

export class TransformedSchema<Output, Middle, Input> extends WrappingSchema<Output, Input, Schema<Middle, Input>> {
	readonly quickCheck = undefined;
	readonly #change: (value: Middle, context: TransformContext) => Output;

	constructor(inner: Schema<Middle, Input>, change: (value: Middle, context: TransformContext) => Output) {
		super(inner);
		this.#change = change;
	}

	read(value: unknown, issues: Issue[]): Output {
		const knownCount = issues.length;
		const middle = this.inner.read(value, issues);
		return issues.length > knownCount ? NEVER : this.#change(middle, {
			addIssue({message, path = []}) {
				issues.push({code: 'custom', path: [...path], message});
			},
		});
	}
}

/** What is left of a schema without what makes its value optional, or something else. */
export function innermost(schema: Schema): Schema {
	return schema instanceof WrappingSchema ? innermost((schema as WrappingSchema<unknown, unknown>).inner) : schema;
}
