/** Answers requests on `runtime.sock`, which only the user of the runtime may open (mode 0600). */
import {chmodSync, mkdtempSync, renameSync, rmSync} from 'node:fs';
import {createServer, type Server, type Socket} from 'node:net';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import type {z} from 'zod';
import type {Lease} from '../sdk/component.js';
import {LeasePool} from '../transport/lease-pool.js';
import {DeploymentError} from '../deployment/problem.js';
import {suggestName} from '../deployment/suggestion.js';
import type {CallFailure} from '../host/messages.js';
import {
	ControlRequest,
	controlLineMax,
	controlSocketPath,
	payloadByteLengthMax,
	type ControlReply,
	type EndReport,
} from './control-request.js';
import type {DeploymentFollower} from './deployment-follower.js';
import {LineReader} from './line-reader.js';
import type {ManagedChild} from './managed-child.js';
import {runtimeStatus} from './runtime-status.js';
import {socketPath, type SocketPath} from './socket-path.js';
import type {Supervision} from './supervision.js';

const connectionCountMax = 64;

/** Time for answers to be made that are under way when the runtime has ended. */
const lastAnswersMs = 1000;

/** Requests of users may take long: a passphrase is slow to try on purpose, and a wrong one is answered late. */
const callTimeLimitMs = 300_000;

/** Byte strings have no form in JSON: they are shown in hexadecimal. */
export function toJson(_key: string, value: unknown): unknown {
	return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
}

/** What a service that nobody provides is missed for, and what would bring it. */
const providers: Readonly<Record<string, string>> = {
	anchor_keys:
		'the binary "trust_anchor_file" provides it; with a TPM, or in the original\'s form, a trust anchor has no key slots: what opens it is chosen when it is made',
	file_system: 'the binary "vfs" provides it: add a <start> with it to the deployment file, as deploy.xml has it',
	device_control:
		'the binary "superblock_control" provides it; without that there are no snapshots, no extension, no rekeying',
};

function missingProvider(supervision: Supervision, service: string, name: string | undefined): string {
	const children = [...supervision.children];
	const provides = children
		.filter(({child}) => Object.values(child.component.provides).some(session => session.name === service))
		.map(({child}) => child.name);
	if (name === undefined) {
		return `no child provides the service ${service}${Object.hasOwn(providers, service) ? `; ${providers[service]}` : ''}`;
	}

	return children.some(({child}) => child.name === name)
		? `child "${name}" does not provide the service ${service}; ${provides.length > 0 ? `these do: ${provides.join(', ')}` : 'none does'}`
		: `there is no child "${name}"; ${suggestName(name, provides, `children with the service ${service}`)}`;
}

function provider(supervision: Supervision, service: string, name: string | undefined): ManagedChild {
	for (const managed of supervision.children) {
		const provides = Object.values(managed.child.component.provides).some(session => session.name === service);
		if (provides && (name === undefined || managed.child.name === name)) {
			return managed;
		}
	}

	throw new Error(missingProvider(supervision, service, name));
}

interface CallDone {
	readonly reply?: unknown;
	readonly failure?: CallFailure;
}

/** A request to a service of a child. */
export async function callService(
	supervision: Supervision,
	{service, operation, request, child}: Omit<Extract<ControlRequest, {op: 'call'}>, 'op'>,
): Promise<ControlReply> {
	const managed = await supervision.settledChild(() => provider(supervision, service, child));
	const done = await supervision.call<CallDone>(
		managed,
		id => ({type: 'call', id, child: managed.child.name, service, operation, request: request ?? {}}),
		callTimeLimitMs,
	);
	if (!done) {
		return {ok: false, code: 'not_running', message: `child "${managed.child.name}" does not answer`};
	}

	if (done.failure) {
		return {ok: false, code: done.failure.code, message: done.failure.message};
	}

	// A component in a process of its own may have sent anything.
	const session = Object.values(managed.child.component.provides).find(({name}) => name === service);
	const reply = session?.ops[operation]?.reply.safeParse(done.reply);
	return reply?.success
		? {ok: true, result: reply.data}
		: {ok: false, code: 'failed', message: `the reply of "${managed.child.name}" does not fit the contract`};
}

