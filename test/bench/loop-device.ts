/** Files as block devices of the kernel. None outlives the bench. */
import {spawnSync} from 'node:child_process';
import {runProgram} from './program.js';

const attached = new Set<string>();

process.once('exit', () => {
	for (const device of attached) {
		spawnSync('losetup', ['--detach', device]);
	}
});

/** Makes a file a block device while it is used; its content is cached once only, above the file. */
export async function withLoopDevice<T>(
	file: string,
	directory: string,
	use: (device: string) => Promise<T>,
): Promise<T> {
	const device = (await runProgram('losetup', ['--direct-io=on', '--find', '--show', file], directory)).trim();
	attached.add(device);
	try {
		return await use(device);
	} finally {
		await runProgram('losetup', ['--detach', device], directory);
		attached.delete(device);
	}
}
