/** One runtime per state directory: `runtime.lock` is locked as long as the runtime lives, and holds its process id. */
import {closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync} from 'node:fs';
import {join} from 'node:path';
import {StartError} from './sdk/component.js';
import {lockFile} from './sdk/file-lock.js';

export interface StateLock {
	release(): void;
}

/** @throws StartError where another runtime holds the directory, with its process id */
export function lockStateDirectory(stateDirectory: string): StateLock {
	mkdirSync(stateDirectory, {recursive: true, mode: 0o700});
	const path = join(stateDirectory, 'runtime.lock');
	const fd = openSync(path, 'a+', 0o600);
	if (!lockFile(fd)) {
		const holder = readFileSync(path, 'utf8').trim();
		closeSync(fd);
		throw new StartError(`the state directory ${stateDirectory} is in use by the runtime with process id ${holder || '(unknown)'}; stop that one or choose another directory with --state`);
	}

	ftruncateSync(fd);
	writeSync(fd, `${process.pid}\n`);
	return {
		release() {
			closeSync(fd);
		},
	};
}
