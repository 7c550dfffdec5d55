/** The words mean what zod's mean: the same schemas, written in both, take the same values and make the same of them. */
import test from 'ava';
import * as zod from 'zod';
import {SeededRandom} from '../../test/support/seeded-random.js';
import {probe} from '../../test/support/fixtures/probe.js';
import * as own from './schema.js';
import {bulk, bytes, numbers, segments} from './session.js';

/** zod's own types say more than this test needs. */
const words = [own, zod as unknown as typeof own] as const;

function byteText(z: typeof own) {
	return z.string().transform((text, context) => {
		if (!/^\d+$/.test(text)) {
			context.addIssue({code: 'custom', message: `"${text}" is no size`, path: ['inside']});
			return z.NEVER;
		}

		return Number(text) + 1;
	});
}

/** A schema of each kind, and those around them. */
function schemasIn(z: typeof own): own.Schema[] {
	const root = z.strictObject({address: z.number().int().positive(), hash: z.custom<Uint8Array>(value => value instanceof Uint8Array && value.length === 4, '4 bytes are required')});
	return [
		z.number(), z.number().int(), z.number().min(-1).max(9), z.number().int().nonnegative(), z.number().positive(),
		z.string(), z.string().min(1).max(3), z.string().regex(/^o/, 'it begins with o'), z.boolean(), z.unknown(),
		z.enum(['one', 'two']), z.literal(1), z.literal('one'), z.literal(true),
		z.coerce.number(), z.coerce.number().int().min(1).max(9), z.coerce.number().positive().optional(),
		z.array(z.number()), z.array(z.string()).max(1), z.array(root), z.tuple([z.string(), z.string()]),
		z.number().optional(), z.string().nullable(), z.number().default(7), z.enum(['one', 'two']).default('two').nullable(),
		byteText(z), byteText(z).default(3), z.string().transform(text => text.length).optional(),
		z.number().refine(value => value > 3, 'above 3'), z.string().min(2).refine(text => text !== 'one', 'not one'),
		root, z.object({address: z.number()}), z.strictObject({}), z.strictObject({address: z.number().optional(), more: z.string().default('x'), hash: z.unknown()}),
		z.strictObject({address: z.number(), more: z.array(z.strictObject({a: byteText(z)})).max(1).default([])}).refine(({address, more}) => address === more.length, 'as many as said'),
		z.record(z.string(), z.number()), z.union([z.number(), z.strictObject({address: z.number()}), z.literal('one')]),
		z.discriminatedUnion('kind', [z.strictObject({kind: z.literal('one'), count: z.number()}), z.strictObject({kind: z.literal('two'), data: z.unknown()})]),
	];
}

const pairs = schemasIn(words[0]).map((schema, index) => ({schema, index, oracle: schemasIn(words[1])[index]}));

const sparse = new Array<number>(2);
sparse[0] = 1;

const oddities: readonly unknown[] = [
	0, 1, -1, 1.5, 4, 10, Number.NaN, Infinity, 2 ** 53, -0, 1n, '', 'one', 'two', 'three', '5', ' 6 ', '1.5', '0x10', true, false, null, undefined, [], [1], ['x'], ['x', 'y'],
	[undefined], sparse, {}, () => 1, new Uint8Array(0), new Uint8Array(4), [new Uint8Array(4)], [null], {address: 1, hash: new Uint8Array(4)},
	{address: 0, hash: new Uint8Array(4)}, {address: 1, hash: new Uint8Array(5)}, {address: 1}, {address: undefined}, {address: 1, hash: new Uint8Array(4), more: 1},
	[{address: 1, hash: new Uint8Array(4)}, sparse], new Map(), {address: 1, more: [{a: '1'}]}, {address: 1, more: [{a: 'x'}]}, {address: 1, more: [{a: '1', b: 2}, {}]},
	{address: 2, more: []}, {kind: 'one', count: 1}, {kind: 'two', data: {}}, {kind: 'two'}, {kind: 'three'}, {kind: 'one', count: 'x', more: 1}, {a: 1, b: 2}, {a: 1, b: 'x'},
];

/** Where something is wrong; the messages are our own. */
function faultyPlaces({error}: own.Parsed<unknown>) {
	return new Set(error?.issues.map(({path}) => path.join('.')));
}

