/**
 * A client's socket that is also read and written directly, without the layers of a stream: for a small request these
 * cost more than all the rest of it. The event loop still says when there is something to read, and takes what cannot
 * be sent at once. All of it happens on one thread, so bytes keep their order: the stream hands on what it reads at
 * once and keeps nothing back.
 */
import net from 'node:net';
import koffi from 'koffi';
import {addressOf} from '../../runtime/sdk/memory-address.js';

/** Flags of recv(2) and send(2): do not wait; a peer that is gone is an error and no signal. */
const doNotWait = 0x40;
const noSignal = 0x4000;
/** ioctl(2), SIOCOUTQ: the bytes of a socket that the peer has not taken. */
const unsentCommand = 0x5411;
/** fcntl(2): another descriptor of the same socket, which no program that is started inherits. */
const duplicateCloseOnExec = 1030;

interface Libc {
	receive(fd: number, target: number, byteLength: number, flags: number): number;
	send(fd: number, source: number, byteLength: number, flags: number): number;
	yieldCpu(): number;
	unsent(fd: number, command: number, byteLength: [number]): number;
	duplicate(fd: number): number;
}

let libc: Libc | undefined;

function loadLibc(): Libc {
	const library = koffi.load(null);
	const fcntl = library.func('int fcntl(int fd, int command, ...)') as (
		fd: number,
		command: number,
		type: string,
		least: number,
	) => number;
	return {
		receive: library.func('intptr_t recv(int fd, void *target, size_t length, int flags)'),
		send: library.func('intptr_t send(int fd, const void *source, size_t length, int flags)'),
		yieldCpu: library.func('int sched_yield()'),
		unsent: library.func('int ioctl(int fd, unsigned long command, _Out_ int *byteLength)'),
		duplicate: fd => fcntl(fd, duplicateCloseOnExec, 'int', 0),
	};
}

/** Node does not document where it keeps the descriptor, so nothing depends on finding it. */
function descriptorOf(socket: net.Socket): number | undefined {
	const {_handle: handle} = socket as {_handle?: {fd?: unknown} | null};
	return typeof handle?.fd === 'number' && handle.fd >= 0 ? handle.fd : undefined;
}

export class DirectSocket {
	/** The stream that owns the descriptor. It writes and ends like any other; what it reads goes to the listener. */
	readonly stream: net.Socket;
	readonly #libc: Libc;
	readonly #fd: number;
	readonly #memory: Buffer;
	#listener: (bytes: Buffer) => void = () => undefined;

	private constructor(library: Libc, fd: number, memory: Buffer) {
		this.#libc = library;
		this.#fd = fd;
		this.#memory = memory;
		const callback = (byteLength: number) => {
			this.#listener(memory.subarray(0, byteLength));
			return true;
		};
		const options: net.SocketConstructorOpts & {onread: net.OnReadOpts} = {
			fd,
			allowHalfOpen: true,
			onread: {buffer: memory, callback},
		};
		this.stream = new net.Socket(options);
	}

	/**
	 * Takes over a socket that nobody has read. What is read arrives in `memory`, which all sockets of a thread may
	 * share. Undefined where it cannot be done; the socket serves on as it is.
	 */
	static adopt(accepted: net.Socket, memory: Buffer): DirectSocket | undefined {
		const fd = descriptorOf(accepted);
		if (fd === undefined) {
			return undefined;
		}

		libc ??= loadLibc();
		const duplicate = libc.duplicate(fd);
		if (duplicate < 0) {
			return undefined;
		}

		const direct = new DirectSocket(libc, duplicate, memory);
		accepted.destroy();
		return direct;
	}

	/** From now on the listener hears of what the stream reads. The bytes are its own only until it returns. */
	listen(listener: (bytes: Buffer) => void): void {
		this.#listener = listener;
	}

	/**
	 * Reads what is there into `target` from `offset` on: the number of bytes. An end or a failure, the stream tells
	 * of.
	 */
	receive(target: Buffer, offset: number): number {
		// The descriptor is the stream's own, and means something else once that has closed it.
		if (this.stream.destroyed) {
			return 0;
		}

		const count = this.#libc.receive(this.#fd, addressOf(target) + offset, target.length - offset, doNotWait);
		if (count >= 0) {
			return count;
		}

		const errno = koffi.errno();
		const {EAGAIN, EINTR} = koffi.os.errno;
		if (errno !== EAGAIN && errno !== EINTR) {
			// The kernel tells of an error once; the stream would only find an end.
			this.stream.destroy();
		}

		return 0;
	}

	/**
	 * Looks for bytes and hands them to the listener; where there are none, threads that wait for this CPU go first.
	 */
	look(): boolean {
		const count = this.receive(this.#memory, 0);
		if (count === 0) {
			this.#libc.yieldCpu();
			return false;
		}

		this.#listener(this.#memory.subarray(0, count));
		return true;
	}

	/**
	 * Bytes on their way that the peer has not taken: those that the kernel keeps, and those that the event loop still
	 * has to give it. Each byte that is taken makes one of the two smaller, until more is sent.
	 */
	get unsentByteLengths(): readonly [number, number] {
		const {_handle: handle} = this.stream as {_handle?: {writeQueueSize?: unknown} | null};
		const queued = typeof handle?.writeQueueSize === 'number' ? handle.writeQueueSize : 0;
		const kept: [number] = [0];
		if (!this.stream.destroyed) {
			this.#libc.unsent(this.#fd, unsentCommand, kept);
		}

		return [kept[0], queued];
	}

	/**
	 * Sends what the socket takes at once, and says how many bytes that was. Why it took no more, the stream finds out.
	 */
	send(bytes: Buffer): number {
		return this.stream.destroyed
			? 0
			: Math.max(0, this.#libc.send(this.#fd, addressOf(bytes), bytes.length, doNotWait | noSignal));
	}
}
