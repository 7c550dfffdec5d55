/** One isolated process with a host in it, from its start to the reason of its end. */
import {spawn, type ChildProcess} from 'node:child_process';
import type {Readable} from 'node:stream';
import type {ResourceLimits} from 'node:worker_threads';
import {fileURLToPath} from 'node:url';
import {readFromHost} from '../host/from-host.js';
import type {FromHost, ToHost} from '../host/messages.js';
import type {ProcessStart} from '../host/process-start.js';
import {confinedCommand} from '../isolation/confinement.js';
import {closeDescriptor, passDescriptor, socketPair} from '../isolation/socket-pair.js';
import type {ReachedFile} from '../sdk/component.js';
import {withOpenFilesMax} from '../sdk/open-files.js';
import {FrameSocket} from '../transport/frame-socket.js';
import {isSocket, type SessionHandle} from '../transport/session-port.js';
import {Heartbeat} from './heartbeat.js';
import {quantumRemedy} from '../deployment/ram-share.js';
import type {GroupHost, HostEnd, HostOptions} from './group-host.js';

const hostModule = fileURLToPath(new URL('../host/process-main.js', import.meta.url));

/** How long a process may take to end itself. */
const endMsMax = 500;

/** Messages of a process within a second; more are a flood. */
const messagesPerSecondMax = 20_000;

/** What is kept of the last words of a process. */
const lastWordsLengthMax = 16 * 1024;

const signalExitCode = 128;

export interface ProcessOptions extends HostOptions {
	readonly limits: ResourceLimits;
	readonly sandbox: ProcessStart['sandbox'];
	readonly mayMiss: boolean;
	/** False where the system cannot confine it, and the deployment says to go on. */
	readonly isConfined: boolean;
	readonly files: readonly ReachedFile[];
	readonly variables: readonly string[];
	/** A socket from which it reads its secrets. */
	readonly secrets: number;
}

function minimalEnvironment(variables: readonly string[]): Record<string, string> {
	return Object.fromEntries(
		['LANG', 'TZ', ...variables].flatMap(name => {
			const value = process.env[name];
			return value === undefined ? [] : [[name, value]];
		}),
	);
}

function nodeArguments({maxOldGenerationSizeMb, maxYoungGenerationSizeMb}: ResourceLimits): string[] {
	return [
		'--expose-gc',
		'--no-warnings',
		`--max-old-space-size=${maxOldGenerationSizeMb}`,
		`--max-semi-space-size=${Math.max(1, Math.floor((maxYoungGenerationSizeMb ?? 3) / 3))}`,
		hostModule,
	];
}

export class ComponentProcess implements GroupHost {
	readonly bell = undefined;
	tid: number | undefined;
	readonly #process: ChildProcess;
	readonly #control: FrameSocket;
	readonly #sessions: number;
	readonly #children: readonly string[];
	readonly #heartbeat: Heartbeat;
	readonly #options: ProcessOptions;
	#end: Pick<HostEnd, 'child' | 'reason'> | undefined;
	#force: NodeJS.Timeout | undefined;
	#lastWords = '';
	#isOver = false;
	#secondBegan = 0;
	#messagesInSecond = 0;
	#onTid: (() => void) | undefined;

