/**
 * The form of what a host in a process of its own may say. A host on a thread is this program's own code and needs no
 * check.
 */
import {z} from 'zod';
import type {FromHost} from './messages.js';

const nameLengthMax = 64;
const textLengthMax = 64 * 1024;
const hintCountMax = 16;
const detailCountMax = 256;

const Name = z.string().min(1).max(nameLengthMax);
/** Goes to logs and terminals: of what is no text, only the ends of lines stay. */
const Text = z
	.string()
	.max(textLengthMax)
	.transform(text => text.replaceAll(/[^\P{Cc}\n\t]/gu, '?'));
const Count = z.number().int().nonnegative();
const Problem = Text.optional();

const Figures = z.strictObject({
	sessions: Count,
	requests: Count,
	bytes: Count,
	leasedBytes: Count,
	arenaBytes: Count,
	heapBytes: Count,
	externalBytes: Count,
	details: z
		.record(Name, z.union([Text, z.number()]))
		.refine(details => Object.keys(details).length <= detailCountMax, 'too many values'),
});

const Failure = z.strictObject({
	code: Text,
	message: Text,
	detail: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).optional()),
});

const schema = z.discriminatedUnion('type', [
	z.strictObject({type: z.literal('ready'), tid: Count}),
	z.strictObject({type: z.literal('started'), child: Name, hints: z.array(Text).max(hintCountMax)}),
	z.strictObject({type: z.literal('start_failed'), child: Name, message: Text}),
	z.strictObject({type: z.literal('closed'), session: Count}),
	z.strictObject({type: z.literal('held'), session: Count}),
	z.strictObject({type: z.literal('connected'), session: Count, problem: Problem}),
	z.strictObject({type: z.literal('stopped'), child: Name, problem: Problem}),
	z.strictObject({type: z.literal('finished'), child: Name, exitValue: z.number().int(), message: Problem}),
	z.strictObject({type: z.literal('log'), child: Name, level: z.enum(['info', 'warning', 'error']), text: Text}),
	z.strictObject({type: z.literal('beat')}),
	z.strictObject({type: z.literal('died'), child: Name.optional(), reason: Text}),
	z.strictObject({type: z.literal('bad_reply'), server: Name, reason: Text}),
	z.strictObject({type: z.literal('session_broken'), session: Count, reason: Text, isEnd: z.boolean()}),
	z.strictObject({type: z.literal('figures'), id: Count, children: z.record(Name, Figures)}),
	z.strictObject({
		type: z.literal('call_done'),
		id: Count,
		reply: z.unknown().optional(),
		failure: Failure.optional(),
	}),
]);

/** Names of components that the message speaks for. */
function speakers(message: FromHost): readonly string[] {
	if (message.type === 'figures') {
		return Object.keys(message.children);
	}

	return 'child' in message && message.child !== undefined ? [message.child] : [];
}

/** @param children who is in that process. @throws RangeError where the message is none that it may send */
export function readFromHost(message: unknown, children: readonly string[]): FromHost {
	const parsed = schema.safeParse(message);
	if (!parsed.success) {
		throw new RangeError('a message to the runtime that does not fit its form');
	}

	const read = parsed.data as FromHost;
	if (speakers(read).some(name => !children.includes(name))) {
		throw new RangeError('a message to the runtime in the name of somebody else');
	}

	return read;
}
