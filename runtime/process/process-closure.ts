/**
 * A process with keys in it is closed to others: no debugger, no dump of its memory, no look into it by other processes
 * of its user. Whatever holds keys calls this before it gets any.
 */
import inspector from 'node:inspector';
import koffi from 'koffi';

const setDumpable = 4;
const coreSize = 4;

/** Whoever gives Node.js these words wants a debugger, and is who runs the program. */
const debuggerWords = /(?:^|\s)--(?:inspect|debug)/;

/** Without a listener Node.js opens its debugger at this signal, for everybody on the machine. */
export function ignoreDebuggerSignal(): void {
	process.on('SIGUSR1', () => undefined);
	const isWanted = debuggerWords.test([...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].join(' '));
	if (!isWanted && inspector.url() !== undefined) {
		// The signal came before.
		inspector.close();
	}
}

/** @returns what could not be done or is open on purpose, in words; all else has been done */
export function closeProcess(): string[] {
	ignoreDebuggerSignal();
	const library = koffi.load(null);
	const setrlimit = library.func('int setrlimit(int resource, const uint64_t *limit)') as unknown as (
		resource: number,
		limit: BigUint64Array,
	) => number;
	const prctl = library.func(
		'int prctl(int option, unsigned long first, unsigned long second, unsigned long third, unsigned long fourth)',
	) as unknown as (...values: number[]) => number;
	const open: string[] = [];
	// The limit is for helpers, which inherit it; a dump that is piped into a program knows no limit, but minds the
	// second one.
	if (setrlimit(coreSize, BigUint64Array.of(0n, 0n)) !== 0 || prctl(setDumpable, 0, 0, 0, 0) !== 0) {
		open.push(`dumps of its memory cannot be switched off (error ${koffi.errno()})`);
	}

	const url = inspector.url();
	if (url !== undefined) {
		open.push(
			`Node's debugger is open at ${url}, as it was asked for: whoever can connect to it can read the keys`,
		);
	}

	return open;
}
