/** One end of a session's way to another thread (rings in shared memory) or another process (a socket). */
import type {MessagePort} from 'node:worker_threads';
import type {BulkDirection} from '../sdk/session.js';
import type {Bell} from './doorbell.js';

/** A number of the call, what it is about, and its fields; see `wire.ts`. */
export type OnTriple = (number: number, kind: number, content: unknown[]) => void;

/** How the payload of a message is named in it. */
export interface PayloadLink {
	/** Makes bytes known to the other end; the number goes into the message, before offset and length. */
	show(bytes: Uint8Array, direction: BulkDirection): number;
	/** The bytes that the other end has named. @throws RangeError where it may not name them */
	view(place: number, offset: number, length: number): Buffer;
}

export interface SessionPort {
	readonly link: PayloadLink;
	readonly closed: boolean;
	/** Sends a message, with all payload that `link` was shown since the last one. */
	send(number: number, kind: number, content: readonly unknown[]): void;
	close(): void;
}

/** Rings to and from another thread. The port is given away with them. */
export interface ThreadHandle {
	readonly port: MessagePort;
	readonly incoming: SharedArrayBuffer;
	readonly outgoing: SharedArrayBuffer;
	/** The bell of the thread at the other end. */
	readonly peer: Bell;
}

/** A socket that leads to another process, by its descriptor. Whoever gets it closes it. */
export interface SocketHandle {
	readonly socket: number;
}

/** One end of a session's way before it is in use. */
export type SessionHandle = ThreadHandle | SocketHandle;

export interface PortOptions {
	/** The client's end makes calls, the server's end answers them. */
	readonly end: 'client' | 'server';
	onTriple: OnTriple;
	/** The other process sent what no honest one sends, or is gone (`isEnd`). The port is closed. */
	onBroken(reason: string, isEnd: boolean): void;
}

export function isSocket(handle: SessionHandle): handle is SocketHandle {
	return 'socket' in handle;
}
