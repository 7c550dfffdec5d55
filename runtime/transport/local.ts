/**
 * The transport between components on one thread: a call is a function call behind one asynchronous step, checked by
 * the same schemas as everywhere. Colocated components, tests and the simulator use it.
 */
import {SessionError, isSessionError, type Client, type ClientContext, type Handlers, type Session} from '../sdk/session.js';

/** Called when a handler threw something that is no SessionError: the component behind it has to die. */
export type BugHandler = (error: unknown) => void;

export interface LocalOptions {
	readonly context: ClientContext;
	onBug: BugHandler;
	/** Puts a step between caller and handler, and between reply and caller; the simulator orders these by its seed. */
	step?(): Promise<void>;
	/** Counts a finished request and its payload for `runtime status`. */
	count?(byteLength: number): void;
}

type UntypedHandler = (request: unknown, context: ClientContext) => unknown;

function payloadLength(session: Session, opName: string, request: Record<string, unknown>): number {
	let length = 0;
	for (const {name, mark} of session.ops[opName].requestBulk) {
		if (mark.shape === 'buffer') {
			length += (request[name] as Uint8Array).length;
		} else {
			for (const part of request[name] as Uint8Array[]) {
				length += part.length;
			}
		}
	}

	return length;
}

/** Checks one end's message against the contract; the other end's component is wrong where it does not fit. */
export function parseRequest(session: Session, opName: string, request: unknown): Record<string, unknown> {
	const parsed = session.ops[opName].request.safeParse(request);
	if (!parsed.success) {
		throw new SessionError('bad_request', `${session.name}.${opName}: ${parsed.error.issues.map(issue => `${issue.path.join('.')} ${issue.message}`).join('; ')}`);
	}

	return parsed.data as Record<string, unknown>;
}

export function connectLocal<S extends Session>(session: S, handlers: Handlers<S>, options: LocalOptions): Client<S> {
	const {context, onBug, step, count} = options;
	const client: Record<string, (request: unknown) => Promise<unknown>> = {};
	for (const opName of session.opNames) {
		const handler = (handlers as unknown as Record<string, UntypedHandler>)[opName];
		const {reply: replySchema} = session.ops[opName];
		client[opName] = async request => {
			const parsed = parseRequest(session, opName, request);
			if (step) {
				await step();
			}

			let reply: unknown;
			try {
				reply = replySchema.parse(await handler(parsed, context));
			} catch (error) {
				if (isSessionError(error)) {
					throw error;
				}

				onBug(error);
				throw new SessionError('session_lost', `the server of ${session.name} died`);
			} finally {
				count?.(payloadLength(session, opName, parsed));
			}

			if (step) {
				await step();
			}

			return reply;
		};
	}

	return client as unknown as Client<S>;
}
