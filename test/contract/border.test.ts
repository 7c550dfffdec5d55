/**
 * The border of every contract: whatever does not fit it is refused with the operation's name before a server sees it,
 * and what a server wrongly answers never reaches its client.
 */
import {readdirSync} from 'node:fs';
import test from 'ava';
import {connectLocal} from '../../runtime/transport/local.js';
import {isSessionError, type Handlers, type Session} from '../../runtime/sdk/session.js';
import {SeededRandom} from '../support/seeded-random.js';
import {validMessages} from '../support/valid-messages.js';

const folder = new URL('../../components/sessions/', import.meta.url);

function isSession(value: unknown): value is Session {
	return typeof value === 'object' && value !== null && 'opNames' in value && 'sharesMemory' in value;
}

const modules = await Promise.all(
	readdirSync(folder)
		.filter(name => name.endsWith('.js') && !name.endsWith('.test.js'))
		.map(async name => (await import(new URL(name, folder).href)) as Record<string, unknown>),
);
const sessions = [...new Set(modules.flatMap(module => Object.values(module).filter(value => isSession(value))))];

/** Values that fit nowhere, or in few places. */
const oddities: readonly unknown[] = [
	-1,
	0.5,
	Number.NaN,
	Infinity,
	2 ** 53,
	-(2 ** 53),
	'7',
	'x',
	null,
	true,
	[],
	[1, 'x', null],
	[Number.NaN],
	[0.5],
	[-2],
	[undefined],
	{},
	{address: -1},
	new Date(0),
	new Uint8Array(0),
	new Uint8Array(5),
	[new Uint8Array(3)],
	[[1]],
	7n,
	() => 1,
	Symbol('odd'),
];

type Message = Record<string, unknown>;
type Path = readonly [key: string, ...rest: string[]];

/** Paths of the fields of a message and of what lies in them, down to the elements of vectors. */
function pathsIn(message: object): Path[] {
	return Object.entries(message).flatMap(([key, value]): Path[] =>
		typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)
			? [[key], ...pathsIn(value as object).map((rest): Path => [key, ...rest])]
			: [[key]],
	);
}

function copied<T>(value: T): T {
	return structuredClone(value);
}

function changed(message: Message, [key, ...rest]: Path, change: (holder: Message, key: string) => void): Message {
	if (rest.length === 0) {
		change(message, key);
	} else {
		changed(message[key] as Message, rest as unknown as Path, change);
	}

	return message;
}

/** A message that is wrong in one place. */
function spoilt(valid: Message, random: SeededRandom): Message {
	const message = copied(valid);
	const paths = pathsIn(message);
	const path = paths[random.below(paths.length)];
	switch (random.below(paths.length === 0 ? 1 : 5)) {
		case 0: {
			return {...message, more: 1};
		}

		case 1: {
			return changed(message, path, (holder, key) => {
				if (Array.isArray(holder)) {
					holder.push(holder[0]);
				} else {
					delete holder[key];
				}
			});
		}

		case 2: {
			// One element more or fewer than belongs there, or half a block.
			return changed(message, path, (holder, key) => {
				const value = holder[key];
				holder[key] = Array.isArray(value)
					? [...(value as unknown[]), 1, 1, 1, 1, 1]
					: value instanceof Uint8Array
						? new Uint8Array(value.length + 1)
						: oddities[0];
			});
		}

		default: {
			return changed(message, path, (holder, key) => {
				holder[key] = oddities[random.below(oddities.length)];
			});
		}
	}
}

/** True where the contract says so by itself; the border must not be more lenient. */
function fits(
	schema: Session['ops'][string]['request'],
	fault: (message: never) => string | undefined,
	message: unknown,
): boolean {
	const parsed = schema.safeParse(message);
	return parsed.success && fault(parsed.data as never) === undefined;
}

for (const session of sessions) {
	const valid = validMessages[session.name];

	test(`${session.name}: there is a valid message for each operation, and it passes`, async t => {
		t.deepEqual(Object.keys(valid ?? {}).sort(), [...session.opNames].sort());
		for (const [name, {request, reply}] of Object.entries(valid)) {
			const {client, bugs} = connected(session, () => copied(reply));
			t.deepEqual(await client[name](copied(request)), reply, name);
			t.deepEqual(bugs, []);
		}
	});

	test(`${session.name}: no server sees a request that does not fit, and no client such a reply`, async t => {
		const random = new SeededRandom(7);
		let refusedCount = 0;
		for (const [name, {request, reply}] of Object.entries(valid)) {
			const operation = session.ops[name];
			for (let round = 0; round < 60; round++) {
				const odd = spoilt(request, random);
				const isFit = fits(operation.request, operation.requestFault.bind(operation), odd);
				let isSeen = false;
				const {client} = connected(session, () => {
					isSeen = true;
					return copied(reply);
				});
				const outcome = await client[name](odd).then(
					() => 'answered',
					(error: unknown) => error,
				);
				t.is(
					isSeen,
					isFit,
					`${name} ${JSON.stringify(odd, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))}`,
				);
				if (!isFit) {
					refusedCount++;
					t.true(
						isSessionError(outcome) &&
							(outcome.code === 'bad_request' || outcome.code === session.misfit) &&
							outcome.message.startsWith(`${session.name}.${name}: `),
						String(outcome),
					);
				}

				const oddReply = spoilt(reply, random);
				if (!fits(operation.reply, message => operation.replyFault(message, request), oddReply)) {
					const answering = connected(session, () => oddReply);
					await t.throwsAsync(answering.client[name](copied(request)), {code: 'session_lost'}, name);
					t.regex(
						String(answering.bugs[0]),
						new RegExp(`reply to ${session.name}.${name} does not fit the contract`),
					);
				}
			}
		}

		t.true(refusedCount > session.opNames.length * 20, `${refusedCount}`);
	});
}

function connected(
	session: Session,
	answer: () => unknown,
): {client: Record<string, (request: unknown) => Promise<unknown>>; bugs: unknown[]} {
	const bugs: unknown[] = [];
	const handlers = Object.fromEntries(session.opNames.map(name => [name, answer])) as unknown as Handlers<Session>;
	const client = connectLocal(session, handlers, {
		context: {session: 1, client: 'client'},
		onBug(error) {
			bugs.push(error);
		},
	});
	return {client, bugs};
}
