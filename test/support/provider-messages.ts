/** What a test and the process of its providers say to each other. */
import type {LogLevel} from '../../runtime/sdk/component.js';

/** In the provider's process. */
export const descriptors = {control: 3, sessions: 4} as const;

export interface ProviderSketch {
	readonly name: string;
	readonly config: unknown;
	readonly stateDirectory: string;
	readonly variables: Readonly<Record<string, string>>;
	readonly leaseLimit: number;
	/** Others can have what it takes; else it is alone in the world. */
	readonly isClaiming: boolean;
	/** Random bytes of a multiple of this length are always the same ones. */
	readonly fixedNonceLength: number | undefined;
}

export type Status = Readonly<Record<string, string | number>>;

/** Each names the provider that it is for. */
export type ToProvider = {readonly provider: number} & (
	| {readonly type: 'begin'; readonly sketch: ProviderSketch}
	| {readonly type: 'serve'; readonly service: string; readonly session: number; readonly client: string}
	| {readonly type: 'wake'; readonly id: number; readonly now: number}
	| {readonly type: 'client_gone'; readonly service: string; readonly session: number}
	| {readonly type: 'stop'}
);

export type FromProvider = {readonly provider: number} & (
	| {readonly type: 'started'; readonly status: Status}
	| {readonly type: 'failed'; readonly message: string}
	| {readonly type: 'log'; readonly text: string; readonly level: LogLevel}
	| {readonly type: 'sleep'; readonly id: number; readonly milliseconds: number}
	| {readonly type: 'bug'; readonly message: string}
	| {readonly type: 'status'; readonly status: Status}
	/** It has been stopped, or knows that a client is gone. */
	| {readonly type: 'done'}
);

/** Leaves the union of messages as it is. */
export type WithoutProvider<Message> = Message extends unknown ? Omit<Message, 'provider'> : never;
