/**
 * A checked deployment: what the supervisor starts and how it connects it. Only `deployment/` makes one, and everything
 * in it is consistent: routes are resolved, binaries exist, configurations have passed their component's schema.
 */
import type {Component} from '../sdk/component.js';
import type {EnvironmentService} from '../sdk/environment-service.js';
import type {MissingAction} from './allowed-values.js';

/** Where something stands in a deployment file, for messages. Lines and columns count from 1. */
export interface SourcePosition {
	readonly file: string;
	readonly line: number;
	readonly column: number;
}

/** One required session of a child and who serves it. */
export interface Route {
	/** The key under which the component requires the session. */
	readonly label: string;
	/** The service's name. */
	readonly service: string;
	/** The serving child's name. */
	readonly server: string;
	/** The label that the server sees in place of the client's own, where deploy.xml gives one. */
	readonly serverLabel?: string;
}

interface Heartbeat {
	/** Milliseconds between two beats. */
	readonly rateMs: number;
}

/** How a group runs in a process of its own. */
export interface Isolation {
	/** The user (and group) that it runs as, by number; undefined where the deployment does not say. */
	readonly user: number | undefined;
	/** What happens where the system does not give what isolation is made of. */
	readonly ifMissing: MissingAction;
}

/** One `<start>` node. */
export interface Child {
	readonly name: string;
	readonly binary: string;
	/** The compiled module behind `binary`, an absolute path. */
	readonly modulePath: string;
	readonly component: Pick<
		Component,
		'kind' | 'stateful' | 'provides' | 'requires' | 'config' | 'reach' | 'obstacles' | 'needsRuntime'
	>;
	/**
	 * `<config>` as plain data (attributes as strings, child elements as arrays): passed the component's schema; parsed
	 * again at start.
	 */
	readonly config: unknown;
	/** Lower numbers start no earlier; kept for `nice`: -20 (first) to 19. */
	readonly priority: number;
	/** Bytes: the worker's heap and the component's payload buffers each stay within their share of it. */
	readonly ramQuantum: number;
	/** CPU numbers on which the thread may run; empty where it may run anywhere. */
	readonly cpus: readonly number[];
	/** Children of the same group share one thread; a child of its own has its name as group. */
	readonly group: string;
	/** Undefined where the group is a thread of the runtime; the same for all children of a group. */
	readonly isolation: Isolation | undefined;
	readonly routes: readonly Route[];
	readonly heartbeat: Heartbeat | undefined;
	/** What the deployment lets it have of the runtime, in the order of the alphabet. */
	readonly environment: readonly EnvironmentService[];
	/** The runtime ends with the child's exit value when this child exits. */
	readonly exitPropagate: boolean;
	readonly position: SourcePosition;
	/** Where the value at the end of a way through `config` was written, or the innermost element on the way. */
	positionOf(way: ReadonlyArray<PropertyKey>): SourcePosition;
}

export interface Deployment {
	/** The file it was read from. */
	readonly file: string;
	/**
	 * The files that decide it: itself, its launchers, and where launchers would be taken from first if they were
	 * there.
	 */
	readonly files: readonly string[];
	/** In an order in which every server stands before its clients. */
	readonly children: readonly Child[];
}
