/**
 * A provider under test in a process of its own, behind sockets as the runtime would put it, in the test's environment.
 */
import {spawn} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import type {Component, Running} from '../../runtime/sdk/component.js';
import type {Client, ClientContext, Handlers, Session} from '../../runtime/sdk/session.js';
import {closeDescriptor, passDescriptor, socketPair} from '../../runtime/isolation/socket-pair.js';
import {ClientEnd} from '../../runtime/transport/client-end.js';
import {FrameSocket} from '../../runtime/transport/frame-socket.js';
import type {FromProvider, Status, ToProvider, WithoutProvider} from './provider-messages.js';
import type {TestEnvironment} from './test-environment.js';

const program = fileURLToPath(new URL('provider-host.js', import.meta.url));

/** The process that all providers of one test file share. It ends with the test's. */
class ProviderHost {
	readonly #providers = new Map<number, ProviderProcess>();
	readonly #control: FrameSocket;
	readonly #sessions: number;

	constructor() {
		const [control, theirControl] = socketPair();
		const [sessions, theirSessions] = socketPair();
		this.#sessions = sessions;
		const host = spawn(process.execPath, [program], {
			stdio: ['ignore', 'inherit', 'inherit', theirControl, theirSessions],
		});
		host.unref();
		closeDescriptor(theirControl);
		closeDescriptor(theirSessions);
		this.#control = new FrameSocket(control, {
			place: () => [],
			onFrame: header => {
				const message = header as FromProvider;
				this.#providers.get(message.provider)?.receive(message);
			},
			onBroken: reason => {
				for (const provider of this.#providers.values()) {
					provider.settle(new Error(reason));
				}
			},
		});
	}

	add(number: number, provider: ProviderProcess): void {
		this.#providers.set(number, provider);
	}

	/** Ends the process, and every session with it. */
	close(): void {
		this.#control.close();
		closeDescriptor(this.#sessions);
		for (const provider of this.#providers.values()) {
			provider.disconnect();
		}
	}

	send(message: ToProvider): void {
		this.#control.send(message);
	}

	pass(fd: number): void {
		passDescriptor(this.#sessions, fd);
	}
}

let host: ProviderHost | undefined;
let providerCount = 0;

/** When all tests of a file are over. */
export function endProviderProcess(): void {
	host?.close();
	host = undefined;
}

/** Tests compare byte strings of replies with ones that are no Buffers. */
function plainBytes(value: unknown): unknown {
	if (value instanceof Uint8Array) {
		return new Uint8Array(value);
	}

	return typeof value === 'object' && value !== null && !Array.isArray(value)
		? Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plainBytes(field)]))
		: value;
}

type Calls = Readonly<Record<string, (request: unknown) => Promise<unknown>>>;

function withPlainBytes(session: Session, calls: Calls, inOrder: () => Promise<void>): Calls {
	return Object.fromEntries(
		session.opNames.map(name => [
			name,
			async (request: unknown) => {
				await inOrder();
				return plainBytes(await calls[name](request));
			},
		]),
	);
}

export class ProviderProcess {
	readonly bugs: unknown[] = [];
	readonly #component: Component;
	readonly #env: TestEnvironment;
	readonly #host: ProviderHost;
	readonly #number = ++providerCount;
	readonly #waiting: Array<{readonly resolve: () => void; readonly reject: (error: Error) => void}> = [];
	readonly #ends: Array<{readonly end: ClientEnd; readonly link: () => void}> = [];
	#status: Status = {};
	#isStopped = false;
	/** What further calls have to wait for: they go another way. */
	#inOrder = Promise.resolve();
	#sessionCount = 1000;

	constructor(name: string, component: Component, env: TestEnvironment, config: unknown) {
		this.#component = component;
		this.#env = env;
		host ??= new ProviderHost();
		this.#host = host;
		this.#host.add(this.#number, this);
		const {stateDirectory, variables, leaseLimit, claims} = env;
		const nonce = env.randomBytes(12);
		this.#send({
			type: 'begin',
			sketch: {
				name,
				config,
				stateDirectory,
				variables,
				leaseLimit,
				isClaiming: claims !== undefined,
				fixedNonceLength: nonce.every(byte => byte === 0x5a) ? nonce.length : undefined,
			},
		});
	}

	async started(): Promise<Running<Record<string, Session>>> {
		await this.#answer();
		const sessions = Object.values(this.#component.provides);
		return {
			provides: Object.fromEntries(
				sessions.map(session => [session.name, this.connect(session) as unknown as Handlers<Session>]),
			),
			clientGone: (service, session) => {
				this.#send({type: 'client_gone', service, session});
				this.#inOrder = this.#answer();
			},
			status: () => this.#status,
			stop: async () => this.#stop(),
		};
	}

	connect<S extends Session>(
		session: S,
		{session: number = ++this.#sessionCount, client = 'client'}: Partial<ClientContext> = {},
	): Client<S> {
		const end = new ClientEnd({
			session,
			server: 'provider',
			onBadReply: reason => void this.bugs.push(reason),
		});
		const link = () => {
			const [ours, theirs] = socketPair();
			this.#host.pass(theirs);
			this.#send({type: 'serve', service: session.name, session: number, client});
			end.connect(
				{socket: ours},
				{
					onBroken: (reason, isEnd) => {
						if (!isEnd) {
							this.bugs.push(reason);
						}

						end.disconnect(true);
					},
				},
			);
		};

		link();
		this.#ends.push({end, link});
		return withPlainBytes(session, end.client(), async () => this.#inOrder) as unknown as Client<S>;
	}

	disconnect(): void {
		for (const {end} of this.#ends) {
			end.disconnect(true);
		}
	}

	/** A bug ends what was asked for, as where the runtime ends a component. Tests may ask on what has become of it. */
	#failCalls(): void {
		for (const {end, link} of this.#ends) {
			end.disconnect(true);
			link();
		}
	}

	/** It still answers afterwards, as far as the component does. */
	async #stop(): Promise<void> {
		if (!this.#isStopped) {
			this.#isStopped = true;
			this.#send({type: 'stop'});
			await this.#answer();
		}
	}

	async #answer(): Promise<void> {
		await new Promise<void>((resolve, reject) => {
			this.#waiting.push({resolve, reject});
		});
	}

	settle(error?: Error): void {
		for (const {resolve, reject} of this.#waiting.splice(0)) {
			if (error) {
				reject(error);
			} else {
				resolve();
			}
		}
	}

	#send(message: WithoutProvider<ToProvider>): void {
		this.#host.send({...message, provider: this.#number});
	}

	receive(message: FromProvider): void {
		switch (message.type) {
			case 'started':
			case 'status': {
				this.#status = message.status;
				if (message.type === 'started') {
					this.settle();
				}

				break;
			}

			case 'done': {
				this.settle();
				break;
			}

			case 'failed': {
				this.settle(new Error(message.message));
				break;
			}

			case 'log': {
				this.#env.log(message.text, message.level);
				break;
			}

			case 'sleep': {
				void this.#env.sleep(message.milliseconds).then(() => {
					this.#send({type: 'wake', id: message.id, now: this.#env.now()});
				});
				break;
			}

			case 'bug': {
				this.bugs.push(new Error(message.message));
				this.#failCalls();
			}
		}
	}
}
