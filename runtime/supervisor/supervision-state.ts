/** What all parts of the supervision share: the children as they stand, and how far the runtime's life has come. */
import type {Child} from '../deployment/checked-deployment.js';
import {ChildTable} from './child-table.js';
import {Deferred} from './deferred.js';
import type {LiveChange} from './live-change.js';
import {RuntimeLog, type LogSink} from './log.js';
import type {ManagedChild, ManagedGroup} from './managed-child.js';
import {SessionWiring} from './session-wiring.js';

export class SupervisionState {
	/** Resolves with the exit code when everything has stopped. */
	readonly ended = new Deferred<number>();
	/** Resolves when every child is up. */
	readonly ready = new Deferred<void>();
	readonly stateDirectory: string;
	readonly log: RuntimeLog;
	readonly wiring: SessionWiring;
	isFirstStart = true;
	/** Children are being stopped for good. */
	isEnding = false;
	/** The change of the deployment that is being applied. */
	change: LiveChange | undefined;
	/** Resolves when the change that is being applied, if any, is over. */
	changed = Promise.resolve();
	/** Groups that died while a change was applied, although it did not start them. */
	readonly diedMeanwhile = new Set<ManagedGroup>();
	#table: ChildTable;

	constructor(children: readonly Child[], stateDirectory: string, log: LogSink) {
		this.#table = new ChildTable(children);
		this.wiring = new SessionWiring(this.#table.graph, child => this.of(child));
		this.stateDirectory = stateDirectory;
		this.log = new RuntimeLog(log);
	}

	get table(): ChildTable {
		return this.#table;
	}

	of(child: Child): ManagedChild {
		return this.#table.of(child);
	}

	/** From now on messages, deaths and routes are those of this table. */
	install(table: ChildTable): void {
		this.#table = table;
		table.install();
	}
}
