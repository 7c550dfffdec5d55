/**
 * What a component is: the sessions it provides and requires, the schema of its `<config>`, and one function that
 * starts it. A component sees its environment through `Environment` alone.
 */
import type {z} from 'zod';
import type {Client, Handlers, Session} from './session.js';

export type LogLevel = 'info' | 'warning' | 'error';

/** Payload memory that other components can be shown without a copy. */
export interface Lease {
	readonly bytes: Buffer;
	/** Gives the memory back. The bytes must not be touched afterwards. */
	release(): void;
}

/** What became of a claim: the directory is the component's now, is not there, or is another one's. */
export type Claim = 'held' | 'missing' | 'in_use';

/**
 * The world as a component sees it. Nothing in a component reads a clock, draws randomness or sleeps but through this.
 */
export interface Environment {
	/** The child's name in deploy.xml. */
	readonly name: string;
	/** The state directory, an absolute path. */
	readonly stateDirectory: string;
	/** One line in the log: `[runtime -> NAME] text`. Never give it a secret. */
	log(text: string, level?: LogLevel): void;
	/** Milliseconds that only ever grow; not the time of day. */
	now(): number;
	/** The time of day: milliseconds since 1970. Whoever sets the host's clock makes it jump, also back. */
	timeOfDay(): number;
	sleep(milliseconds: number): Promise<void>;
	/**
	 * Waits for what no session brings, such as a file that is read asynchronously, in a component that is otherwise
	 * `wokenBySessionsOnly`.
	 */
	outside<T>(work: Promise<T>): Promise<T>;
	/** Cryptographically strong bytes, drawn from the kernel at this call: a copy of the process draws others. */
	randomBytes(count: number): Uint8Array;
	/** The same, into all of `bytes`, for what is drawn often. */
	fillRandom(bytes: Uint8Array): void;
	/** A process environment variable, undefined where it is not set. */
	variable(name: string): string | undefined;
	/**
	 * A process environment variable that holds a secret, in memory of its own that the caller wipes. In a process of
	 * its own a component gets each one once, since it is kept nowhere.
	 */
	secret(name: string): Buffer | undefined;
	/**
	 * Gives back what nothing refers to any more, now. After keys were wiped: what native code has copied of them is
	 * overwritten with that.
	 */
	dropGarbage(): void;
	/** Resolves a path of the configuration: relative paths lie in the state directory. */
	resolvePath(path: string): string;
	/**
	 * Takes a directory of the host for this component alone, until it has stopped or died, however that came about.
	 * Waits a moment for one that has just died. Claiming again is free, and sees where another directory took its
	 * place.
	 */
	claimDirectory(path: string): Promise<Claim>;
	/** Bytes of payload memory that this component may lease at once: its share of the RAM quantum. */
	readonly leaseLimit: number;
	/** Leases payload memory; a component that exceeds its limit has a bug and dies of it. */
	lease(byteLength: number): Lease;
	/** Leases payload memory as soon as the limit allows, in the order of the calls. Never more than `leaseLimit`. */
	leaseWhenFree(byteLength: number): Promise<Lease>;
	/** How many sessions deploy.xml routes to the named service of this component. */
	clientCount(service: string): number;
	/** CPUs on which this component's thread may run. */
	readonly cpuCount: number;
	/** Dies at once, with a reason for the log. The runtime restarts the component or stops, as deploy.xml says. */
	fail(reason: string): never;
}

export interface OptionalSession<S extends Session = Session> {
	readonly optional: true;
	readonly session: S;
}

/** Marks a required session whose route may be missing. */
export function optional<S extends Session>(session: S): OptionalSession<S> {
	return {optional: true, session};
}

export type Requirement = Session | OptionalSession;
export type Requirements = Readonly<Record<string, Requirement>>;
export type Provisions = Readonly<Record<string, Session>>;

export type SessionsOf<R extends Requirements> = {
	readonly [K in keyof R]: R[K] extends OptionalSession<infer S>
		? Client<S> | undefined
		: R[K] extends Session
			? Client<R[K]>
			: never;
};