	constructor(options: ProcessOptions) {
		const {data, limits, sandbox, mayMiss, files, isConfined, variables, secrets} = options;
		this.#options = options;
		this.#heartbeat = new Heartbeat(this, text => {
			options.onMessage({type: 'log', child: data.children[0].name, level: 'warning', text});
		});
		this.#children = data.children.map(({name}) => name);
		const [control, theirControl] = socketPair();
		const [sessions, theirSessions] = socketPair();
		this.#sessions = sessions;
		const {command, arguments: words} = isConfined
			? confinedCommand(
					{
						files,
						modulePaths: data.children.map(({modulePath}) => modulePath),
						stateDirectory: data.stateDirectory,
					},
					nodeArguments(limits),
				)
			: {command: process.execPath, arguments: nodeArguments(limits)};
		this.#process = spawn(command, words, {
			stdio: ['ignore', 'ignore', 'pipe', theirControl, theirSessions, 'pipe', secrets],
			env: {
				...minimalEnvironment(variables),
				...(isConfined ? {PATH: process.env['PATH'] ?? '/usr/bin:/bin'} : {}),
			},
			cwd: '/',
		});
		for (const fd of [theirControl, theirSessions, secrets]) {
			closeDescriptor(fd);
		}

		this.#control = new FrameSocket(control, {
			place(_header, payloadLength) {
				if (payloadLength > 0) {
					throw new RangeError('a message to the runtime with payload');
				}

				return [];
			},
			onFrame: header => {
				this.#receive(readFromHost(header, this.#children));
			},
			onBroken: (reason, isEnd) => {
				if (!isEnd) {
					this.kill(`cut off: it sent ${reason}`);
				} else if (!this.#isOver) {
					// Mostly its end, whose reason is better known when it has ended.
					this.#force ??= setTimeout(() => {
						this.#killNow(reason);
					}, endMsMax);
				}
			},
		});
		this.#control.send({type: 'begin', data, sandbox, mayMiss} satisfies ProcessStart);
		this.#watch(isConfined);
	}

	get pid(): number | undefined {
		return this.tid;
	}

	post(message: ToHost, ends: readonly SessionHandle[] = []): void {
		if (this.#isOver) {
			return;
		}

		try {
			for (const end of ends) {
				if (!isSocket(end)) {
					throw new TypeError('a message port leads to no other process');
				}

				passDescriptor(this.#sessions, end.socket);
			}

			this.#control.send(message);
		} catch (error) {
			this.kill((error as Error).message);
		}
	}

	kill(reason: string, child?: string): void {
		this.#end ??= {child, reason};
		this.#control.send({type: 'end'} satisfies ToHost);
		this.#force ??= setTimeout(() => {
			this.#killNow(reason);
		}, endMsMax);
	}

	beatEvery(heartbeatMs: number | undefined): void {
		this.#heartbeat.every(heartbeatMs);
	}

	#killNow(reason: string): void {
		this.#end ??= {child: undefined, reason};
		if (this.tid !== undefined) {
			try {
				process.kill(this.tid, 'SIGKILL');
			} catch {
				// It has ended already.
			}
		}

		this.#process.kill('SIGKILL');
	}

	#watch(isConfined: boolean): void {
		const [, , words, , , information] = this.#process.stdio as unknown as Readable[];
		words.setEncoding('utf8').on('data', (text: string) => {
			this.#lastWords = (this.#lastWords + text).slice(-lastWordsLengthMax);
		});
		if (isConfined) {
			let text = '';
			information.setEncoding('utf8').on('data', (part: string) => {
				text += part;
				this.#setTid(Number(/"child-pid":\s*(\d+)/.exec(text)?.[1] ?? Number.NaN));
			});
		} else {
			information.destroy();
			this.#setTid(this.#process.pid ?? Number.NaN);
		}

		this.#process.on('error', error => {
			this.#end ??= {
				child: undefined,
				reason: withOpenFilesMax(`its process cannot be started: ${error.message}`),
			};
			this.#finish(1, null);
		});
		this.#process.on('close', (code, signal) => {
			this.#finish(code ?? 1, signal);
		});
	}

	#setTid(tid: number): void {
		if (Number.isSafeInteger(tid) && this.tid === undefined) {
			this.tid = tid;
			this.#onTid?.();
		}
	}

	#receive(message: FromHost): void {
		this.#countMessage();
		if (message.type === 'beat') {
			this.#heartbeat.beat();
		} else if (message.type === 'ready') {
			this.#becomeReady(message);
		} else {
			if (message.type === 'died') {
				this.#end ??= message;
			}

			this.#options.onMessage(message);
		}
	}

	#becomeReady(message: FromHost): void {
		if (this.tid === undefined) {
			this.#onTid = () => {
				this.#becomeReady(message);
			};
			return;
		}

		this.beatEvery(this.#options.heartbeatMs);
		this.#options.onMessage(message);
	}

	/** @throws RangeError where there are too many of them */
	#countMessage(): void {
		const now = performance.now();
		if (now - this.#secondBegan > 1000) {
			this.#secondBegan = now;
			this.#messagesInSecond = 0;
		}

		if (++this.#messagesInSecond > messagesPerSecondMax) {
			throw new RangeError(`more than ${messagesPerSecondMax} messages within a second`);
		}
	}

	#finish(exitCode: number, signal: NodeJS.Signals | null): void {
		if (this.#isOver) {
			return;
		}

		this.#isOver = true;
		this.#heartbeat.stop();
		clearTimeout(this.#force);
		this.#control.close();
		closeDescriptor(this.#sessions);
		this.#options.onEnd({
			...(this.#end ?? {child: undefined, reason: this.#describeEnd(exitCode, signal)}),
			exitCode,
			isFault: this.#end !== undefined || signal !== null || exitCode > signalExitCode,
		});
	}

	#describeEnd(exitCode: number, signal: NodeJS.Signals | null): string {
		if (/heap out of memory/.test(this.#lastWords)) {
			const {maxOldGenerationSizeMb = 0, maxYoungGenerationSizeMb = 0} = this.#options.limits;
			return `exceeded its RAM quantum: the heap's share of it is ${maxOldGenerationSizeMb + maxYoungGenerationSizeMb} MiB; ${quantumRemedy}`;
		}

		const words =
			this.#lastWords
				.trim()
				.split('\n')
				.at(-1)
				?.replaceAll(/\p{Cc}/gu, '?') ?? '';
		const how = signal
			? `was ended by ${signal}`
			: exitCode > signalExitCode
				? `was ended by signal ${exitCode - signalExitCode}`
				: `exited with code ${exitCode}`;
		return words === '' ? how : `${how}: ${words}`;
	}
}
