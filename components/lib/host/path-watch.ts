/**
 * Notices that a file in use was removed, or another one put in its place: what is written to it is gone once it is
 * closed.
 */
import fs from 'node:fs';
import type {Environment} from '../../../runtime/sdk/component.js';

/** How often it looks, at most. */
const intervalMs = 5000;

export class PathWatch {
	readonly #path: string;
	readonly #env: Pick<Environment, 'now' | 'log'>;
	#nextMs: number;
	#isGone = false;

	constructor(path: string, env: Pick<Environment, 'now' | 'log'>) {
		this.#path = path;
		this.#env = env;
		this.#nextMs = env.now() + intervalMs;
	}

	/** Whenever the file has been written; says it once in the log. */
	look(fd: number): void {
		const now = this.#env.now();
		if (now < this.#nextMs) {
			return;
		}

		this.#nextMs = now + intervalMs;
		const isGone = !this.#isInPlace(fd);
		if (isGone && !this.#isGone) {
			this.#env.log(
				`${this.#path} was removed, or another file was put in its place; what is written goes to the old one, and is lost when that is closed: copy the device while it runs`,
				'error',
			);
		}

		this.#isGone = isGone;
	}

	#isInPlace(fd: number): boolean {
		try {
			const {ino, dev} = fs.statSync(this.#path, {bigint: true});
			const open = fs.fstatSync(fd, {bigint: true});
			return ino === open.ino && dev === open.dev;
		} catch (error) {
			// Where nobody may look, nothing is known.
			return !(
				error instanceof Error &&
				'code' in error &&
				(error.code === 'ENOENT' || error.code === 'ENOTDIR')
			);
		}
	}
}
