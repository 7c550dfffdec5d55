/**
 * Follows the deployment file while its deployment runs: what somebody saves is checked as at start, and its difference
 * is applied. What is wrong changes nothing.
 */
import {setTimeout} from 'node:timers/promises';
import {isDeepStrictEqual} from 'node:util';
import {displayPath} from '../deployment/display-path.js';
import {fileSignatures} from '../deployment/file-signature.js';
import type {Child, Deployment} from '../deployment/checked-deployment.js';
import {DeploymentError} from '../deployment/problem.js';
import {describeChanges, type PlannedChange, type SessionName} from './change-plan.js';
import {ChangeError} from './live-change.js';
import type {RuntimeLog} from './log.js';
import type {Supervision} from './supervision.js';

/** How often files are looked at. */
const lookIntervalMs = 250;
/** A file that was not written for so long has been saved. */
const savedAfterMs = 200;
/** A file that ends in the middle is not complained about before: whoever writes it may not be through. */
const patienceMs = 3000;

export interface FollowedDeployment {
	readonly deployment: Deployment;
	/** Reads and checks a deployment file. @throws DeploymentError */
	load(file: string): Promise<Deployment>;
	/** The children of a deployment that run without being asked for. */
	startedOf(deployment: Deployment): readonly Child[];
	readonly log: RuntimeLog;
}

type EditResult =
	/** It runs. */
	| 'applied'
	/** It says the same about what runs. */
	| 'unchanged'
	/** The file is wrong; nothing was touched. */
	| 'refused'
	/** It could not be applied; what ran before runs. */
	| 'failed';

export interface EditOutcome {
	readonly result: EditResult;
	/** When, as in ISO 8601. */
	readonly time: string;
	/** Why it was refused or failed, or what was done. */
	readonly message: string;
	/** How long requests had to wait at most, in milliseconds; 0 where none had to. */
	readonly pauseMs: number;
}

export interface DeploymentStatus {
	readonly file: string;
	/** 1 at start, one more with each edit that was applied. */
	readonly generation: number;
	/** False where edits are applied only when asked for. */
	readonly watched: boolean;
	readonly lastEdit: EditOutcome | undefined;
}

export interface DeploymentDifference {
	readonly file: string;
	readonly changes: readonly PlannedChange[];
	/** Sessions behind which there will be other data: their clients' own clients are disconnected. */
	readonly reset: readonly SessionName[];
}

export class DeploymentFollower {
	readonly #supervision: Supervision;
	readonly #followed: FollowedDeployment;
	readonly #file: string;
	/** Of the files that decide the deployment, when they were last read for good. */
	#considered = new Map<string, string>();
	#files: readonly string[];
	#generation = 1;
	#lastEdit: EditOutcome | undefined;
	#watched = false;
	#closed = false;
	/** One edit after the other. */
	#turn: Promise<unknown> = Promise.resolve();

	constructor(supervision: Supervision, followed: FollowedDeployment) {
		this.#supervision = supervision;
		this.#followed = followed;
		this.#file = followed.deployment.file;
		this.#files = followed.deployment.files;
	}

	get status(): DeploymentStatus {
		return {file: this.#file, generation: this.#generation, watched: this.#watched, lastEdit: this.#lastEdit};
	}

	/** What applying a file would do; the deployment's own one unless given. @throws DeploymentError */
	async difference(file = this.#file): Promise<DeploymentDifference> {
		const {changes, reset} = this.#supervision.plan(this.#followed.startedOf(await this.#followed.load(file)));
		return {file, changes, reset};
	}

	/** Reads the file now and applies what it says. */
	async apply(): Promise<EditOutcome> {
		return this.#inTurn(async () => {
			const signatures = await fileSignatures(this.#files);
			return this.#use(await this.#read(), signatures);
		});
	}