/** What `runtime.sock` gives access to. */
export interface Controlled {
	readonly supervision: Supervision;
	/** Missing where the deployment comes from no file. */
	readonly follower: DeploymentFollower | undefined;
}

function followerOf({follower}: Controlled): DeploymentFollower {
	if (!follower) {
		throw new Error('this deployment comes from no file');
	}

	return follower;
}

async function answer(controlled: Controlled, request: ControlRequest): Promise<ControlReply> {
	const {supervision, follower} = controlled;
	switch (request.op) {
		case 'status': {
			return {ok: true, result: await runtimeStatus(supervision, follower?.status)};
		}

		case 'diff': {
			return {ok: true, result: await followerOf(controlled).difference(request.file)};
		}

		case 'apply': {
			return {ok: true, result: await followerOf(controlled).apply()};
		}

		case 'restart': {
			await supervision.restart(request.name);
			return {ok: true, result: {}};
		}

		case 'call': {
			return callService(supervision, request);
		}

		case 'stop': {
			await supervision.end(0);
			return {
				ok: true,
				result: {
					exitCode: await supervision.ended.promise,
					problems: supervision.endProblems,
				} satisfies EndReport,
			};
		}

		case 'ending': {
			return {ok: true, result: supervision.endStage ?? null};
		}
	}
}

async function answerSafely(controlled: Controlled, request: ControlRequest): Promise<ControlReply> {
	try {
		return await answer(controlled, request);
	} catch (error) {
		if (error instanceof DeploymentError) {
			return {ok: false, code: 'wrong_deployment', message: error.message};
		}

		return {ok: false, code: 'failed', message: error instanceof Error ? error.message : String(error)};
	}
}

/** The line of a reply, and the bytes that follow it where the request asked for them like that. */
function encodeReply(reply: ControlReply, raw: boolean): Array<string | Uint8Array> {
	const data =
		raw && reply.ok && typeof reply.result === 'object' && reply.result !== null && 'data' in reply.result
			? reply.result.data
			: undefined;
	return data instanceof Uint8Array
		? [
				`${JSON.stringify({ok: true, result: {...(reply as {result: object}).result, data: undefined}, payload: data.length}, toJson)}\n`,
				data,
			]
		: [`${JSON.stringify(reply, toJson)}\n`];
}

/** Undefined, and why, for a line that is no request. */
function parseRequest(line: string): z.output<typeof ControlRequest> | string {
	try {
		const parsed = ControlRequest.safeParse(JSON.parse(line));
		return parsed.success ? parsed.data : parsed.error.message;
	} catch (error) {
		return (error as Error).message;
	}
}

/** Requests of one connection that wait; a client that sends more is not read from meanwhile. */
const waitingCountMax = 16;

/**
 * Memory for what reads bring, used by one after another: a piece for each would be fetched from the system and
 * collected again.
 */
const readMemory = new LeasePool(16 * payloadByteLengthMax);

/**
 * Memory for the answer of a request that reads a file; undefined for others, and where so many are under way that this
 * one takes its own.
 */
function tryLease(request: z.output<typeof ControlRequest> | string): Lease | undefined {
	const isRead =
		typeof request !== 'string' &&
		request.op === 'call' &&
		request.raw === true &&
		request.service === 'file_system' &&
		request.operation === 'read';
	const {length} = isRead ? request.request : {};
	return typeof length === 'number' &&
		Number.isInteger(length) &&
		length > 0 &&
		length <= payloadByteLengthMax &&
		readMemory.usedBytes + payloadByteLengthMax <= readMemory.limit
		? readMemory.lease(length)
		: undefined;
}

/** Who has not answered yet may still write there. */
function isInUse(reply: ControlReply): boolean {
	return !reply.ok && reply.code === 'not_running';
}

