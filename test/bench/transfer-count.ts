/** Counts the system calls that move data between this process and its image. */
import fs from 'node:fs';
import type {LocalDevice} from './local-device.js';

/** How often `job` has block_file read from its image, as it tells itself, and write to files at a position. */
export async function transferCalls(device: LocalDevice, job: () => Promise<unknown>): Promise<number> {
	const {writeSync} = fs;
	const readCalls = () => Number(device.status('block_file').read_calls);
	const readBefore = readCalls();
	let writeCount = 0;
	Object.assign(fs, {
		writeSync(...words: Parameters<typeof writeSync>) {
			writeCount++;
			return writeSync(...words);
		},
	});
	try {
		await job();
	} finally {
		Object.assign(fs, {writeSync});
	}

	return readCalls() - readBefore + writeCount;
}
