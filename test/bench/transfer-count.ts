/** Counts the system calls that move data between this process and files. */
import fs from 'node:fs';

/** How often `job` reads from and writes to files at a position, in this thread. */
export async function transferCalls(job: () => Promise<unknown>): Promise<number> {
	const {readSync, writeSync} = fs;
	let count = 0;
	const counted =
		<Arguments extends unknown[], Result>(call: (...words: Arguments) => Result) =>
		(...words: Arguments): Result => {
			count++;
			return call(...words);
		};
	Object.assign(fs, {
		readSync: counted(readSync as (...words: unknown[]) => number),
		writeSync: counted(writeSync as (...words: unknown[]) => number),
	});
	try {
		await job();
	} finally {
		Object.assign(fs, {readSync, writeSync});
	}

	return count;
}