export type HandlersOf<P extends Provisions> = {readonly [K in keyof P]: Handlers<P[K]>};

export interface StartArguments<R extends Requirements, C extends z.ZodType> {
	readonly config: z.output<C>;
	readonly sessions: SessionsOf<R>;
	readonly env: Environment;
}

/** Since the component's start. */
export interface ServedCount {
	readonly requests: number;
	readonly bytes: number;
}

/** A started component. */
export interface Running<P extends Provisions, R extends Requirements = Requirements> {
	readonly provides: HandlersOf<P>;
	/** Ends orderly: finishes what was accepted, secures, forgets keys. Servers are stopped after all their clients. */
	stop?(): Promise<void>;
	/** A session to one of this component's clients has ended; anything held for it can go. */
	clientGone?(service: string, session: number): void;
	/**
	 * The named required session was interrupted. `restarted`: a stateless server came back, pending requests were sent
	 * again by themselves, but what it had been told (keys) is gone. `reset`: state behind it went back to the last
	 * secured state, everything not flushed is lost.
	 */
	readonly interrupted?: {readonly [K in keyof R]?: (how: 'restarted' | 'reset') => Promise<void> | void};
	/**
	 * Requests that came from outside of the assembly, and bytes of payload in them; the runtime counts those of
	 * sessions itself.
	 */
	served?(): ServedCount;
	/** Values for `runtime status`, beside what the runtime itself counts. Never secrets. */
	status?(): Record<string, string | number>;
	/**
	 * How to use what the component offers to the outside, one shell command each; printed once everything is ready.
	 */
	hints?(): string[];
}

/** A component cannot start for a reason that its user can mend; the message is all that is shown. */
export class StartError extends Error {
	override readonly name = 'StartError';
}

/**
 * Exit value of a tool that could not end its job, or was ended before: it says nothing about what the tool looks at.
 */
export const unfinishedExitValue = 3;

export interface ToolResult {
	/** 0 is success, `unfinishedExitValue` no result; anything else failed, and `message` says why in one line. */
	readonly exitValue: number;
	readonly message?: string;
}

export interface ReachedFile {
	/** Absolute, or in the state directory. */
	readonly path: string;
	readonly writable: boolean;
	/** What is made before the component starts, where nothing is there. */
	readonly made?: 'directory' | 'file';
}

/** What a component reaches of the host when it runs in a process of its own, beside its sessions. */
export interface Reach {
	readonly files?: readonly ReachedFile[];
	/** Environment variables that it reads. */
	readonly variables?: readonly string[];
	/** Environment variables that hold secrets. */
	readonly secrets?: readonly string[];
	/** It connects to unix sockets among `files`. */
	readonly sockets?: boolean;
}

/** What a component can know of where it will start, before anything is started or made. */
export interface PreflightContext {
	/** The state directory, an absolute path; it need not be there yet. */
	readonly stateDirectory: string;
	resolvePath(path: string): string;
	/** A process environment variable, undefined where it is not set. */
	variable(name: string): string | undefined;
	/** Bytes of a variable that may hold a secret, which nobody looks at; undefined where it is not set. */
	variableLength(name: string): number | undefined;
	/** How many sessions deploy.xml routes to the named service of the component. */
	clientCount(service: string): number;
	/** Bytes of payload memory that it may lease at once. */
	readonly leaseLimit: number;
}

/** Something that would keep a component from starting, or from working as it should. */
export interface Obstacle {
	/**
	 * The way to the value of `<config>` that it is about, as `['tls', 0, 'psk']`; without it, it is about the whole
	 * child.
	 */
	readonly at?: ReadonlyArray<string | number>;
	/** What is wrong, and why. */
	readonly what: string;
	/** What would be right. */
	readonly remedy: string;
	/** True where the component works without, and says so itself when it starts. */
	readonly isMinor?: boolean;
}

