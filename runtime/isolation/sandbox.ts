/** What an isolated process takes from itself before it loads a component. None of it can be taken back. */
import koffi from 'koffi';
import {openFilesMax} from '../sdk/open-files.js';
import {isFiltered, seccompFilter} from './seccomp-filter.js';

export interface Sandbox {
	/** The user (and group) to become; undefined where the process stays who it is. */
	readonly user: number | undefined;
	/** It writes no files. */
	readonly writesNothing: boolean;
	/** It makes connections to unix sockets. */
	readonly sockets: boolean;
}

const setParentDeathSignal = 1;
const setDumpable = 4;
const setNoNewPrivileges = 38;
const killSignal = 9;

const seccompCall = {x64: 317, arm64: 277} as const;
const setFilter = 1;
/** For all threads that are there already. */
const forAllThreads = 1;

const limits = {fileSize: 1, core: 4, processes: 6, openFiles: 7, messageQueue: 12} as const;
const isolatedOpenFilesMax = 1024;
/** Threads, which count as processes of their user, together with those of other isolated components. */
const threadsMax = 1024;

interface System {
	prctl(option: number, first: number, second: number, third: number, fourth: number): number;
	setrlimit(resource: number, limit: BigUint64Array): number;
	syscall(number: number, operation: number, flags: number, argument: Buffer): bigint;
}

function loadSystem(): System {
	const library = koffi.load(null);
	const declare = <T>(declaration: string) => library.func(declaration) as unknown as T;
	return {
		prctl: declare(
			'int prctl(int option, unsigned long first, unsigned long second, unsigned long third, unsigned long fourth)',
		),
		setrlimit: declare('int setrlimit(int resource, const uint64_t *limit)'),
		syscall: declare(
			'int64_t syscall(long number, unsigned long operation, unsigned long flags, const void *argument)',
		),
	};
}

function become(user: number): void {
	process.setgroups!([]);
	process.setgid!(user);
	process.setuid!(user);
}

/** @returns what could not be done, in words; all else has been done */
export function enterSandbox({user, writesNothing, sockets}: Sandbox): string[] {
	const system = loadSystem();
	const missing: string[] = [];
	const attempt = (what: string, failed: boolean) => {
		if (failed) {
			missing.push(`${what} (error ${koffi.errno()})`);
		}
	};
	const limit = (what: string, resource: number, value: number) => {
		attempt(what, system.setrlimit(resource, BigUint64Array.of(BigInt(value), BigInt(value))) !== 0);
	};
	limit('no core dumps', limits.core, 0);
	// One that is lower already stays: only root may raise it.
	limit('a limit of open files', limits.openFiles, Math.min(isolatedOpenFilesMax, openFilesMax() ?? Infinity));
	limit('no message queues', limits.messageQueue, 0);
	if (writesNothing) {
		limit('no files of its own', limits.fileSize, 0);
	}

	if (user !== undefined) {
		become(user);
		limit('a limit of threads', limits.processes, threadsMax);
	}

	// After the change of user, which sets it anew. Others of the same user cannot look into the process then.
	attempt('memory closed to other processes of its user', system.prctl(setDumpable, 0, 0, 0, 0) !== 0);
	attempt('an end with the runtime', system.prctl(setParentDeathSignal, killSignal, 0, 0, 0) !== 0);
	attempt('no new privileges', system.prctl(setNoNewPrivileges, 1, 0, 0, 0) !== 0);
	if (!isFiltered(process.arch)) {
		return [...missing, `a filter of system calls (there is none for ${process.arch})`];
	}

	const instructions = seccompFilter(process.arch, {sockets});
	const program = Buffer.alloc(16);
	program.writeUInt16LE(instructions.length / 8, 0);
	program.writeBigUInt64LE(BigInt(koffi.address(instructions)), 8);
	attempt(
		'a filter of system calls',
		Number(system.syscall(seccompCall[process.arch], setFilter, forAllThreads, program)) !== 0,
	);
	return missing;
}
