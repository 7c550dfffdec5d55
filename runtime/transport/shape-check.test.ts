import test from 'ava';
import {z} from 'zod';
import {SeededRandom} from '../../test/support/seeded-random.js';
import {probe} from '../../test/support/fixtures/probe.js';
import {bulk, bytes, segments, vector} from '../sdk/session.js';
import {shapeCheck} from './shape-check.js';

const root = z.strictObject({address: z.number().int().positive(), hash: bytes(4)});
const message = z.strictObject({
	kind: z.enum(['one', 'two']),
	count: z.number().int().nonnegative().max(9),
	share: z.number().lt(1).gt(-1),
	flag: z.boolean(),
	name: z.string(),
	root: root.nullable(),
	roots: z.array(root),
	items: vector(-1),
	mode: z.literal(true).optional(),
	data: bulk('in'),
	parts: segments('out'),
});

const valid = (): Record<string, unknown> => ({
	kind: 'two',
	count: 9,
	share: 0.5,
	flag: false,
	name: '',
	root: null,
	roots: [{address: 1, hash: new Uint8Array(4)}],
	items: [1, -1],
	data: new Uint8Array(3),
	parts: [new Uint8Array(1)],
});

const sparse = new Array<number>(2);
sparse[0] = 1;

const oddities: readonly unknown[] = [
	0,
	1,
	-1,
	1.5,
	10,
	Number.NaN,
	Infinity,
	2 ** 53,
	-0,
	1n,
	'',
	'one',
	'three',
	true,
	null,
	undefined,
	[],
	[1],
	['x'],
	[undefined],
	sparse,
	{},
	() => 1,
	new Uint8Array(0),
	new Uint8Array(4),
	[new Uint8Array(4)],
	[null],
	{address: 1, hash: new Uint8Array(4)},
	{address: 0, hash: new Uint8Array(4)},
	{address: 1, hash: new Uint8Array(5)},
	{address: 1},
	{address: 1, hash: new Uint8Array(4), more: 1},
	[{address: 1, hash: new Uint8Array(4)}, sparse],
	new Date(0),
	new Map(),
];

test('what fits is accepted', t => {
	const check = shapeCheck(message)!;
	t.true(check(valid()));
	t.true(check({...valid(), root: {address: 5, hash: new Uint8Array(4)}, kind: 'one', roots: [], count: 0}));
});

test('nothing is accepted that the schema would refuse or change', t => {
	const check = shapeCheck(message)!;
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

		if (check(value)) {
			acceptedCount++;
			const parsed = message.safeParse(value);
			if (!parsed.success) {
				t.fail(`${JSON.stringify(parsed.error.issues)}`);
				return;
			}

			t.deepEqual(parsed.data as unknown, value);
		}
	}

	t.true(acceptedCount > 100);
	for (const value of oddities) {
		t.false(check(value));
	}
});

test('nothing but an empty message fits an empty object', t => {
	const check = shapeCheck(z.strictObject({}))!;
	t.true(check({}));
	for (const value of [[], null, undefined, 1, 'x', {a: 1}, {a: undefined}]) {
		t.false(check(value));
	}
});

test('schemas that change values, or of unknown kinds, have no quick check', t => {
	for (const schema of [
		z.object({a: z.number()}),
		z.coerce.number(),
		z.number().default(1),
		z.number().transform(value => value + 1),
		z.number().multipleOf(2),
		z.number().refine(value => value > 3),
		z.string().min(1),
		z.string().trim(),
		z.array(z.number()).max(1),
		z.int(),
		z.bigint(),
		z.union([z.number(), z.null()]),
		z.number().optional(),
		z.strictObject({a: z.number().catch(1)}),
		z.strictObject({}).refine(() => false),
		z.nullable(z.email()),
		z.array(z.literal([1, 2])),
	]) {
		t.is(shapeCheck(schema), undefined, schema.type);
	}
});

test('operations of a contract have one', t => {
	t.true(shapeCheck(probe.ops.fill.request)!({value: 1, data: new Uint8Array(1)}));
	t.false(shapeCheck(probe.ops.fill.request)!({value: 1, data: [1]}));
});
