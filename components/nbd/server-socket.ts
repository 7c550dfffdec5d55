/** The sockets on which clients arrive. */
import {once} from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import {StartError, type Obstacle} from '../../runtime/sdk/component.js';
import {whyUnmakable} from '../../runtime/sdk/host-path.js';
import {keepAliveMs} from './client-limits.js';
import {bindPrivately} from './private-socket.js';

/** Longest path of a unix socket that the kernel takes, in bytes (sun_path without its final zero). */
const unixPathLengthMax = 107;

export type SocketAddress = {readonly path: string} | {readonly host: string; readonly port: number};

/** A socket that is listened on. */
export interface ServerSocket {
	/** A path, or what the kernel made of host and port. */
	readonly address: string | net.AddressInfo;
	/** Accepts nobody any more. A unix socket's file goes with it, unless somebody else's has taken its place. */
	close(): void;
}

export type SocketHandler = (socket: net.Socket, address: SocketAddress) => void;

function newServer(onSocket: (socket: net.Socket) => void): net.Server {
	// Half-open sockets stay usable: a client may end its side and still wait for replies.
	return net.createServer(
		{allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs, pauseOnConnect: true},
		onSocket,
	);
}

function reasonOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

/** True where somebody accepts connections at the path. */
async function isServed(path: string): Promise<boolean> {
	const socket = net.connect(path);
	try {
		await once(socket, 'connect');
		return true;
	} catch {
		return false;
	} finally {
		socket.destroy();
	}
}

/** Removes what a server that was killed left behind, and nothing else. */
async function removeStale(path: string): Promise<void> {
	const stat = fs.lstatSync(path, {throwIfNoEntry: false});
	if (!stat) {
		return;
	}

	if (await isServed(path)) {
		throw new StartError(`another server accepts connections on ${path}; stop it or give another path`);
	}

	fs.rmSync(path, {force: true});
}

/**
 * What keeps a socket from being made at the path, as far as that shows without trying. @param madeBefore a directory
 * that is made before
 */
export function unixSocketObstacle(path: string, madeBefore: string): Pick<Obstacle, 'what' | 'remedy'> | undefined {
	if (Buffer.byteLength(path) > unixPathLengthMax) {
		return {
			what: `the path of the socket ${path} has ${Buffer.byteLength(path)} bytes, and the system takes no more than ${unixPathLengthMax}`,
			remedy: 'choose a shorter state directory or path',
		};
	}

	const reason = whyUnmakable(path, madeBefore);
	if (reason !== undefined) {
		return {
			what: `the socket ${path} cannot be made: ${reason}`,
			remedy: 'make the folder (mkdir -p) or give this user rights there, or correct the path',
		};
	}

	return fs.lstatSync(path, {throwIfNoEntry: false})?.isSocket() === false
		? {what: `${path} exists and is no socket`, remedy: 'move it away or give another path'}
		: undefined;
}

async function listenUnix(server: net.Server, path: string): Promise<ServerSocket> {
	const obstacle = unixSocketObstacle(path, '');
	if (obstacle) {
		throw new StartError(`${obstacle.what}; ${obstacle.remedy}`);
	}

	await removeStale(path);
	const fd = bindPrivately(path);
	const {ino, dev} = fs.lstatSync(path);
	const listening = once(server, 'listening');
	server.listen({fd});
	await listening;
	return {
		address: path,
		close() {
			server.close();
			const found = fs.lstatSync(path, {throwIfNoEntry: false});
			if (found?.ino === ino && found.dev === dev) {
				fs.rmSync(path, {force: true});
			}
		},
	};
}

async function listenTcp(
	server: net.Server,
	address: {readonly host: string; readonly port: number},
): Promise<ServerSocket> {
	server.listen(address);
	await once(server, 'listening');
	return {
		address: server.address()!,
		close() {
			server.close();
		},
	};
}

async function openServerSocket(address: SocketAddress, onSocket: SocketHandler): Promise<ServerSocket> {
	const server = newServer(socket => {
		onSocket(socket, address);
	});
	try {
		return await ('path' in address ? listenUnix(server, address.path) : listenTcp(server, address));
	} catch (error) {
		server.close();
		const place = 'path' in address ? address.path : `${address.host}:${address.port}`;
		throw error instanceof StartError ? error : new StartError(`cannot listen on ${place}: ${reasonOf(error)}`);
	}
}

/** Listens everywhere or nowhere, and hands each client's socket on. */
export async function openServerSockets(
	addresses: readonly SocketAddress[],
	onSocket: SocketHandler,
): Promise<ServerSocket[]> {
	const sockets: ServerSocket[] = [];
	try {
		for (const address of addresses) {
			sockets.push(await openServerSocket(address, onSocket));
		}
	} catch (error) {
		closeServerSockets(sockets);
		throw error;
	}

	return sockets;
}

export function closeServerSockets(sockets: readonly ServerSocket[]): void {
	for (const socket of sockets) {
		socket.close();
	}
}
