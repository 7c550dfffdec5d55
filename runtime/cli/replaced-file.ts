/**
 * Saves a text in the place of a file: whoever reads it meanwhile, or after a crash, finds the old text or the new one.
 */
import {
	closeSync,
	fchmodSync,
	fchownSync,
	fsyncSync,
	openSync,
	renameSync,
	rmSync,
	statSync,
	writeFileSync,
} from 'node:fs';
import {basename, dirname, join} from 'node:path';

export function replaceFile(file: string, text: string): void {
	const {mode, uid, gid} = statSync(file);
	const newFile = join(dirname(file), `.${basename(file)}.${process.pid}`);
	const fd = openSync(newFile, 'wx', 0o600);
	try {
		writeFileSync(fd, text);
		if (process.getuid?.() === 0) {
			fchownSync(fd, uid, gid);
		}

		fchmodSync(fd, mode & 0o7777);
		fsyncSync(fd);
		renameSync(newFile, file);
	} catch (error) {
		rmSync(newFile, {force: true});
		throw error;
	} finally {
		closeSync(fd);
	}
}
