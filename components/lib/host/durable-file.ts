/** Small files that are replaced as a whole: after a crash either the old content is there or the new one. */
import {open, rename, rm} from 'node:fs/promises';
import {dirname} from 'node:path';

/** Makes what was created in or renamed within a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
	const directory = await open(path, 'r');
	try {
		await directory.sync();
	} finally {
		await directory.close();
	}
}

/** Replaces the file by one with this content that only its owner can read; durable once it resolves. */
export async function replaceFile(path: string, content: Uint8Array): Promise<void> {
	const temporary = `${path}.new`;
	// What an interrupted replacement left behind may have another mode.
	await rm(temporary, {force: true});
	const file = await open(temporary, 'wx', 0o600);
	try {
		await file.writeFile(content);
		await file.sync();
	} finally {
		await file.close();
	}

	await rename(temporary, path);
	await syncDirectory(dirname(path));
}

/**
 * The content of a file that has at most `lengthMax` bytes, or undefined where there is no such file. Longer files are
 * cut.
 */
export async function readSmallFile(path: string, lengthMax: number): Promise<Buffer | undefined> {
	let file;
	try {
		file = await open(path, 'r');
	} catch (error) {
		if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
			return undefined;
		}

		throw error;
	}

	try {
		// Of its own memory, since the caller may have to wipe it.
		const content = Buffer.allocUnsafeSlow(lengthMax);
		let length = 0;
		for (;;) {
			const {bytesRead} = await file.read(content, length, lengthMax - length);
			length += bytesRead;
			if (bytesRead === 0 || length === lengthMax) {
				return content.subarray(0, length);
			}
		}
	} finally {
		await file.close();
	}
}

/** Writes over the first bytes of a file that is there; durable once it resolves, and torn where it is cut off. */
export async function overwriteFile(path: string, content: Uint8Array): Promise<void> {
	const file = await open(path, 'r+');
	try {
		await file.write(content, 0, content.length, 0);
		await file.datasync();
	} finally {
		await file.close();
	}
}

/**
 * Makes what a file holds durable: writes it in place once more, part by part, and syncs it and its directory. A run
 * that was cut off, or whose sync failed, may have left it in memory alone, where a sync by itself would not know of it
 * any more. A read-only file system holds nothing that is not durable.
 */
export async function rewriteFile(
	path: string,
	parts: ReadonlyArray<{readonly offset: number; readonly length: number}>,
): Promise<void> {
	try {
		const file = await open(path, 'r+');
		try {
			for (const {offset, length} of parts) {
				const content = Buffer.alloc(length);
				const {bytesRead} = await file.read(content, 0, length, offset);
				await file.write(content, 0, bytesRead, offset);
				content.fill(0);
				await file.datasync();
			}
		} finally {
			await file.close();
		}

		await syncDirectory(dirname(path));
	} catch (error) {
		if (!(error instanceof Error && 'code' in error && error.code === 'EROFS')) {
			throw error;
		}
	}
}
