/**
 * Unix sockets that only their owner can ever open. The kernel takes a new socket's mode for the file that it makes of
 * it, so the file has its mode before anybody can see it; changing it afterwards would leave a moment for others.
 */
import fs from 'node:fs';
import koffi from 'koffi';

/** Only the owner may connect. */
const ownerOnly = 0o600;

const unixFamily = 1;
const stream = 1;
const closeOnExec = 0x8_0000;
const doNotWait = 0x800;

/** sockaddr_un: the family, and a path that ends with a zero. */
const addressByteLength = 110;

interface Libc {
	socket(family: number, type: number, protocol: number): number;
	bind(fd: number, address: Buffer, byteLength: number): number;
	close(fd: number): number;
}

let libc: Libc | undefined;

function loadLibc(): Libc {
	if (libc) {
		return libc;
	}

	const library = koffi.load(null);
	libc = {
		socket: library.func('int socket(int family, int type, int protocol)'),
		bind: library.func('int bind(int fd, const void *address, unsigned int byteLength)'),
		close: library.func('int close(int fd)'),
	};
	return libc;
}

function failure(action: string): Error {
	const number = koffi.errno();
	const name = Object.entries(koffi.os.errno).find(([, value]) => value === number)?.[0] ?? `error ${number}`;
	return new Error(`${action}: ${name}`);
}

/** A socket bound to the path, on which nobody listens yet: its descriptor. @throws Error where the kernel refuses */
export function bindPrivately(path: string): number {
	const {socket, bind} = loadLibc();
	const address = Buffer.alloc(addressByteLength);
	address.writeUInt16LE(unixFamily, 0);
	address.write(path, 2);
	const fd = socket(unixFamily, stream | closeOnExec | doNotWait, 0);
	if (fd < 0) {
		throw failure('no socket');
	}

	fs.fchmodSync(fd, ownerOnly);
	if (bind(fd, address, addressByteLength) < 0) {
		const error = failure('it cannot be made');
		closeSocket(fd);
		throw error;
	}

	return fd;
}

/** Closes a socket on which nobody ever listened. */
export function closeSocket(fd: number): void {
	loadLibc().close(fd);
}