interface Declaration<P extends Provisions, R extends Requirements, C extends z.ZodType> {
	readonly provides?: P;
	readonly requires?: R;
	/** Attributes of `<config>` arrive as strings, its child elements as arrays of such objects under their names. */
	readonly config: C;
	/**
	 * True where requests depend on what earlier requests left behind in memory. When such a component dies, pending
	 * requests fail with `session_lost`, its stateful clients start over too and all others are told `reset`.
	 */
	readonly stateful?: boolean;
	/** What it reaches with this configuration; nothing where it does not say. */
	reach?(config: z.output<C>, variable: (name: string) => string | undefined): Reach;
	/**
	 * What would keep it from starting with this configuration, as far as that can be known without making or changing
	 * anything, and also while it runs already: a missing folder or file, a value that does not fit its quantum.
	 */
	obstacles?(config: z.output<C>, context: PreflightContext): readonly Obstacle[];
	/**
	 * True where nothing but its sessions and `sleep` wakes it, but for what it waits for by `outside`: no sockets, no
	 * threads of its own, nothing asynchronous of the host. Its thread may sleep at a bell in shared memory then, which
	 * wakes it in half the time; what the event loop has for it is seen up to 20 ms late.
	 */
	readonly wokenBySessionsOnly?: boolean;
	/** Why it cannot run in a process of its own, where it cannot: `it mounts a file system`. */
	readonly needsRuntime?: string;
}

/** A component that serves until it is stopped. */
export interface Service<
	P extends Provisions = Provisions,
	R extends Requirements = Requirements,
	C extends z.ZodType = z.ZodType,
> extends Declaration<P, R, C> {
	/** The component is ready, for its clients and for the log, when the promise resolves. */
	start(startArguments: StartArguments<R, C>): Promise<Running<P, R>> | Running<P, R>;
}

/** A component that does one job and exits. */
export interface Tool<R extends Requirements = Requirements, C extends z.ZodType = z.ZodType> extends Declaration<
	Provisions,
	R,
	C
> {
	run(startArguments: StartArguments<R, C>): Promise<ToolResult>;
}

/** A component as the runtime handles it, its type parameters forgotten. */
export interface Component {
	readonly provides: Provisions;
	readonly requires: Requirements;
	readonly config: z.ZodType;
	readonly stateful: boolean;
	readonly wokenBySessionsOnly: boolean;
	readonly kind: 'service' | 'tool';
	reach?(config: unknown, variable: (name: string) => string | undefined): Reach;
	obstacles?(config: unknown, context: PreflightContext): readonly Obstacle[];
	readonly needsRuntime?: string;
	start?(startArguments: {
		config: unknown;
		sessions: Record<string, Client<Session> | undefined>;
		env: Environment;
	}): Promise<Running<Provisions>>;
	run?(startArguments: {
		config: unknown;
		sessions: Record<string, Client<Session> | undefined>;
		env: Environment;
	}): Promise<ToolResult>;
}

export function defineComponent<const P extends Provisions, const R extends Requirements, C extends z.ZodType>(
	definition: Service<P, R, C>,
): Component {
	return {
		provides: definition.provides ?? {},
		requires: definition.requires ?? {},
		config: definition.config,
		stateful: definition.stateful ?? false,
		wokenBySessionsOnly: definition.wokenBySessionsOnly ?? false,
		kind: 'service',
		needsRuntime: definition.needsRuntime,
		reach: definition.reach && ((config, variable) => definition.reach!(config as z.output<C>, variable)),
		obstacles: definition.obstacles && ((config, context) => definition.obstacles!(config as z.output<C>, context)),
		// The runtime hands in exactly what `requires` and `config` declare: the one place where types are forgotten.
		start: async startArguments => await definition.start(startArguments as unknown as StartArguments<R, C>),
	};
}

export function defineTool<const R extends Requirements, C extends z.ZodType>(definition: Tool<R, C>): Component {
	return {
		provides: {},
		requires: definition.requires ?? {},
		config: definition.config,
		stateful: false,
		wokenBySessionsOnly: false,
		kind: 'tool',
		needsRuntime: definition.needsRuntime,
		reach: definition.reach && ((config, variable) => definition.reach!(config as z.output<C>, variable)),
		obstacles: definition.obstacles && ((config, context) => definition.obstacles!(config as z.output<C>, context)),
		run: async startArguments => definition.run(startArguments as unknown as StartArguments<R, C>),
	};
}
