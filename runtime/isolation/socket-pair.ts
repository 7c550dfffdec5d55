/** Pairs of connected sockets, and the way of a descriptor into another process. */
import koffi from 'koffi';

const unixFamily = 1;
const streamType = 1;
const closeOnExec = 0o2000000;
const nonBlocking = 0o4000;
const socketLevel = 1;
const sendBuffer = 7;
const sendBufferForce = 32;
const passDescriptors = 1;
const dontWait = 0x40;
const noSignal = 0x4000;
const closeReceivedOnExec = 0x40000000;

/** What a socket takes at once, so that large payload needs few turns. */
const bufferLength = 2 ** 20;

/** struct cmsghdr with one descriptor, padded. */
const controlLength = 24;
const controlContent = 16;
const controlUsed = 20;

interface Sockets {
	socketpair(domain: number, type: number, protocol: number, pair: Int32Array): number;
	setsockopt(fd: number, level: number, name: number, value: Int32Array, length: number): number;
	sendmsg(fd: number, message: Buffer, flags: number): bigint;
	recvmsg(fd: number, message: Buffer, flags: number): bigint;
	close(fd: number): number;
}

let sockets: Sockets | undefined;

function libc(): Sockets {
	if (!sockets) {
		const library = koffi.load(null);
		const declare = <T>(declaration: string) => library.func(declaration) as unknown as T;
		sockets = {
			socketpair: declare('int socketpair(int domain, int type, int protocol, _Out_ int *pair)'),
			setsockopt: declare('int setsockopt(int fd, int level, int name, const int *value, unsigned int length)'),
			sendmsg: declare('int64_t sendmsg(int fd, const void *message, int flags)'),
			recvmsg: declare('int64_t recvmsg(int fd, void *message, int flags)'),
			close: declare('int close(int fd)'),
		};
	}

	return sockets;
}

/** Two descriptors of a connected pair of stream sockets. The caller closes them. */
export function socketPair(): readonly [number, number] {
	const pair = new Int32Array(2);
	const {socketpair, setsockopt} = libc();
	if (socketpair(unixFamily, streamType | closeOnExec | nonBlocking, 0, pair) !== 0) {
		throw new Error(`no pair of sockets can be made (error ${koffi.errno()})`);
	}

	for (const fd of pair) {
		const length = Int32Array.of(bufferLength);
		if (setsockopt(fd, socketLevel, sendBufferForce, length, 4) !== 0) {
			// As much as the system grants everybody.
			setsockopt(fd, socketLevel, sendBuffer, length, 4);
		}
	}

	return [pair[0], pair[1]];
}

/** Closes a descriptor that came from here: Node's own way complains about those that it has not opened. */
export function closeDescriptor(fd: number): void {
	libc().close(fd);
}

/**
 * struct msghdr with one byte of data and room for one descriptor; it points into the buffers that are given with it.
 */
function messageHeader(): {readonly header: Buffer; readonly control: Buffer; readonly kept: readonly Buffer[]} {
	const data = Buffer.alloc(1);
	const control = Buffer.alloc(controlLength);
	const vector = Buffer.alloc(16);
	const header = Buffer.alloc(56);
	vector.writeBigUInt64LE(BigInt(koffi.address(data)), 0);
	vector.writeBigUInt64LE(1n, 8);
	header.writeBigUInt64LE(BigInt(koffi.address(vector)), 16);
	header.writeBigUInt64LE(1n, 24);
	header.writeBigUInt64LE(BigInt(koffi.address(control)), 32);
	header.writeBigUInt64LE(BigInt(controlLength), 40);
	return {header, control, kept: [data, vector]};
}

/** Sends a descriptor over a pair's socket and closes it here. @throws Error where the other end does not take it */
export function passDescriptor(over: number, fd: number): void {
	const {header, control, kept} = messageHeader();
	control.writeBigUInt64LE(BigInt(controlUsed), 0);
	control.writeInt32LE(socketLevel, 8);
	control.writeInt32LE(passDescriptors, 12);
	control.writeInt32LE(fd, controlContent);
	const sent = Number(libc().sendmsg(over, header, dontWait | noSignal));
	const errno = koffi.errno();
	closeDescriptor(fd);
	if (sent !== kept[0].length) {
		throw new Error(`a session could not be handed over (error ${errno})`);
	}
}

/** Takes a descriptor that has been sent. @throws Error where there is none */
export function takeDescriptor(from: number): number {
	const {header, control, kept} = messageHeader();
	const received = Number(libc().recvmsg(from, header, dontWait | closeReceivedOnExec));
	if (
		received !== kept[0].length ||
		control.readInt32LE(12) !== passDescriptors ||
		Number(header.readBigUInt64LE(40)) < controlUsed
	) {
		throw new Error(`a session was not handed over (error ${koffi.errno()})`);
	}

	return control.readInt32LE(controlContent);
}
