/**
 * The client's end of a session to another thread. Calls stay here until they are answered, so that a stateless server
 * that was restarted can be sent them again; where it cannot come back they fail with `session_lost`. None is
 * forgotten.
 */
import {z} from 'zod';
import type {Lease} from '../sdk/component.js';
import {SessionError, type Client, type Session} from '../sdk/session.js';
import {isShared} from './arena.js';
import {CallTable} from './call-table.js';
import {LeasePool} from './lease-pool.js';
import {mayAnswer, parseReply} from './local.js';
import {openPort} from './open-port.js';
import type {SessionHandle, SessionPort} from './session-port.js';
import {fromWire, payloadLength, refused, toWire, wireOperations, type WireOperation} from './wire.js';

/** Calls of one session that its server has not answered yet; more wait at the client. */
const callsInFlightMax = 1024;
/** Calls that may wait at the client of one session. A client that makes more has a bug. */
const callsWaitingMax = 65_536;
/** Memory of one thread for payload that its components did not lease; calls wait for it in order. */
const copyMemory = 64 * 2 ** 20;

const copies = new LeasePool(copyMemory);

type Message = Record<string, unknown>;

interface Call {
	readonly operation: WireOperation;
	readonly request: Message;
	readonly resolve: (reply: unknown) => void;
	readonly reject: (error: unknown) => void;
}

type State =
	/** The server is there. */
	| 'connected'
	/** The server is there, but it is to be replaced: what it was sent gets answered, further calls are kept. */
	| 'held'
	/** The server is being restarted; calls are kept for it. */
	| 'interrupted'
	/** The server died with what the client had told it; calls fail until the client is connected anew. */
	| 'lost';

const Refusal = z.tuple([
	z.string(),
	z.string(),
	z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.undefined()])),
]);

export interface ConnectOptions {
	/** Another server than the last one. */
	readonly server?: string;
	/** The server's process sent what no honest one sends, or is gone (`isEnd`); calls wait for `disconnect`. */
	readonly onBroken?: (reason: string, isEnd: boolean) => void;
}

export interface ClientEndOptions {
	readonly session: Session;
	readonly server: string;
	/** The server broke the contract with a reply: it has to die. */
	onBadReply(reason: string, server: string): void;
}

function isPlain(request: Message, operation: WireOperation): boolean {
	for (const {name, mark} of operation.requestBulk) {
		const value = request[name];
		if (mark.shape === 'segments') {
			for (const part of value as Uint8Array[]) {
				if (part.length > 0 && !isShared(part)) {
					return true;
				}
			}
		} else if ((value as Uint8Array).length > 0 && !isShared(value as Uint8Array)) {
			return true;
		}
	}

	return false;
}

/** A request whose payload was moved to shared memory, and how to bring results back. */
class CopiedRequest {
	readonly request: Message;
	readonly #lease: Lease;
	readonly #results: Array<{from: Buffer; to: Uint8Array}> = [];
	#usedBytes = 0;

	constructor(request: Message, operation: WireOperation, lease: Lease) {
		this.#lease = lease;
		this.request = {...request};
		for (const {name, mark} of operation.requestBulk) {
			if (mark.shape === 'segments') {
				this.request[name] = (request[name] as Uint8Array[]).map(part =>
					this.#copy(part, mark.direction === 'out'),
				);
			} else {
				this.request[name] = this.#copy(
					request[name] as Uint8Array,
					mark.shape === 'buffer' && mark.direction === 'out',
				);
			}
		}
	}

	bringBack(): void {
		for (const {from, to} of this.#results) {
			to.set(from);
		}
	}

	release(): void {
		this.#lease.release();
	}

	#copy(part: Uint8Array, isResult: boolean): Uint8Array {
		const copy = this.#lease.bytes.subarray(this.#usedBytes, this.#usedBytes + part.length);
		this.#usedBytes += part.length;
		if (isResult) {
			this.#results.push({from: copy, to: part});
		} else {
			copy.set(part);
		}

		return copy;
	}
}

export class ClientEnd {
	readonly #session: Session;
	#server: string;
	readonly #operations: readonly WireOperation[];
	readonly #onBadReply: ClientEndOptions['onBadReply'];
	readonly #unanswered = new CallTable<Call>(callsInFlightMax);
	#waiting: Call[] = [];
	#port: SessionPort | undefined;
	#state: State = 'interrupted';
	/** While held: the calls that the server has been sent and not answered. */
	#underWay = new Set<number>();
	#onRest: (() => void) | undefined;

	constructor({session, server, onBadReply}: ClientEndOptions) {
		this.#session = session;
		this.#server = server;
		this.#operations = wireOperations(session);
		this.#onBadReply = onBadReply;
	}

	/** The functions that the component calls. A request belongs to its call until that is answered. */
	client(): Client<Session> {
		const client: Record<string, (request: Message) => Promise<unknown>> = {};
		for (const [index, name] of this.#session.opNames.entries()) {
			const operation = this.#operations[index];
			client[name] = request =>
				isPlain(request, operation) ? this.#callWithCopies(operation, request) : this.#call(operation, request);
		}

		return client as unknown as Client<Session>;
	}

