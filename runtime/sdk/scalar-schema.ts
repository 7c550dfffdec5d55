/** Schemas of single values: numbers, text, choices. */
import {NEVER, Schema, wrongType, wrongValue, type Issue, type QuickCheck} from './schema-base.js';

/** A further demand on a value whose type is right. */
export interface Rule<T> {
	holds(value: T): boolean;
	issue(value: T): Issue;
}

/** A value that stays as it is. */
export abstract class RuledSchema<T> extends Schema<T> {
	readonly quickCheck: QuickCheck;
	readonly #rules: ReadonlyArray<Rule<T>>;

	constructor(rules: ReadonlyArray<Rule<T>>) {
		super();
		this.#rules = rules;
		this.quickCheck = value => {
			if (!this.isType(value)) {
				return false;
			}

			for (const rule of rules) {
				if (!rule.holds(value)) {
					return false;
				}
			}

			return true;
		};
	}

	read(value: unknown, issues: Issue[]): T {
		if (!this.isType(value)) {
			issues.push(this.typeIssue(value));
			return NEVER;
		}

		for (const rule of this.#rules) {
			if (!rule.holds(value)) {
				issues.push(rule.issue(value));
			}
		}

		return value;
	}

	protected with(rule: Rule<T>): ReadonlyArray<Rule<T>> {
		return [...this.#rules, rule];
	}

	protected abstract isType(value: unknown): value is T;

	protected abstract typeIssue(value: unknown): Issue;
}

export class NumberSchema extends RuledSchema<number> {
	min(limit: number): NumberSchema {
		return new NumberSchema(this.with({
			holds: value => value >= limit,
			issue: () => ({code: 'too_small', path: [], origin: 'number', limit, message: `Too small: expected number to be >=${limit}`}),
		}));
	}

	max(limit: number): NumberSchema {
		return new NumberSchema(this.with({
			holds: value => value <= limit,
			issue: () => ({code: 'too_big', path: [], origin: 'number', limit, message: `Too big: expected number to be <=${limit}`}),
		}));
	}

	/** A whole number that is exact. */
	int(): NumberSchema {
		return new NumberSchema(this.with({holds: Number.isSafeInteger, issue: value => wrongType('int', value)}));
	}

	nonnegative(): NumberSchema {
		return this.min(0);
	}

	positive(): NumberSchema {
		return new NumberSchema(this.with({
			holds: value => value > 0,
			issue: () => ({code: 'too_small', path: [], origin: 'number', limit: 0, message: 'Too small: expected number to be >0'}),
		}));
	}

	protected isType(value: unknown): value is number {
		return typeof value === 'number' && Number.isFinite(value);
	}

	protected typeIssue(value: unknown): Issue {
		return wrongType('number', value);
	}
}

export class StringSchema extends RuledSchema<string> {
	min(limit: number): StringSchema {
		return new StringSchema(this.with({
			holds: value => value.length >= limit,
			issue: () => ({code: 'too_small', path: [], origin: 'string', limit, message: `Too small: expected string to have >=${limit} characters`}),
		}));
	}

	max(limit: number): StringSchema {
		return new StringSchema(this.with({
			holds: value => value.length <= limit,
			issue: () => ({code: 'too_big', path: [], origin: 'string', limit, message: `Too big: expected string to have <=${limit} characters`}),
		}));
	}

	/** @param pattern without the flags `g` and `y`, which make it remember */
	regex(pattern: RegExp, message: string): StringSchema {
		return new StringSchema(this.with({holds: value => pattern.test(value), issue: () => ({code: 'invalid_format', path: [], message})}));
	}

	protected isType(value: unknown): value is string {
		return typeof value === 'string';
	}

	protected typeIssue(value: unknown): Issue {
		return wrongType('string', value);
	}
}

export class BooleanSchema extends RuledSchema<boolean> {
	protected isType(value: unknown): value is boolean {
		return typeof value === 'boolean';
	}

	protected typeIssue(value: unknown): Issue {
		return wrongType('boolean', value);
	}
}

/** One of some values. */
export class ChoiceSchema<T extends string | number | boolean> extends RuledSchema<T> {
	readonly #values: readonly T[];

	constructor(values: readonly T[]) {
		super([]);
		this.#values = values;
	}

	protected isType(value: unknown): value is T {
		return this.#values.includes(value as T);
	}

	protected typeIssue(): Issue {
		return wrongValue(this.#values);
	}
}

export class CustomSchema<T> extends RuledSchema<T> {
	readonly #fits: (value: unknown) => boolean;
	readonly #message: string;

	constructor(fits: (value: unknown) => boolean, message: string) {
		super([]);
		this.#fits = fits;
		this.#message = message;
	}

	protected isType(value: unknown): value is T {
		return this.#fits(value);
	}

	protected typeIssue(): Issue {
		return {code: 'custom', path: [], message: this.#message};
	}
}

/** Anything; but a field of this kind has to be there. */
export class UnknownSchema extends Schema {
	readonly quickCheck = undefined;

	read(value: unknown): unknown {
		return value;
	}
}

/** A number written as text, as attributes of a configuration are. */
export class CoercedNumberSchema extends Schema<number, unknown> {
	readonly quickCheck = undefined;
	readonly #number: NumberSchema;

	constructor(number: NumberSchema) {
		super();
		this.#number = number;
	}

	read(value: unknown, issues: Issue[]): number {
		return this.#number.read(Number(value), issues);
	}

	int(): CoercedNumberSchema {
		return new CoercedNumberSchema(this.#number.int());
	}

	min(limit: number): CoercedNumberSchema {
		return new CoercedNumberSchema(this.#number.min(limit));
	}

	max(limit: number): CoercedNumberSchema {
		return new CoercedNumberSchema(this.#number.max(limit));
	}

	positive(): CoercedNumberSchema {
		return new CoercedNumberSchema(this.#number.positive());
	}
}
