/** Asks for a passphrase in a process of its own, so that the runtime's process never holds it. */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import type {DeviceTarget} from './device-call.js';

/** Nothing but what a program at a terminal needs. */
function askingEnvironment(): Record<string, string> {
	return Object.fromEntries(
		['PATH', 'LANG', 'LC_ALL', 'TERM', 'TZ'].flatMap(name => {
			const value = process.env[name];
			return value === undefined ? [] : [[name, value]];
		}),
	);
}

/** True where the user would rather end everything than answer. */
export async function unlockSeparately({stateDirectory, child}: DeviceTarget): Promise<boolean> {
	const words = [
		process.argv[1],
		'unlock',
		'--state',
		stateDirectory,
		...(child === undefined ? [] : ['--device', child]),
	];
	const asking = spawn(process.execPath, words, {stdio: 'inherit', env: askingEnvironment()});
	const [, signal] = (await once(asking, 'exit')) as [number | null, NodeJS.Signals | null];
	return signal === 'SIGINT';
}
