/** Where images lie: a folder that is gone when the bench ends, whichever way. */
import {mkdirSync, mkdtempSync, rmSync, statfsSync} from 'node:fs';
import {join} from 'node:path';
import {projectFolder} from '../support/runtime-process.js';
import {killPrograms} from './program.js';
import {killServers, stopServers} from './server-process.js';

const stateDirectory = join(projectFolder, 'var');
const memoryDirectory = '/dev/shm';
/** `f_type` of a tmpfs. */
const tmpfsType = 0x0102_1994;
/** What the shell reports for a process that SIGINT ended. */
const interruptedExitCode = 130;

const folders = new Set<string>();

/** Servers that are asked to end may take as long, in milliseconds. */
const stopTimeMaxMs = 10_000;

function removeFolders(): void {
	for (const folder of folders) {
		try {
			rmSync(folder, {recursive: true, force: true});
		} catch (error) {
			process.stderr.write(`[bench] ${folder} is left: ${(error as Error).message}\n`);
		}
	}

	folders.clear();
}

/**
 * From now on nothing of the bench outlives it. A first SIGINT or SIGTERM lets it say what it knows and has servers end
 * in order; a second one does not wait for them.
 */
export function cleanUpAtExit(onInterrupt: () => void): void {
	let isInterrupted = false;
	process.once('exit', () => {
		killPrograms();
		killServers();
		removeFolders();
	});
	const interrupt = () => {
		if (isInterrupted) {
			process.exit(interruptedExitCode);
		}

		isInterrupted = true;
		onInterrupt();
		killPrograms();
		void stopServers(stopTimeMaxMs).finally(() => {
			process.exit(interruptedExitCode);
		});
	};

	for (const signal of ['SIGINT', 'SIGTERM'] as const) {
		process.on(signal, interrupt);
	}
}

function freeByteLength(directory: string): number {
	try {
		const {bavail, bsize} = statfsSync(directory);
		return bavail * bsize;
	} catch {
		return 0;
	}
}

export function isMemory(directory: string): boolean {
	return statfsSync(directory).type === tmpfsType;
}

/** Memory where it has room for the images, else the state directory. */
export function defaultDirectory(storage: 'memory' | 'disk', byteLength: number): string {
	if (storage === 'memory' && freeByteLength(memoryDirectory) > byteLength) {
		return memoryDirectory;
	}

	mkdirSync(stateDirectory, {recursive: true});
	return stateDirectory;
}

export function makeFolder(directory: string): string {
	const folder = mkdtempSync(join(directory, 'cbe-bench-'));
	folders.add(folder);
	return folder;
}

export function removeFolder(folder: string): void {
	rmSync(folder, {recursive: true, force: true});
	folders.delete(folder);
}
