/**
 * Quick checks of messages. zod builds a result and a report for every message, which costs several times what the
 * check itself does; so a plain predicate looks first, and zod only sees what it turned down, for the report.
 *
 * A predicate is never more lenient than its schema: what it accepts, the schema accepts unchanged. Schemas of kinds
 * that it does not know have none.
 */
import type {z} from 'zod';

export type ShapeCheck = (value: unknown) => boolean;

/** The parts of zod's definitions that are read here; zod's own types leave them open. */
interface Definition {
	readonly type: string;
	readonly checks?: ReadonlyArray<{readonly _zod: {readonly def: NumberRule}}>;
	readonly fn?: (value: unknown) => unknown;
	readonly shape?: Readonly<Record<string, z.ZodType>>;
	readonly catchall?: z.ZodType;
	readonly element?: z.ZodType;
	readonly innerType?: z.ZodType;
	readonly entries?: Readonly<Record<string, string | number>>;
	readonly values?: readonly unknown[];
	readonly coerce?: boolean;
	readonly format?: string;
}

interface NumberRule {
	readonly check: string;
	readonly format?: string;
	readonly value?: unknown;
	readonly inclusive?: boolean;
}

function definitionOf(schema: z.ZodType): Definition {
	return schema._zod.def;
}

function numberRule({check, format, value, inclusive}: NumberRule): ((value: number) => boolean) | undefined {
	if (check === 'number_format' && format === 'safeint') {
		return Number.isSafeInteger;
	}

	if (typeof value !== 'number') {
		return undefined;
	}

	switch (check) {
		case 'greater_than': {
			return inclusive ? number => number >= value : number => number > value;
		}

		case 'less_than': {
			return inclusive ? number => number <= value : number => number < value;
		}

		default: {
			return undefined;
		}
	}
}

function numberCheck({checks, format}: Definition): ShapeCheck | undefined {
	const rules = (checks ?? []).map(({_zod: {def}}) => numberRule(def));
	if (format !== undefined || !rules.every(rule => rule !== undefined)) {
		return undefined;
	}

	return value => {
		if (typeof value !== 'number' || !Number.isFinite(value)) {
			return false;
		}

		for (const rule of rules) {
			if (!rule(value)) {
				return false;
			}
		}

		return true;
	};
}

function objectCheck({shape, catchall}: Definition): ShapeCheck | undefined {
	const names = Object.keys(shape!);
	const optional = names.map(name => definitionOf(shape![name]).type === 'optional');
	const checks = names.map((name, i) =>
		shapeCheck(optional[i] ? definitionOf(shape![name]).innerType! : shape![name]),
	);
	// Only strict objects: others drop what they do not know, which changes the value.
	if (!catchall || definitionOf(catchall).type !== 'never' || !checks.every(check => check !== undefined)) {
		return undefined;
	}

	return value => {
		if (typeof value !== 'object' || value === null || Array.isArray(value)) {
			return false;
		}

		const fields = value as Record<string, unknown>;
		let presentCount = 0;
		for (let i = 0; i < names.length; i++) {
			const field = fields[names[i]];
			if (field === undefined) {
				// One that is there and undefined is left to the schema.
				if (!optional[i]) {
					return false;
				}
			} else if (checks[i](field)) {
				presentCount++;
			} else {
				return false;
			}
		}

		// A field more is one that the schema does not know.
		let count = 0;
		for (const _name in fields) {
			count++;
		}

		return count === presentCount;
	};
}

function arrayCheck(element: z.ZodType): ShapeCheck | undefined {
	const check = shapeCheck(element);
	return (
		check &&
		(value => {
			if (!Array.isArray(value)) {
				return false;
			}

			// Not `every`, which passes over holes.
			for (let i = 0; i < value.length; i++) {
				if (!check(value[i])) {
					return false;
				}
			}

			return true;
		})
	);
}

/** The quick check for a schema, where it has one. */
export function shapeCheck(schema: z.ZodType): ShapeCheck | undefined {
	const definition = definitionOf(schema);
	if (
		definition.coerce ||
		(definition.type !== 'number' && definition.checks !== undefined && definition.checks.length > 0)
	) {
		return undefined;
	}

	switch (definition.type) {
		case 'number': {
			return numberCheck(definition);
		}

		case 'string': {
			return definition.format === undefined ? value => typeof value === 'string' : undefined;
		}

		case 'boolean': {
			return value => typeof value === 'boolean';
		}

		case 'custom': {
			const {fn} = definition;
			return fn && (value => fn(value) === true);
		}

		case 'literal': {
			const {values} = definition;
			return values?.length === 1 && typeof values[0] !== 'object' ? value => value === values[0] : undefined;
		}

		case 'enum': {
			const allowed = Object.values(definition.entries!);
			return allowed.every(entry => typeof entry === 'string')
				? value => allowed.includes(value as string)
				: undefined;
		}

		case 'nullable': {
			const check = shapeCheck(definition.innerType!);
			return check && (value => value === null || check(value));
		}

		case 'array': {
			return arrayCheck(definition.element!);
		}

		case 'object': {
			return objectCheck(definition);
		}

		default: {
			return undefined;
		}
	}
}
