/** What a group of components runs in, as the supervisor handles it: a worker thread or a process of its own. */
import type {FromHost, HostData, ToHost} from '../host/messages.js';
import type {Bell} from '../transport/doorbell.js';
import type {SessionHandle} from '../transport/session-port.js';

export interface HostEnd {
	/** The child at fault, where it is known. */
	readonly child: string | undefined;
	readonly reason: string;
	readonly exitCode: number;
	/** False where the component ended its host itself. */
	readonly isFault: boolean;
}

export interface HostOptions {
	readonly name: string;
	readonly data: HostData;
	readonly heartbeatMs: number | undefined;
	onMessage(message: FromHost): void;
	/** Called once, when the host is no more. */
	onEnd(end: HostEnd): void;
}

export interface GroupHost {
	/** The Linux thread id of the JavaScript in it, once it runs. */
	readonly tid: number | undefined;
	/** The bell of its thread; undefined for another process, whose sessions lead through sockets. */
	readonly bell: Bell | undefined;
	/** The process in which it runs. */
	readonly pid: number | undefined;
	/** @param ends of sessions in the message, which are given away */
	post(message: ToHost, ends?: readonly SessionHandle[]): void;
	/** Ends it; `onEnd` follows. What does not hear is ended by force. */
	kill(reason: string, child?: string): void;
	/** Asks for a sign of life this often; never where there is no number. */
	beatEvery(heartbeatMs: number | undefined): void;
}