	/** Applies what is saved from now on, until `close`. */
	watch(): void {
		this.#watched = true;
		this.#watch().catch((error: unknown) => {
			this.#watched = false;
			this.#followed.log.say(
				`${displayPath(this.#file)} is not watched any more: ${error instanceof Error ? error.message : String(error)}`,
				'warning',
			);
		});
	}

	close(): void {
		this.#closed = true;
	}

	async #watch(): Promise<void> {
		let seen = await fileSignatures(this.#files);
		let sinceMs = performance.now();
		this.#considered = seen;
		while (!this.#closed) {
			await setTimeout(lookIntervalMs, undefined, {ref: false});
			const signatures = await fileSignatures(this.#files);
			if (!isDeepStrictEqual(signatures, seen)) {
				seen = signatures;
				sinceMs = performance.now();
			} else if (
				performance.now() - sinceMs >= savedAfterMs &&
				!isDeepStrictEqual(signatures, this.#considered)
			) {
				await this.#consider(signatures, performance.now() - sinceMs >= patienceMs);
			}
		}
	}

	/** Applies files that have these signatures, unless they look unfinished and there is time. */
	async #consider(signatures: Map<string, string>, isFinal: boolean): Promise<void> {
		await this.#inTurn(async () => {
			const read = await this.#read();
			if (isFinal || !(read instanceof DeploymentError && read.mayBeUnfinished)) {
				await this.#use(read, signatures);
			}
		});
	}

	async #read(): Promise<Deployment | DeploymentError> {
		try {
			return await this.#followed.load(this.#file);
		} catch (error) {
			if (error instanceof DeploymentError) {
				return error;
			}

			throw error;
		}
	}

	/** @param signatures of the files before they were read */
	async #use(read: Deployment | DeploymentError, signatures: Map<string, string>): Promise<EditOutcome> {
		const added = await fileSignatures(read.files.filter(file => !signatures.has(file)));
		// A launcher that is wrong or missing may be what is mended next.
		this.#files = read instanceof DeploymentError ? [...new Set([...this.#files, ...read.files])] : read.files;
		this.#considered = new Map(this.#files.map(file => [file, signatures.get(file) ?? added.get(file)!]));
		const time = new Date().toISOString();
		const outcome = {
			time,
			...(read instanceof DeploymentError ? this.#refuse(read) : await this.#applyDeployment(read)),
		};
		this.#lastEdit = outcome;
		return outcome;
	}

	#refuse({problems, message}: DeploymentError): Omit<EditOutcome, 'time'> {
		const {log} = this.#followed;
		const {length} = problems;
		for (const line of message.split('\n')) {
			log.problem(line);
		}

		log.say(
			`${displayPath(this.#file)}: ${length} ${length === 1 ? 'error' : 'errors'}; nothing was changed`,
			'error',
		);
		return {result: 'refused', message, pauseMs: 0};
	}

	async #applyDeployment(deployment: Deployment): Promise<Omit<EditOutcome, 'time'>> {
		const {log, startedOf} = this.#followed;
		const file = displayPath(this.#file);
		const children = startedOf(deployment);
		const {changes} = this.#supervision.plan(children);
		if (changes.length === 0) {
			log.say(`${file}: nothing in it changes what runs`);
			return {result: 'unchanged', message: 'nothing in it changes what runs', pauseMs: 0};
		}

		const message = describeChanges(changes);
		log.say(`${file} was edited: ${message}`);
		const hintsBefore = this.#supervision.hints;
		try {
			const pauseMs = Math.round(await this.#supervision.change(children));
			this.#generation++;
			log.say(
				`deployment generation ${this.#generation} runs${pauseMs > 0 ? `; requests waited for ${pauseMs} ms at most` : ''}`,
			);
			for (const hint of this.#supervision.hints.filter(one => !hintsBefore.includes(one))) {
				log.say(`attach: ${hint}`);
			}

			return {result: 'applied', message, pauseMs};
		} catch (error) {
			if (!(error instanceof ChangeError)) {
				throw error;
			}

			log.say(`${file} could not be applied: ${error.message}; the deployment before runs on`, 'error');
			return {result: 'failed', message: error.message, pauseMs: 0};
		}
	}

	async #inTurn<T>(work: () => Promise<T>): Promise<T> {
		const result = this.#turn.then(work);
		this.#turn = result.catch(() => undefined);
		return result;
	}
}
