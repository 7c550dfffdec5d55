/**
 * Sessions as a network would carry them: each message and each payload is copied when it is sent, and every delivery
 * waits for its turn. Only `region()` memory is shared. So whoever uses a payload after its request has ended, or
 * fills one after the reply, is found out. Optionally payloads are shared as threads share them.
 */
import {connectLocal, type BugHandler} from '../../runtime/transport/local.js';
import {
	isSessionError,
	type Client,
	type ClientContext,
	type Handlers,
	type Session,
} from '../../runtime/sdk/session.js';
import type {Trace} from './trace.js';

export interface SimulatedConnection {
	readonly context: ClientContext;
	readonly onBug: BugHandler;
	readonly step: () => Promise<void>;
	/** True where payloads are copied, false where both ends see the same memory. */
	readonly copies: boolean;
	/** Learns all messages. */
	readonly trace?: Trace | undefined;
}

type UntypedCall = (request: unknown, context: ClientContext) => unknown;
type Message = Record<string, unknown>;

/** What a fresh output buffer holds, so that nobody relies on zeroes. */
const garbage = 0xa5;

function copyOf(value: unknown): unknown {
	if (value instanceof Uint8Array) {
		return Uint8Array.from(value);
	}

	if (Array.isArray(value)) {
		return value.map(copyOf);
	}

	if (typeof value === 'object' && value !== null) {
		return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, copyOf(field)]));
	}

	return value;
}

function freshLike(value: unknown): unknown {
	return Array.isArray(value) ? value.map(freshLike) : Buffer.alloc((value as Uint8Array).length, garbage);
}

function copyBack(from: unknown, to: unknown): void {
	if (Array.isArray(from)) {
		for (const [i, part] of from.entries()) {
			copyBack(part, (to as Uint8Array[])[i]);
		}
	} else {
		(to as Uint8Array).set(from as Uint8Array);
	}
}

/** The request as the server gets it, and what brings its output back. */
function carry(
	session: Session,
	opName: string,
	request: Message,
	copies: boolean,
): {sent: Message; bringBack: () => void} {
	const bulk = new Map(session.ops[opName].requestBulk.map(({name, mark}) => [name, mark]));
	const sent: Message = {};
	const outputs: string[] = [];
	for (const [name, value] of Object.entries(request)) {
		const mark = bulk.get(name);
		const isOutput = mark !== undefined && mark.shape !== 'region' && mark.direction === 'out';
		if (copies && isOutput) {
			sent[name] = freshLike(value);
			outputs.push(name);
		} else {
			sent[name] = mark && !copies ? value : copyOf(value);
		}
	}

	return {sent, bringBack: () => outputs.forEach(name => copyBack(sent[name], request[name]))};
}

function replyCopy(session: Session, opName: string, reply: Message): Message {
	const shared = new Set(session.ops[opName].replyBulk.map(({name}) => name));
	return Object.fromEntries(
		Object.entries(reply).map(([name, value]) => [name, shared.has(name) ? value : copyOf(value)]),
	);
}

/** Tells the trace what is sent and what comes back; memory that both ends share is no message. */
function traced(
	session: Session,
	opName: string,
	call: (request: Message) => Promise<unknown>,
	trace: Trace,
): (request: Message) => Promise<unknown> {
	const isOutput = new Set(
		session.ops[opName].requestBulk
			.filter(({mark}) => mark.shape !== 'region' && mark.direction === 'out')
			.map(({name}) => name),
	);
	const isShared = new Set(session.ops[opName].replyBulk.map(({name}) => name));
	const part = (message: Message, isWanted: (name: string) => boolean) =>
		Object.fromEntries(Object.entries(message).filter(([name]) => isWanted(name)));
	return async request => {
		trace.note(
			'request',
			session.name,
			opName,
			part(request, name => !isOutput.has(name)),
		);
		try {
			const reply = await call(request);
			trace.note(
				'reply',
				session.name,
				opName,
				part(reply as Message, name => !isShared.has(name)),
				part(request, name => isOutput.has(name)),
			);
			return reply;
		} catch (error) {
			trace.note('error', session.name, opName, String(error));
			throw error;
		}
	};
}

export function connectSimulated<S extends Session>(
	session: S,
	handlers: Handlers<S>,
	{copies, trace, ...options}: SimulatedConnection,
): Client<S> {
	const untyped = handlers as unknown as Record<string, UntypedCall>;
	const copying: Record<string, UntypedCall> = {};
	for (const opName of session.opNames) {
		copying[opName] = async (request, context) =>
			replyCopy(session, opName, (await untyped[opName](request, context)) as Message);
	}

	const local = connectLocal(session, copying as unknown as Handlers<S>, options) as unknown as Record<
		string,
		(request: unknown) => Promise<unknown>
	>;
	const client: Record<string, (request: Message) => Promise<unknown>> = {};
	for (const opName of session.opNames) {
		const call = async (request: Message): Promise<unknown> => {
			const {sent, bringBack} = carry(session, opName, request, copies);
			try {
				const reply = await local[opName](sent);
				bringBack();
				return reply;
			} catch (error) {
				if (isSessionError(error)) {
					bringBack();
				}

				throw error;
			}
		};
		client[opName] = trace ? traced(session, opName, call, trace) : call;
	}

	return client as unknown as Client<S>;
}
