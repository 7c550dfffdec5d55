/**
 * What the supervisor and a host, in a worker thread or a process of its own, tell each other. Ends of sessions travel
 * in these messages.
 */
import type {SharedSecrets} from '../process/process-secrets.js';
import type {LogLevel} from '../sdk/component.js';
import type {EnvironmentService} from '../sdk/environment-service.js';
import type {SessionErrorDetail} from '../sdk/session.js';
import type {Bell} from '../transport/doorbell.js';
import type {SessionHandle} from '../transport/session-port.js';

export interface HostedChild {
	readonly name: string;
	readonly modulePath: string;
	readonly config: unknown;
	/** Bytes of payload memory that it may lease. */
	readonly leaseLimit: number;
	/** Sessions routed to it, by service. */
	readonly clientCounts: Readonly<Record<string, number>>;
	readonly cpuCount: number;
	/** What the deployment lets it have of the runtime. */
	readonly environment: readonly EnvironmentService[];
}

/** `workerData` of a host. */
export interface HostData {
	readonly stateDirectory: string;
	/** Bytes: the quanta of all children together. */
	readonly ramQuantum: number;
	readonly children: readonly HostedChild[];
}

/** What a worker thread starts with. */
export interface ThreadData extends HostData {
	readonly secrets: SharedSecrets;
	/** By which other threads know this one. */
	readonly bell: Bell;
}

export type Interruption = 'restarted' | 'reset';

/** A session that a starting child requires; without a port, its server is a child of the same thread. */
export interface Connection {
	readonly label: string;
	readonly service: string;
	readonly session: number;
	readonly server: string;
	/** Who the client is to the server. */
	readonly client: string;
	readonly port: SessionHandle | undefined;
}

export type ToHost =
	| {readonly type: 'start'; readonly child: string; readonly connections: readonly Connection[]}
	/** A client on another thread has a session to one of this thread's children. */
	| {
			readonly type: 'serve';
			readonly child: string;
			readonly service: string;
			readonly session: number;
			readonly client: string;
			readonly port: SessionHandle;
	  }
	/** The client of a session is gone; answered by `closed` when no handler runs for it any more. */
	| {readonly type: 'close'; readonly child: string; readonly session: number}
	/** The server of a session is gone. `lost`: pending requests fail. */
	| {readonly type: 'disconnect'; readonly child: string; readonly label: string; readonly lost: boolean}
	/** The server of a session is to be replaced; answered by `held` when it has answered everything. */
	| {readonly type: 'hold'; readonly child: string; readonly label: string; readonly session: number}
	/** The server of a session is not replaced after all. */
	| {readonly type: 'release'; readonly child: string; readonly label: string}
	/**
	 * The server of a session is back, or another one took its place; answered by `connected` when the child has done
	 * what it has to do then. On trial, the child outlives that it could not.
	 */
	| {
			readonly type: 'connect';
			readonly child: string;
			readonly label: string;
			readonly session: number;
			readonly server: string;
			readonly port: SessionHandle;
			readonly how: Interruption;
			readonly onTrial: boolean;
	  }
	/** State somewhere behind a session went back to the last secured one. */
	| {readonly type: 'interrupt'; readonly child: string; readonly label: string; readonly how: Interruption}
	| {readonly type: 'stop'; readonly child: string}
	| {readonly type: 'beat'}
	/** The thread ends at once, of its own accord, so that what native code holds is closed. */
	| {readonly type: 'end'}
	| {readonly type: 'inspect'; readonly id: number}
	/** A request of the runtime's own user to a service of a child. */
	| {
			readonly type: 'call';
			readonly id: number;
			readonly child: string;
			readonly service: string;
			readonly operation: string;
			readonly request: unknown;
	  };

/** What a host counts of a child. */
export interface ChildFigures {
	readonly sessions: number;
	readonly requests: number;
	/** Bytes of payload in these requests. */
	readonly bytes: number;
	/** Bytes of payload memory that it leases now. */
	readonly leasedBytes: number;
	/** Bytes of payload memory that it keeps, leased or for later. */
	readonly arenaBytes: number;
	/** Bytes of the JavaScript heap, and of buffers beside it, of its thread: the same for all children on one. */
	readonly heapBytes: number;
	readonly externalBytes: number;
	/** The component's own values. */
	readonly details: Readonly<Record<string, string | number>>;
}

export interface CallFailure {
	readonly code: string;
	readonly message: string;
	readonly detail: SessionErrorDetail;
}

export type FromHost =
	/** The host runs; `tid` is the Linux thread id as it sees it itself. */
	| {readonly type: 'ready'; readonly tid: number}
	| {readonly type: 'started'; readonly child: string; readonly hints: readonly string[]}
	| {readonly type: 'start_failed'; readonly child: string; readonly message: string}
	| {readonly type: 'closed'; readonly session: number}
	| {readonly type: 'held'; readonly session: number}
	| {readonly type: 'connected'; readonly session: number; readonly problem: string | undefined}
	| {readonly type: 'stopped'; readonly child: string; readonly problem: string | undefined}
	| {
			readonly type: 'finished';
			readonly child: string;
			readonly exitValue: number;
			readonly message: string | undefined;
	  }
	| {readonly type: 'log'; readonly child: string; readonly level: LogLevel; readonly text: string}
	| {readonly type: 'beat'}
	/** Sent right before the thread ends because of a fault. */
	| {readonly type: 'died'; readonly child: string | undefined; readonly reason: string}
	/** The server of a session sent what its contract does not allow. */
	| {readonly type: 'bad_reply'; readonly server: string; readonly reason: string}
	/** The other process of a session sent what no honest one sends, or is gone (`isEnd`). */
	| {readonly type: 'session_broken'; readonly session: number; readonly reason: string; readonly isEnd: boolean}
	| {readonly type: 'figures'; readonly id: number; readonly children: Readonly<Record<string, ChildFigures>>}
	| {readonly type: 'call_done'; readonly id: number; readonly reply?: unknown; readonly failure?: CallFailure};

/** Shorter payload is copied faster than it changes hands. */
const handedOverLengthMin = 64 * 1024;

/** Memory of a call's payload that goes to the other thread instead of a copy: the sender gives it away. */
export function handedOver(message: FromHost | ToHost): ArrayBuffer[] {
	const body = message.type === 'call' ? message.request : message.type === 'call_done' ? message.reply : undefined;
	const data = typeof body === 'object' && body !== null && 'data' in body ? body.data : undefined;
	return data instanceof Uint8Array &&
		data.length >= handedOverLengthMin &&
		data.buffer instanceof ArrayBuffer &&
		data.byteLength === data.buffer.byteLength
		? [data.buffer]
		: [];
}
