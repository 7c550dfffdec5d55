/** The directory of a trust anchor's files: for its owner alone, and for one anchor at a time. */
import {chmod, mkdir, readdir} from 'node:fs/promises';
import {dirname} from 'node:path';
import {StartError, type Environment} from '../../../runtime/sdk/component.js';
import {syncDirectory} from '../host/durable-file.js';

export class AnchorDirectory {
	readonly path: string;
	readonly #env: Pick<Environment, 'claimDirectory'>;
	#isClaimed = false;

	constructor(path: string, env: Pick<Environment, 'claimDirectory'>) {
		this.path = path;
		this.#env = env;
	}

	/**
	 * Before its files are read. Two anchors on the same files would both advance the record, and each one's image
	 * would look rolled back to the other. @throws StartError where another one uses it
	 */
	async claim(): Promise<void> {
		const claim = await this.#env.claimDirectory(this.path);
		if (claim === 'in_use') {
			throw new StartError(
				`the trust anchor's directory ${this.path} is in use by another runtime or component; it belongs to one image, which would look rolled back once a copy of it was written with the same anchor: stop the other one, or give each image an anchor of its own (path="…" in its <config>)`,
			);
		}

		this.#isClaimed = claim === 'held';
	}

	/** Makes the names durable that a run which was cut off has left in it, and its own, as far as the rights go. */
	async settle(): Promise<void> {
		await syncDirectory(this.path);
		try {
			await syncDirectory(dirname(this.path));
		} catch (error) {
			// Who may not even read the folder above has not made this one in it.
			if (!(error instanceof Error && 'code' in error && (error.code === 'EACCES' || error.code === 'EPERM'))) {
				throw error;
			}
		}
	}

	/**
	 * Makes it durably, before the first file is written. @throws StartError where another anchor uses it or has done
	 * so meanwhile
	 */
	async make(): Promise<void> {
		const made = await mkdir(this.path, {recursive: true, mode: 0o700});
		if (made) {
			await chmod(this.path, 0o700);
			await syncDirectory(dirname(made));
			await syncDirectory(dirname(this.path));
		}

		const wasClaimed = this.#isClaimed;
		await this.claim();
		if (!wasClaimed && (await readdir(this.path)).length > 0) {
			throw new StartError('another runtime has made its trust anchor there meanwhile; start again');
		}
	}
}
