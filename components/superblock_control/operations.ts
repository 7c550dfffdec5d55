/** The operations that change the container as a whole: one at a time, resumed after an interruption. */
import type {Environment} from '../../runtime/sdk/component.js';
import {SessionError, isSessionError} from '../../runtime/sdk/session.js';
import type {Mutex} from '../lib/sync/mutex.js';
import {BackgroundOperation, type OperationStatus} from './background-operation.js';
import {CheckWork} from './check-work.js';
import {ExtensionWork, makeRoom, prepareExtension, type ExtendedTree} from './extension-work.js';
import type {CryptoKeys} from './crypto-keys.js';
import type {OpeningServers} from './opening.js';
import {readOnlyReason, requireChangeable} from './restrictions.js';
import {RekeyingWork, beginRekeying} from './rekeying-work.js';
import type {Commit} from './commit.js';
import {isGrowing} from './transition.js';

export type OperationName = 'extend' | 'rekey' | 'check';

export interface OperationsParts {
	readonly servers: OpeningServers;
	readonly commit: Commit;
	readonly keys: CryptoKeys;
	readonly env: Environment;
	/** Held by everything that changes the container as a whole. */
	readonly containerMutex: Mutex;
	activity(): number;
	secure(): Promise<void>;
	/** The medium had no room: makes some of what nobody needs, if there is any. */
	makeRoomForData(): Promise<void>;
	/** A rekeying whose old key is lost is ended, with what it had sealed given up. */
	readonly givesUpLostBlocks: boolean;
	/** Bytes per second for rekeying. */
	readonly rekeyingRate: number | undefined;
}

export class Operations {
	readonly #parts: OperationsParts;
	readonly #operations: Record<OperationName, BackgroundOperation>;
	#isBeginning = false;

	constructor(parts: OperationsParts) {
		const {env, activity, secure, makeRoomForData, rekeyingRate} = parts;
		const common = {env, activity, secure, makeRoom: makeRoomForData};
		this.#parts = parts;
		this.#operations = {
			extend: new BackgroundOperation({...common, name: 'the extension', rateLimit: undefined, isResumed: true}),
			rekey: new BackgroundOperation({...common, name: 'the rekeying', rateLimit: rekeyingRate, isResumed: true}),
			check: new BackgroundOperation({...common, name: 'the check', rateLimit: undefined, isResumed: false}),
		};
	}

	get status(): Record<OperationName, OperationStatus> {
		return {
			extend: this.#operations.extend.status,
			rekey: this.#operations.rekey.status,
			check: this.#operations.check.status,
		};
	}

	/**
	 * Goes on with what the opened superblock says is pending; where the medium has no room for it the device stays
	 * usable.
	 */
	async resumePending(): Promise<void> {
		const {servers, commit, keys, env} = this.#parts;
		const {upcoming} = commit;
		const {state, pbaCount, resizing} = upcoming;
		if (state === 'normal') {
			return;
		}

		const restriction = readOnlyReason(commit.superblock);
		if (restriction !== undefined && !this.#parts.givesUpLostBlocks) {
			return;
		}

		env.log(`the container is ${state}: going on with it`);
		if (state === 'rekeying') {
			this.#operations.rekey.start(new RekeyingWork(servers, commit, keys));
		}

		if (state === 'rekeying' && !isGrowing(upcoming)) {
			return;
		}

		try {
			await makeRoom(servers.block, pbaCount + resizing.pbaCount);
			this.#operations.extend.start(new ExtensionWork(servers, commit));
		} catch (error) {
			if (!isSessionError(error)) {
				throw error;
			}

			env.log(`the extension cannot go on: ${error.message}; make room and open the device again`, 'warning');
		}
	}

	/** Begins an extension; it is recorded durably once this resolves. @throws SessionError `refused` */
	async extend(extension: {tree: ExtendedTree; blockCount: number}): Promise<void> {
		const {servers, commit, containerMutex, env} = this.#parts;
		await containerMutex.run(async () => {
			requireChangeable(commit.superblock, {needsSlot: extension.tree === 'vbd'});
			this.#requireExtensible(extension.tree);
			await prepareExtension(servers.block, commit.superblock, extension);
			await commit.checkpointWith({kind: 'begin_extension', ...extension});
			env.log(
				`extending the ${extension.tree === 'vbd' ? 'device' : 'free tree'} by ${extension.blockCount} blocks`,
			);
			this.#operations.extend.start(new ExtensionWork(servers, commit));
		});
	}

	/** Begins a rekeying where the key has sealed so many blocks, unless something is going on. */
	async rekeyAfter(sealedBlockCount: number): Promise<void> {
		const {
			commit: {keyUse},
			env,
		} = this.#parts;
		if (keyUse.blockCount < sealedBlockCount || this.#isBusy || this.#isBeginning) {
			return;
		}

		this.#isBeginning = true;
		try {
			env.log(`the key has sealed up to ${keyUse.blockCount} blocks: it is time for a new one`);
			await this.rekey();
		} catch (error) {
			env.log(
				`the rekeying could not begin: ${error instanceof Error ? error.message : String(error)}`,
				'warning',
			);
		} finally {
			this.#isBeginning = false;
		}
	}

	/** Begins a rekeying; it is recorded durably once this resolves. @throws SessionError `refused` */
	async rekey(): Promise<void> {
		const {servers, commit, keys, containerMutex, env} = this.#parts;
		await containerMutex.run(async () => {
			requireChangeable(commit.superblock, {needsSlot: true});
			this.#requireIdle();
			await beginRekeying(servers, commit, keys);
			env.log('rekeying: everything is sealed anew with a new key');
			this.#operations.rekey.start(new RekeyingWork(servers, commit, keys));
		});
	}

	/** Begins to check everything that is in use, beside whatever else goes on. @throws SessionError `refused` */
	check(): void {
		const {servers, commit, env} = this.#parts;
		if (this.#operations.check.isRunning) {
			throw new SessionError('refused', 'a check is going on already');
		}

		env.log('checking everything that is in use');
		this.#operations.check.start(new CheckWork(servers, commit, env));
	}

	pause(operation: OperationName): void {
		this.#operations[operation].pause();
	}

	resume(operation: OperationName): void {
		this.#operations[operation].resume();
	}

	async stop(): Promise<void> {
		await Promise.all(Object.values(this.#operations).map(async operation => operation.stop()));
	}

	get #isBusy(): boolean {
		return (
			this.#parts.commit.superblock.state !== 'normal' ||
			this.#operations.extend.isRunning ||
			this.#operations.rekey.isRunning
		);
	}

	/** A rekeying may wait for the very blocks that the pool is to get; the device has to wait for its end. */
	#requireExtensible(tree: ExtendedTree): void {
		if (tree !== 'ft' || this.#parts.commit.superblock.state !== 'rekeying' || this.#operations.extend.isRunning) {
			this.#requireIdle();
		}
	}

	#requireIdle(): void {
		const {superblock} = this.#parts.commit;
		if (this.#isBusy) {
			throw new SessionError('refused', `the container is ${superblock.state} now; begin when that has ended`);
		}
	}
}