/** Requests of one connection are answered one after the other. */
function serve(controlled: Controlled, socket: Socket, answers: Set<Promise<void>>): void {
	let turn = Promise.resolve();
	let waitingCount = 0;
	const reader = new LineReader({
		lengthMax: controlLineMax,
		payloadLengthOf(line) {
			const request = parseRequest(line);
			return typeof request !== 'string' && request.op === 'call' ? (request.payload ?? 0) : 0;
		},
		onLine(line, payload) {
			if (++waitingCount === waitingCountMax) {
				socket.pause();
			}

			const made = turn.then(async () => {
				const request = parseRequest(line);
				const lease = tryLease(request);
				const reply: ControlReply =
					typeof request === 'string'
						? {ok: false, code: 'failed', message: request}
						: await answerSafely(controlled, withMemory(request, payload, lease?.bytes));
				const free = () => {
					if (!isInUse(reply)) {
						lease?.release();
					}
				};

				if (socket.writable) {
					const parts = encodeReply(
						reply,
						typeof request !== 'string' && request.op === 'call' && request.raw === true,
					);
					socket.cork();
					for (const [i, part] of parts.entries()) {
						socket.write(part, i === parts.length - 1 ? free : undefined);
					}

					socket.uncork();
				} else {
					free();
				}

				if (waitingCount-- === waitingCountMax) {
					socket.resume();
				}
			});
			turn = made;
			answers.add(made);
			void made.finally(() => answers.delete(made));
		},
	});
	socket.on('error', () => {
		socket.destroy();
	});
	socket.on('data', (data: Buffer) => {
		try {
			reader.take(data);
		} catch {
			socket.destroy();
		}
	});
}

/** The request with what does not fit a line: its payload, and memory for that of the answer. */
function withMemory(
	request: z.output<typeof ControlRequest>,
	data: Buffer | undefined,
	into: Buffer | undefined,
): ControlRequest {
	return request.op === 'call' && (data ?? into)
		? {...request, request: {...request.request, ...(data && {data}), ...(into && {into})}}
		: request;
}

export class ControlServer {
	readonly #server: Server;
	readonly #sockets = new Set<Socket>();
	readonly #answers = new Set<Promise<void>>();
	#path: string | undefined;
	/** Node.js removes what it has bound when it closes, so the way there stays open until then. */
	#bound: SocketPath | undefined;

	constructor(controlled: Controlled) {
		this.#server = createServer(socket => {
			this.#sockets.add(socket);
			socket.on('close', () => {
				this.#sockets.delete(socket);
			});
			serve(controlled, socket, this.#answers);
		});
		this.#server.maxConnections = connectionCountMax;
	}

	/**
	 * The socket is made in a directory that others cannot enter, and moved once its mode is right. The caller holds
	 * the state directory's lock, so a socket that is there already belongs to nobody.
	 */
	async listen(stateDirectory: string): Promise<void> {
		const path = controlSocketPath(stateDirectory);
		const cradle = mkdtempSync(join(stateDirectory, 'new-'));
		const newPath = join(cradle, 'sock');
		const bound = socketPath(cradle, 'sock');
		this.#bound = bound;
		try {
			await new Promise<void>((resolve, reject) => {
				this.#server.once('error', reject);
				this.#server.listen(bound.path, resolve);
			});
			chmodSync(newPath, 0o600);
			renameSync(newPath, path);
			this.#path = path;
		} finally {
			rmSync(cradle, {recursive: true});
		}
	}

	/** Lets answers out that come within a moment, then closes. */
	async close(): Promise<void> {
		this.#server.close(() => {
			this.#bound?.release();
		});
		if (this.#path) {
			rmSync(this.#path, {force: true});
		}

		await Promise.race([Promise.all(this.#answers), setTimeout(lastAnswersMs, undefined, {ref: false})]);

		for (const socket of this.#sockets) {
			socket.destroySoon();
		}
	}
}
