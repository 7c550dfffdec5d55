/**
 * Directories of the host that one component has to itself. A claim is a lock on the directory, so nothing is written
 * for it, and it ends with the component however that ends: its descriptor belongs to the component's thread.
 */
import fs from 'node:fs';
import {setTimeout} from 'node:timers/promises';
import type {Claim, LogLevel} from '../sdk/component.js';
import {lockFile} from '../sdk/file-lock.js';

/** A process that was killed may need a moment until its locks are gone. */
const usualPatienceMs = 2000;
const lookAgainMs = 50;

export interface DirectoryClaimsOptions {
	log(text: string, level: LogLevel): void;
	/** How long another one's claim is waited for. */
	readonly patienceMs?: number;
}

function codeOf(error: unknown): string | undefined {
	return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

export class DirectoryClaims {
	readonly #options: DirectoryClaimsOptions;
	/** Descriptors by path. */
	readonly #held = new Map<string, number>();

	constructor(options: DirectoryClaimsOptions) {
		this.#options = options;
	}

	async claim(path: string): Promise<Claim> {
		const held = this.#held.get(path);
		if (held !== undefined) {
			const present = fs.statSync(path, {throwIfNoEntry: false, bigint: true});
			const {ino, dev} = fs.fstatSync(held, {bigint: true});
			if (present?.ino === ino && present.dev === dev) {
				return 'held';
			}

			// Another directory was put in its place.
			this.#release(path, held);
		}

		return this.#take(path);
	}

	releaseAll(): void {
		for (const [path, fd] of this.#held) {
			this.#release(path, fd);
		}
	}

	async #take(path: string): Promise<Claim> {
		let fd: number | undefined;
		try {
			fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
			if (!(await this.#lock(fd))) {
				fs.closeSync(fd);
				return 'in_use';
			}
		} catch (error) {
			if (codeOf(error) === 'ENOENT') {
				return 'missing';
			}

			// A file in its place is no directory that others could use; whoever reads in there tells what is wrong.
			if (codeOf(error) !== 'ENOTDIR') {
				this.#options.log(
					`the directory ${path} cannot be locked: ${error instanceof Error ? error.message : String(error)}. It is used all the same; see to it that nothing else uses it`,
					'warning',
				);
			}
		}

		if (fd !== undefined) {
			this.#held.set(path, fd);
		}

		return 'held';
	}

	async #lock(fd: number): Promise<boolean> {
		const {patienceMs = usualPatienceMs} = this.#options;
		for (let waitedMs = 0; !lockFile(fd); waitedMs += lookAgainMs) {
			if (waitedMs >= patienceMs) {
				return false;
			}

			await setTimeout(lookAgainMs);
		}

		return true;
	}

	#release(path: string, fd: number): void {
		this.#held.delete(path);
		fs.closeSync(fd);
	}
}
