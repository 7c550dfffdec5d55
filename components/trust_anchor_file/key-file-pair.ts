/**
 * The key file, and for a moment its successor `master_key.next`: a new key file is there before the slot that it
 * opens, and takes the old one's place after.
 */
import {open, rename, rm, stat} from 'node:fs/promises';
import {dirname} from 'node:path';
import {readSmallFile, replaceFile, syncDirectory} from '../lib/host/durable-file.js';
import {decodeKeyFile, encodeKeyFile, keyFileLength} from './key-file.js';

/** Why a file cannot be read, as its user may mend it. */
export class KeyFileFault extends Error {
	override readonly name = 'KeyFileFault';
}

async function wipeFile(path: string): Promise<void> {
	const file = await open(path, 'r+');
	try {
		await file.write(new Uint8Array(keyFileLength), 0, keyFileLength, 0);
		await file.sync();
	} finally {
		await file.close();
	}
}

async function exists(path: string): Promise<boolean> {
	return stat(path).then(
		() => true,
		() => false,
	);
}

export class KeyFilePair {
	readonly path: string;
	readonly nextPath: string;

	constructor(path: string) {
		this.path = path;
		this.nextPath = `${path}.next`;
	}

	/** The key, which the caller wipes; undefined where there is no file. @throws KeyFileFault */
	async read(): Promise<Buffer | undefined> {
		return this.#readKey(this.path);
	}

	/** The key of a key file that has not taken its place yet. */
	async readNext(): Promise<Buffer | undefined> {
		return this.#readKey(this.nextPath);
	}

	async write(key: Uint8Array): Promise<void> {
		await this.#writeKey(this.path, key);
	}

	async writeNext(key: Uint8Array): Promise<void> {
		await this.#writeKey(this.nextPath, key);
	}

	/** The successor takes its place. */
	async advance(): Promise<void> {
		if (await exists(this.path)) {
			await wipeFile(this.path);
		}

		await rename(this.nextPath, this.path);
		await syncDirectory(dirname(this.path));
	}

	/**
	 * Removes key files that open nothing any more, overwritten as far as the file system lets it be; true where there
	 * were any.
	 */
	async remove(paths: readonly string[] = [this.path, this.nextPath]): Promise<boolean> {
		let removed = false;
		for (const path of paths) {
			if (await exists(path)) {
				await wipeFile(path);
				await rm(path);
				removed = true;
			}
		}

		if (removed) {
			await syncDirectory(dirname(this.path));
		}

		return removed;
	}

	async #readKey(path: string): Promise<Buffer | undefined> {
		let content;
		try {
			// One byte more, to notice what is too long.
			content = await readSmallFile(path, keyFileLength + 1);
		} catch (error) {
			throw new KeyFileFault(
				`${path} cannot be read (${error instanceof Error ? error.message : String(error)}); make it readable for the user that runs this program`,
			);
		}

		if (!content) {
			return undefined;
		}

		const decoded = decodeKeyFile(content);
		content.fill(0);
		if ('fault' in decoded) {
			throw new KeyFileFault(`${path}: ${decoded.fault}`);
		}

		return decoded.masterKey;
	}

	async #writeKey(path: string, key: Uint8Array): Promise<void> {
		const content = encodeKeyFile(key);
		try {
			await replaceFile(path, content);
		} finally {
			content.fill(0);
		}
	}
}
