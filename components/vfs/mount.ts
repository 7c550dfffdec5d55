/** The mount: made, watched, and cleared away. Nothing here looks into it, because this thread would have to answer. */
import fs from 'node:fs';
import {basename, dirname, join} from 'node:path';
import type {Environment} from '../../runtime/sdk/component.js';
import {mountedAt} from './mount-table.js';
import {runProgram} from './system-program.js';
import {mountAsUser} from './user-mount.js';
import {startWatchdog, type Watchdog} from './watchdog.js';

const device = '/dev/fuse';
const type = 'fuse.cbe';

function isRoot(): boolean {
	return process.getuid?.() === 0;
}

async function unmountLazily(path: string): Promise<boolean> {
	const {ok} = await (isRoot() ? runProgram('umount', ['-l', path]) : runProgram('fusermount3', ['-u', '-z', path]));
	return ok;
}

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === 'EPERM';
	}
}

/** What a run that was killed has left behind. @returns why the place cannot be used, if so */
async function clearStaleMounts(path: string, env: Environment): Promise<string | undefined> {
	for (let entry = mountedAt(path); entry?.type === type; entry = mountedAt(path)) {
		const pid = Number(/^cbe-(\d+)-/.exec(entry.source)?.[1]);
		if (pid !== process.pid && isAlive(pid)) {
			return `the process ${pid} serves a file system at ${path}`;
		}

		await unmountLazily(path);
		if (mountedAt(path)?.source === entry.source) {
			return `the dead mount at ${path} cannot be cleared; try "umount -l ${path}"`;
		}

		env.log(`cleared the mount at ${path} that an earlier run left behind`);
	}

	return undefined;
}

function openDevice(): number | string {
	try {
		return fs.openSync(device, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === 'ENOENT'
			? `there is no ${device}; load the kernel module fuse`
			: `${device} cannot be opened: ${(error as Error).message}`;
	}
}

async function mountAsRoot(fd: number, path: string, source: string, options: string): Promise<string | undefined> {
	const words = ['-i', '-n', '-t', type, '-o', `fd=3,rootmode=40000,user_id=0,group_id=0,${options}`, source, path];
	const {ok, message} = await runProgram('mount', words, {descriptors: [fd]});
	return ok ? undefined : message;
}

/** The path without symbolic links, as the mount table has it. Its last part is not looked at. */
function pathInMountTable(path: string): string {
	try {
		return join(fs.realpathSync(dirname(path)), basename(path));
	} catch {
		// The directory is not there yet, so nothing is mounted in it.
		return path;
	}
}

export interface MountOptions {
	/** An absolute path. */
	readonly path: string;
	/** Other users may look into it. */
	readonly allowOther: boolean;
	readonly env: Environment;
}

export class Mount {
	/** The open /dev/fuse; whoever serves the requests closes it. */
	readonly fd: number;
	readonly path: string;
	readonly #watchdog: Watchdog;

	private constructor(fd: number, path: string, watchdog: Watchdog) {
		this.fd = fd;
		this.path = path;
		this.#watchdog = watchdog;
	}

	/** @returns why it cannot be mounted, if so: a text for the log */
	static async make({path: givenPath, allowOther, env}: MountOptions): Promise<Mount | string> {
		const path = pathInMountTable(givenPath);
		const obstacle = await clearStaleMounts(path, env);
		if (obstacle !== undefined) {
			return obstacle;
		}

		const fd = openDevice();
		if (typeof fd === 'string') {
			return fd;
		}

		const source = `cbe-${process.pid}-${Buffer.from(env.randomBytes(4)).toString('hex')}`;
		const options = `nosuid,nodev,noexec,default_permissions${allowOther ? ',allow_other' : ''}`;
		const problem = await Mount.#attach(fd, path, source, options);
		if (problem !== undefined) {
			fs.closeSync(fd);
			return problem;
		}

		return new Mount(fd, path, startWatchdog(source, path, isRoot()));
	}

	static async #attach(fd: number, path: string, source: string, options: string): Promise<string | undefined> {
		try {
			fs.mkdirSync(path, {recursive: true, mode: 0o700});
		} catch (error) {
			return `the directory cannot be made: ${(error as Error).message}`;
		}

		return isRoot()
			? mountAsRoot(fd, path, source, options)
			: mountAsUser(fd, path, `${options},fsname=${source},subtype=cbe`);
	}

	/** Unmounts where nobody uses it any more. The requests that this causes must be served meanwhile. */
	async unmount(): Promise<boolean> {
		const {ok} = await (isRoot()
			? runProgram('umount', [this.path])
			: runProgram('fusermount3', ['-u', this.path]));
		if (ok) {
			this.#watchdog.dismiss();
		}

		return ok;
	}

	/**
	 * Takes it away from whoever uses it. Where no program can be started for that, the watchdog does it at the end of
	 * this process.
	 */
	async abandon(): Promise<void> {
		if (await unmountLazily(this.path)) {
			this.#watchdog.dismiss();
		}
	}
}
