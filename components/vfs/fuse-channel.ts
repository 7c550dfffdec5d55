/**
 * The kernel's end of the mount: requests are taken from /dev/fuse without blocking this thread, whose event loop says
 * when there are any. So the thread goes on serving its sessions, and can end at any time.
 */
import fs from 'node:fs';
import koffi from 'koffi';
import {addressOf} from '../../runtime/sdk/memory-address.js';
import type {Environment} from '../../runtime/sdk/component.js';
import {errno} from './errno.js';
import {decodeHeader, type RequestHeader} from './fuse-request.js';
import {encodeHeader} from './fuse-reply.js';
import {lengths} from './fuse-protocol.js';
import {turnRequestCountMax} from './file-system-limits.js';
import {PayloadSlots, type HeldData} from './payload-slots.js';

type Read = (fd: number, target: number, byteLength: number) => number;

export interface FuseRequest extends RequestHeader {
	/** What follows the header. Valid only until the handler returns. */
	readonly body: Buffer;
	/** Keeps the data that begins at `offset` of the body beyond that. */
	hold(offset: number, length: number): HeldData;
}

export interface ChannelEvents {
	onRequest(request: FuseRequest): void;
	/** The file system was unmounted; no request comes any more. */
	onEnd(): void;
}

export class FuseChannel {
	readonly #fd: number;
	readonly #env: Environment;
	readonly #events: ChannelEvents;
	readonly #read = koffi.load(null).func('read', 'intptr_t', ['int', 'void *', 'size_t']) as unknown as Read;
	readonly #slots: PayloadSlots;
	readonly #poll: ReturnType<typeof koffi.node.poll>;
	#isOpen = true;
	readonly #onExit = (): void => {
		this.#poll.close();
	};

	/** @param fd an open /dev/fuse that does not block; it is closed at the end */
	constructor(fd: number, env: Environment, events: ChannelEvents) {
		this.#fd = fd;
		this.#env = env;
		this.#events = events;
		this.#slots = new PayloadSlots(env, () => {
			this.#listen();
		});
		this.#poll = koffi.node.poll(fd, {readable: true, disconnect: true}, () => {
			this.#take();
		});
		// A request that arrives while the thread is torn down would otherwise call into it, and end the process.
		process.once('exit', this.#onExit);
	}

	/** Answers a request. @param error 0, or a positive error number */
	reply(unique: bigint, error: number, payload?: Buffer): void {
		const header = encodeHeader(unique, error, payload?.length ?? 0);
		this.#send(payload ? [header, payload] : [header]);
	}

	/**
	 * Tells the kernel something on its own account. The kernel may wait for requests to be served before it takes it,
	 * so this never happens on this thread.
	 */
	async notify(message: Buffer): Promise<void> {
		if (!this.#isOpen) {
			return;
		}

		await new Promise<void>(resolve => {
			fs.write(this.#fd, message, error => {
				// ENOENT: the kernel has nothing cached of it.
				if (error && error.code !== 'ENOENT' && this.#isOpen) {
					this.#env.log(`the kernel may show outdated content: ${error.message}`, 'warning');
				}

				resolve();
			});
		});
	}

	/** Ends the connection: who still waits for an answer gets an error from the kernel. */
	close(): void {
		if (this.#isOpen) {
			this.#isOpen = false;
			process.off('exit', this.#onExit);
			this.#poll.close();
			fs.closeSync(this.#fd);
		}
	}

	#listen(): void {
		if (this.#isOpen) {
			this.#poll.start({readable: true, disconnect: true}, () => {
				this.#take();
			});
		}
	}

	#send(parts: Buffer[]): void {
		if (!this.#isOpen) {
			return;
		}

		try {
			fs.writevSync(this.#fd, parts);
		} catch (error) {
			// ENOENT: nobody waits any more. ENODEV: unmounted meanwhile.
			const {code} = error as NodeJS.ErrnoException;
			if (code !== 'ENOENT' && code !== 'ENODEV') {
				this.#env.fail(`the kernel refuses an answer: ${(error as Error).message}`);
			}
		}
	}

	#take(): void {
		for (let i = 0; i < turnRequestCountMax && this.#isOpen; i++) {
			const target = this.#slots.next();
			if (!target) {
				this.#poll.stop();
				return;
			}

			const byteLength = this.#read(this.#fd, addressOf(target), target.length);
			if (byteLength >= 0) {
				this.#handle(target.subarray(0, byteLength));
			} else if (!this.#goesOn(koffi.errno())) {
				return;
			}
		}
	}

	/** What a failed read means; false where nothing more is to be read now. */
	#goesOn(error: number): boolean {
		switch (error) {
			// A request that was interrupted before it was taken.
			case errno.ENOENT:
			case errno.EINTR: {
				return true;
			}

			case errno.EAGAIN: {
				return false;
			}

			case errno.ENODEV: {
				this.close();
				this.#events.onEnd();
				return false;
			}

			default: {
				return this.#env.fail(`reading from /dev/fuse failed with error ${error}`);
			}
		}
	}

	#handle(bytes: Buffer): void {
		const header = decodeHeader(bytes);
		if (!header) {
			this.#env.fail('what came from /dev/fuse is no request');
		}

		this.#events.onRequest({
			...header,
			body: bytes.subarray(lengths.inHeader),
			hold: (offset, length) => this.#slots.hold(lengths.inHeader + offset, length),
		});
	}
}
