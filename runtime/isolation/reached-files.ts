/** Makes ready what an isolated component reaches: what is not there yet, and whose it is. */
import {chownSync, lchownSync, lstatSync, mkdirSync, readdirSync, statSync, writeFileSync} from 'node:fs';
import {dirname, join, resolve} from 'node:path';
import type {ReachedFile} from '../sdk/component.js';

const root = 0;

function make({path, made}: ReachedFile): void {
	if (made === undefined || statSync(path, {throwIfNoEntry: false})) {
		return;
	}

	mkdirSync(made === 'directory' ? path : dirname(path), {recursive: true, mode: 0o700});
	if (made === 'file') {
		writeFileSync(path, '', {flag: 'wx', mode: 0o600});
	}
}

/** What is not root's keeps its owner, and so do devices and folders in folders. */
function give(path: string, user: number): void {
	const found = statSync(path);
	const entries = found.isDirectory()
		? readdirSync(path)
				.map(name => join(path, name))
				.filter(entry => lstatSync(entry).isFile())
		: [];
	for (const entry of entries) {
		if (lstatSync(entry).uid === root) {
			lchownSync(entry, user, user);
		}
	}

	if ((found.isDirectory() || found.isFile()) && found.uid === root) {
		chownSync(path, user, user);
	}
}

/**
 * The files with absolute paths. A writable one belongs to `user` afterwards, where that is given; root still reads it.
 * @throws Error where one cannot be made
 */
export function makeReady(
	files: readonly ReachedFile[],
	stateDirectory: string,
	user: number | undefined,
): ReachedFile[] {
	return files.map(file => {
		const reached = {...file, path: resolve(stateDirectory, file.path)};
		make(reached);
		if (user !== undefined && file.writable && statSync(reached.path, {throwIfNoEntry: false})) {
			give(reached.path, user);
		}

		return reached;
	});
}
