/** The server's end of a session to another thread: checks requests, runs their handlers, sends replies. */
import {isSessionError, type SessionError, type ClientContext, type Handlers, type Session} from '../sdk/session.js';
import {foreignCode, mayAnswer, parseRequest, type BugHandler} from './local.js';
import {openPort} from './open-port.js';
import type {SessionHandle, SessionPort} from './session-port.js';
import {answered, fromWire, payloadLength, refused, toWire, wireOperations, type WireOperation} from './wire.js';

type Handler = (request: unknown, context: ClientContext) => unknown;

export interface ServerEndOptions {
	readonly session: Session;
	readonly handlers: Handlers<Session>;
	readonly context: ClientContext;
	/** A handler threw what is no error of its contract: the component has to die. */
	onBug: BugHandler;
	/** Counts a finished request and its payload. */
	count(byteLength: number): void;
	/** The client's process sent what no honest one sends, or is gone (`isEnd`). */
	onBroken?(reason: string, isEnd: boolean): void;
}

export class ServerEnd {
	readonly #session: Session;
	readonly #operations: readonly WireOperation[];
	readonly #handlers: readonly Handler[];
	readonly #context: ClientContext;
	readonly #onBug: BugHandler;
	readonly #count: (byteLength: number) => void;
	readonly #port: SessionPort;
	#runningCount = 0;
	#onIdle: (() => void) | undefined;

	constructor(
		handle: SessionHandle,
		{session, handlers, context, onBug, count, onBroken = () => undefined}: ServerEndOptions,
	) {
		this.#session = session;
		this.#operations = wireOperations(session);
		const table = handlers as unknown as Record<string, Handler>;
		this.#handlers = session.opNames.map(name => table[name].bind(table));
		this.#context = context;
		this.#onBug = onBug;
		this.#count = count;
		this.#port = openPort(handle, {
			end: 'server',
			onTriple: (number, kind, content) => {
				this.#serve(number, kind, content);
			},
			onBroken,
		});
	}

	/** Accepts nothing more; resolves when the handlers that still run for this client have ended. */
	async close(): Promise<void> {
		this.#port.close();
		if (this.#runningCount > 0) {
			await new Promise<void>(resolve => {
				this.#onIdle = resolve;
			});
		}
	}

	#serve(number: number, kind: number, content: unknown[]): void {
		if (this.#port.closed) {
			return;
		}

		const operation = this.#operations.at(kind);
		if (!operation) {
			throw new RangeError(`a call of operation ${kind}, which ${this.#session.name} does not have`);
		}

		let request: Record<string, unknown>;
		try {
			request = parseRequest(operation, fromWire(operation.requestFields, content, this.#port.link));
		} catch (error) {
			if (!isSessionError(error)) {
				throw error;
			}

			this.#refuse(number, error);
			return;
		}

		this.#runningCount++;
		try {
			const reply = this.#handlers[kind](request, this.#context);
			if (reply instanceof Promise) {
				this.#finishLater(number, operation, request, reply);
			} else {
				this.#finish(number, operation, request, reply);
			}
		} catch (error) {
			this.#fail(number, error);
		}
	}

	#finishLater(
		number: number,
		operation: WireOperation,
		request: Record<string, unknown>,
		reply: Promise<unknown>,
	): void {
		reply.then(
			value => {
				this.#finish(number, operation, request, value);
			},
			(error: unknown) => {
				this.#fail(number, error);
			},
		);
	}

	#finish(number: number, operation: WireOperation, request: Record<string, unknown>, reply: unknown): void {
		this.#count(payloadLength(operation.requestBulk, request));
		if (!this.#port.closed) {
			try {
				this.#port.send(
					number,
					answered,
					toWire(operation.replyFields, reply as Record<string, unknown>, this.#port.link),
				);
			} catch (error) {
				this.#onBug(error);
			}
		}

		this.#ended();
	}

	#fail(number: number, error: unknown): void {
		this.#count(0);
		if (isSessionError(error) && mayAnswer(this.#session, error)) {
			this.#refuse(number, error);
		} else {
			this.#onBug(isSessionError(error) ? foreignCode(this.#session, error) : error);
		}

		this.#ended();
	}

	#refuse(number: number, {code, message, detail}: SessionError): void {
		if (!this.#port.closed) {
			this.#port.send(number, refused, [code, message, detail]);
		}
	}

	#ended(): void {
		this.#runningCount--;
		if (this.#runningCount === 0) {
			this.#onIdle?.();
		}
	}
}
