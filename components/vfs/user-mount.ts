/**
 * Mounting without being root: fusermount3 mounts for its caller, and passes the mount's descriptor through a socket.
 * It is taken from there, and a descriptor of our own is put in its place, because the thread must close it when it
 * ends.
 */
import koffi from 'koffi';
import {runProgram} from './system-program.js';

const unixFamily = 1;
/** A stream, closed in programs that are started. */
const streamSocket = 1 | 0o2_000_000;
/** FUSE_DEV_IOC_CLONE of `linux/fuse.h`. */
const cloneRequest = 0x8004_e500;
const receiveFlags = {dontWait: 0x40, closeOnExec: 0x4000_0000};
/** Of `struct msghdr` and of `struct cmsghdr` with one descriptor, on machines with 64 bits. */
const messageLayout = {byteLength: 56, vector: 16, vectorCount: 24, control: 32, controlLength: 40};
const controlLayout = {byteLength: 24, descriptor: 16};

interface Libc {
	readonly socketpair: (family: number, type: number, protocol: number, pair: Int32Array) => number;
	readonly recvmsg: (fd: number, message: Buffer, flags: number) => number;
	/** For descriptors that Node.js has not opened, and so does not know. */
	readonly close: (fd: number) => number;
	readonly ioctl: (fd: number, request: number, argument: Uint32Array) => number;
}

function loadLibc(): Libc {
	const library = koffi.load(null);
	return {
		socketpair: library.func('socketpair', 'int', ['int', 'int', 'int', 'void *']),
		recvmsg: library.func('recvmsg', 'intptr_t', ['int', 'void *', 'int']),
		close: library.func('close', 'int', ['int']),
		ioctl: library.func('ioctl', 'int', ['int', 'unsigned long', 'void *']),
	};
}

/** Takes the one descriptor that waits in the socket. */
function receiveDescriptor(libc: Libc, socket: number): number | undefined {
	const data = Buffer.alloc(8);
	const vector = Buffer.alloc(16);
	const control = Buffer.alloc(controlLayout.byteLength);
	const message = Buffer.alloc(messageLayout.byteLength);
	vector.writeBigUInt64LE(koffi.address(data), 0);
	vector.writeBigUInt64LE(1n, 8);
	message.writeBigUInt64LE(koffi.address(vector), messageLayout.vector);
	message.writeBigUInt64LE(1n, messageLayout.vectorCount);
	message.writeBigUInt64LE(koffi.address(control), messageLayout.control);
	message.writeBigUInt64LE(BigInt(control.length), messageLayout.controlLength);
	const received = libc.recvmsg(socket, message, receiveFlags.dontWait | receiveFlags.closeOnExec);
	return received > 0 && control.readUInt32LE(0) > controlLayout.descriptor
		? control.readInt32LE(controlLayout.descriptor)
		: undefined;
}

/** Attaches `fd`, an unused /dev/fuse, to a new mount at `path`. @returns why that did not work, if so */
export async function mountAsUser(fd: number, path: string, options: string): Promise<string | undefined> {
	const libc = loadLibc();
	const pair = new Int32Array(2);
	if (libc.socketpair(unixFamily, streamSocket, 0, pair) !== 0) {
		return 'no socket for fusermount3';
	}

	const [ours, theirs] = pair;
	try {
		const {ok, message} = await runProgram('fusermount3', ['-o', options, '--', path], {
			descriptors: [theirs],
			variables: {_FUSE_COMMFD: '3'},
		});
		const mounted = ok ? receiveDescriptor(libc, ours) : undefined;
		if (mounted === undefined) {
			return ok ? 'fusermount3 passed no descriptor' : message;
		}

		const cloned = libc.ioctl(fd, cloneRequest, Uint32Array.of(mounted));
		libc.close(mounted);
		return cloned === 0 ? undefined : 'the descriptor of fusermount3 cannot be cloned';
	} finally {
		libc.close(ours);
		libc.close(theirs);
	}
}
