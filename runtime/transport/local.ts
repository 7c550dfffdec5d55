/**
 * The transport between components on one thread: a call is a function call, checked by the same schemas as everywhere.
 * Payload and regions are handed over as they are. Colocated components, tests and the simulator use it.
 */
import {
	SessionError,
	isSessionError,
	type Client,
	type ClientContext,
	type Handlers,
	type Session,
} from '../sdk/session.js';
import {payloadLength, wireOperations, type WireOperation} from './wire.js';

/** Called when a handler threw something that is no error of its contract: the component behind it has to die. */
export type BugHandler = (error: unknown) => void;

export interface LocalOptions {
	readonly context: ClientContext;
	onBug: BugHandler;
	/** Puts a step between caller and handler, and between reply and caller; the simulator orders these by its seed. */
	step?(): Promise<void>;
	/** Counts a finished request and its payload for `runtime status`. */
	count?(byteLength: number): void;
}

type Message = Record<string, unknown>;
type Handler = (request: unknown, context: ClientContext) => unknown;

/** True where the session's contract has the error's code. */
export function mayAnswer(session: Session, {code}: SessionError): boolean {
	return code === 'session_lost' || code === 'bad_request' || session.errors.includes(code);
}

/** The bug of a server that answered with an error code that its contract does not have. */
export function foreignCode(session: Session, {code, message}: SessionError): Error {
	return new Error(
		`answered with the error code "${code}", which the session ${session.name} does not have: ${message}`,
	);
}

/** The error for a request that does not fit the contract: its sender is wrong. */
function badRequest(title: string, issues: ReadonlyArray<{path: PropertyKey[]; message: string}>): SessionError {
	return new SessionError(
		'bad_request',
		`${title}: ${issues.map(({path, message}) => `${path.join('.')} ${message}`).join('; ')}`,
	);
}

function shapedRequest({title, isRequest, request: schema}: WireOperation, request: unknown): Message {
	if (isRequest(request)) {
		return request as Message;
	}

	const parsed = schema.safeParse(request);
	if (!parsed.success) {
		throw badRequest(title, parsed.error.issues);
	}

	return parsed.data as Message;
}

/**
 * Checks a request against the contract. @throws SessionError `bad_request`, or the contract's code for fields that do
 * not fit each other
 */
export function parseRequest(operation: WireOperation, request: unknown): Message {
	const shaped = shapedRequest(operation, request);
	const fault = operation.requestFault(shaped);
	if (fault !== undefined) {
		throw new SessionError(operation.misfit, `${operation.title}: ${fault}`);
	}

	return shaped;
}

/** Checks a reply against the contract. @throws Error that says what does not fit */
export function parseReply(
	{isReply, reply: schema, replyFault, title}: WireOperation,
	reply: unknown,
	request: Message,
): Message {
	const shaped = isReply(reply) ? reply : shapedReply(schema, reply, title);
	const fault = replyFault(shaped, request);
	if (fault !== undefined) {
		throw new Error(`its reply to ${title} does not fit the contract: ${fault}`);
	}

	return shaped as Message;
}

function shapedReply(schema: WireOperation['reply'], reply: unknown, title: string): unknown {
	const parsed = schema.safeParse(reply);
	if (!parsed.success) {
		throw new Error(
			`its reply to ${title} does not fit the contract: ${parsed.error.issues.map(({path, message}) => `${path.join('.')} ${message}`).join('; ')}`,
		);
	}

	return parsed.data;
}

class LocalSession {
	readonly #session: Session;
	readonly #options: LocalOptions;

	constructor(session: Session, options: LocalOptions) {
		this.#session = session;
		this.#options = options;
	}

	/** Steps only where somebody orders them: each `await` more costs a turn of the microtask queue. */
	async call(operation: WireOperation, handler: Handler, request: unknown): Promise<unknown> {
		const {context, step, count} = this.#options;
		const parsed = parseRequest(operation, request);
		if (step) {
			await step();
		}

		let reply: unknown;
		try {
			reply = handler(parsed, context);
			if (reply instanceof Promise) {
				reply = await reply;
			}

			reply = parseReply(operation, reply, parsed);
		} catch (error) {
			throw this.#failure(error);
		} finally {
			count?.(payloadLength(operation.requestBulk, parsed));
		}

		if (step) {
			await step();
		}

		return reply;
	}

	/** What the client gets; anything outside of the contract kills the server. */
	#failure(error: unknown): SessionError {
		if (isSessionError(error) && mayAnswer(this.#session, error)) {
			return error;
		}

		this.#options.onBug(isSessionError(error) ? foreignCode(this.#session, error) : error);
		return new SessionError('session_lost', `the server of ${this.#session.name} died`);
	}
}

export function connectLocal<S extends Session>(session: S, handlers: Handlers<S>, options: LocalOptions): Client<S> {
	const local = new LocalSession(session, options);
	const client: Record<string, (request: unknown) => Promise<unknown>> = {};
	for (const [index, name] of session.opNames.entries()) {
		const operation = wireOperations(session)[index];
		// Looked up at each call, so that tests can put another handler in its place.
		const table = handlers as unknown as Record<string, Handler>;
		const handler: Handler = (parsed, context) => table[name](parsed, context);
		// Not `async`: a promise that is handed through one more would arrive three turns of the microtask queue later.
		client[name] = request => local.call(operation, handler, request);
	}

	return client as unknown as Client<S>;
}