	/** Connects to a server instance, and sends it whatever has not been answered. */
	connect(handle: SessionHandle, {server = this.#server, onBroken = () => undefined}: ConnectOptions = {}): void {
		this.#server = server;
		this.#port?.close();
		this.#port = openPort(handle, {
			end: 'client',
			onTriple: (number, kind, content) => {
				this.#receive(number, kind, content);
			},
			onBroken,
		});
		this.#underWay.clear();
		this.#becomeConnected();
	}

	/**
	 * Sends nothing more until the next `connect` or `release`; resolves when everything that was sent has been
	 * answered.
	 */
	async hold(): Promise<void> {
		if (this.#state !== 'connected') {
			return;
		}

		this.#state = 'held';
		this.#underWay = new Set(this.#unanswered.entries().map(([number]) => number));
		if (this.#underWay.size > 0) {
			await new Promise<void>(resolve => {
				this.#onRest = resolve;
			});
		}
	}

	/** Goes on with the server for whose replacement calls were held. */
	release(): void {
		if (this.#state === 'held') {
			this.#becomeConnected();
		}
	}

	/** The server is gone. `lost`: so is what it knew, hence every call fails until the next `connect`. */
	disconnect(lost: boolean): void {
		this.#port?.close();
		this.#port = undefined;
		this.#state = lost ? 'lost' : 'interrupted';
		this.#underWay.clear();
		this.#onRest?.();
		if (lost) {
			const waiting = this.#waiting;
			this.#waiting = [];
			for (const [number, call] of this.#unanswered.entries()) {
				this.#unanswered.take(number);
				call.reject(this.#lostError());
			}

			for (const call of waiting) {
				call.reject(this.#lostError());
			}
		}
	}

	#becomeConnected(): void {
		this.#state = 'connected';
		for (const [number, call] of this.#unanswered.entries()) {
			if (!this.#underWay.has(number)) {
				this.#send(number, call);
			}
		}

		this.#underWay.clear();
		this.#admitWaiting();
	}

	#lostError(): SessionError {
		return new SessionError('session_lost', `the session ${this.#session.name} to "${this.#server}" was lost`);
	}

	async #callWithCopies(operation: WireOperation, request: Message): Promise<unknown> {
		const copied = new CopiedRequest(
			request,
			operation,
			await copies.leaseWhenFree(payloadLength(operation.requestBulk, request)),
		);
		try {
			const reply = await this.#call(operation, copied.request);
			copied.bringBack();
			return reply;
		} finally {
			copied.release();
		}
	}

	#call(operation: WireOperation, request: Message): Promise<unknown> {
		return new Promise((resolve, reject) => {
			const call = {operation, request, resolve, reject};
			if (this.#state === 'lost') {
				reject(this.#lostError());
			} else if (!this.#unanswered.isFull) {
				this.#admit(call);
			} else if (this.#waiting.length < callsWaitingMax) {
				this.#waiting.push(call);
			} else {
				reject(new RangeError(`more than ${callsWaitingMax} calls wait for "${this.#server}"`));
			}
		});
	}

	#admit(call: Call): void {
		const number = this.#unanswered.add(call);
		if (this.#state === 'connected') {
			this.#send(number, call);
		}
	}

	#admitWaiting(): void {
		while (this.#waiting.length > 0 && !this.#unanswered.isFull) {
			this.#admit(this.#waiting.shift()!);
		}
	}

	#send(number: number, {operation, request, reject}: Call): void {
		const port = this.#port!;
		try {
			port.send(number, operation.index, toWire(operation.requestFields, request, port.link));
		} catch (error) {
			this.#unanswered.take(number);
			reject(error);
		}
	}

	#receive(number: number, kind: number, content: unknown[]): void {
		const call = this.#unanswered.take(number);
		if (!call) {
			return;
		}

		if (this.#underWay.delete(number) && this.#underWay.size === 0) {
			this.#onRest?.();
		}

		if (kind === refused) {
			this.#reject(call, content);
		} else {
			this.#resolve(call, content);
		}

		if (this.#waiting.length > 0) {
			this.#admitWaiting();
		}
	}

	#reject({operation, reject}: Call, content: readonly unknown[]): void {
		const refusal = Refusal.safeParse(content);
		const error = refusal.data && new SessionError(...refusal.data);
		if (error && mayAnswer(this.#session, error)) {
			reject(error);
			return;
		}

		this.#onBadReply(`its refusal of ${operation.title} does not fit the contract`, this.#server);
		reject(this.#lostError());
	}

	#resolve({operation, request, resolve, reject}: Call, content: unknown[]): void {
		const reply = fromWire(operation.replyFields, content, this.#port!.link);
		try {
			resolve(parseReply(operation, reply, request));
		} catch (error) {
			this.#onBadReply(error instanceof Error ? error.message : String(error), this.#server);
			reject(this.#lostError());
		}
	}
}