test('each schema takes what zod\'s takes, makes the same of it and complains about the same places', t => {
	let takenCount = 0;
	let refusedCount = 0;
	for (const {schema, oracle, index} of pairs) {
		for (const value of oddities) {
			const mine = schema.safeParse(value);
			const theirs = oracle.safeParse(value);
			const what = `schema ${index} of ${typeof value} ${JSON.stringify(value, (_, part: unknown) => typeof part === 'bigint' ? String(part) : part)}`;
			t.is(mine.success, theirs.success, what);
			if (mine.success) {
				takenCount++;
				t.deepEqual(mine.data, theirs.data, what);
				t.is(Object.hasOwn(Object(mine.data) as object, 'hash'), Object.hasOwn(Object(theirs.data) as object, 'hash'), what);
			} else {
				refusedCount++;
				t.deepEqual(faultyPlaces(mine), faultyPlaces(theirs), what);
			}
		}
	}

	t.true(takenCount > 150 && refusedCount > 1000, `${takenCount} ${refusedCount}`);
});

test('a quick check takes nothing that the schema would refuse or change', t => {
	for (const {schema, index} of pairs) {
		for (const value of oddities) {
			if (schema.quickCheck?.(value)) {
				const {success, data} = schema.safeParse(value);
				t.true(success, `schema ${index}`);
				// Fields count, not the class: an empty Map is an empty object to a schema.
				t.deepEqual(data instanceof Object ? {...data} : data, value instanceof Object ? {...value} : value, `schema ${index}`);
			}
		}
	}
});

const root = own.strictObject({address: own.number().int().positive(), hash: bytes(4)});
const message = own.strictObject({
	kind: own.enum(['one', 'two']),
	count: own.number().int().nonnegative().max(9),
	flag: own.boolean(),
	name: own.string().max(3),
	note: own.string().optional(),
	root: root.nullable(),
	roots: own.array(root),
	items: numbers(),
	data: bulk('in'),
	parts: segments('out'),
});

const valid = (): Record<string, unknown> => ({
	kind: 'two', count: 9, flag: false, name: '', note: 'x', root: null, roots: [{address: 1, hash: new Uint8Array(4)}], items: [1, -1.5],
	data: new Uint8Array(3), parts: [new Uint8Array(1)],
});

test('messages that fit pass the quick check', t => {
	const check = message.quickCheck!;
	t.true(check(valid()));
	t.true(check({...valid(), note: undefined}));
	t.true(check({...valid(), root: {address: 5, hash: new Uint8Array(4)}, kind: 'one', roots: [], count: 0}));
	const {note: _, ...rest} = valid();
	t.true(check(rest));
	t.false(check({...rest, more: 1}));
	t.true(probe.ops.fill.request.quickCheck!({value: 1, data: new Uint8Array(1)}));
	t.false(probe.ops.fill.request.quickCheck!({value: 1, data: [1]}));
});

test('messages that were changed at random pass the quick check only where the schema takes them', t => {
	const check = message.quickCheck!;
	const random = new SeededRandom(1);
	const names = Object.keys(message.shape);
	let acceptedCount = 0;
	for (let round = 0; round < 20_000; round++) {
		const value = valid();
		for (let change = random.below(3); change >= 0; change--) {
			const name = random.below(20) === 0 ? 'more' : names[random.below(names.length)];
			if (random.below(8) === 0) {
				delete value[name];
			} else {
				value[name] = oddities[random.below(oddities.length)];
			}
		}

		const parsed = message.safeParse(value);
		if (check(value)) {
			acceptedCount++;
			t.deepEqual(parsed.data as unknown, value);
		} else if (parsed.success) {
			t.fail(`the quick check refuses ${JSON.stringify(value)}`);
		}
	}

	t.true(acceptedCount > 100);
	for (const value of oddities) {
		t.false(check(value));
	}
});

test('nothing but an empty message fits an empty object', t => {
	const check = own.strictObject({}).quickCheck!;
	t.true(check({}));
	for (const value of [[], null, undefined, 1, 'x', {a: 1}, {a: undefined}]) {
		t.false(check(value));
	}
});

test('what changes values has no quick check', t => {
	for (const schema of [
		own.object({a: own.number()}), own.coerce.number(), own.number().default(1), own.number().transform(value => value + 1), own.strictObject({a: own.number().default(1)}),
		own.array(own.coerce.number()), own.number().default(1).optional(), own.number().default(1).nullable(),
	]) {
		t.is(schema.quickCheck, undefined);
	}
});

test('no field of hostile JSON reaches a prototype', t => {
	const hostile = JSON.parse('{"__proto__": {"address": 1}, "constructor": 2}') as unknown;
	t.false(own.strictObject({address: own.number()}).safeParse(hostile).success);
	t.false(own.object({address: own.number()}).safeParse(JSON.parse('{"__proto__": 1}')).success);
	const copy = own.record(own.string(), own.unknown()).parse(hostile);
	t.is(Object.getPrototypeOf(copy), Object.prototype);
	t.true(Object.hasOwn(copy, '__proto__'));
});
