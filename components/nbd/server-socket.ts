/** The sockets on which clients arrive. */
import {once} from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import {StartError} from '../../runtime/sdk/component.js';

/** Longest path of a unix socket that the kernel takes, in bytes (sun_path without its final zero). */
const unixPathLengthMax = 107;

/** Only the owner may connect. */
const unixSocketMode = 0o600;

export type SocketAddress = {readonly path: string} | {readonly host: string; readonly port: number};

export type SocketHandler = (socket: net.Socket, address: SocketAddress) => void;

function newServer(onSocket: (socket: net.Socket) => void): net.Server {
	// Half-open sockets stay usable: a client may end its side and still wait for replies.
	return net.createServer({allowHalfOpen: true, noDelay: true, pauseOnConnect: true}, onSocket);
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

	if (!stat.isSocket()) {
		throw new StartError(`${path} exists and is no socket; move it away or give another path`);
	}

	if (await isServed(path)) {
		throw new StartError(`another server accepts connections on ${path}; stop it or give another path`);
	}

	fs.rmSync(path, {force: true});
}

async function listenUnix(server: net.Server, path: string): Promise<void> {
	if (Buffer.byteLength(path) > unixPathLengthMax) {
		throw new StartError(`the path of the socket ${path} is longer than ${unixPathLengthMax} bytes; choose a shorter state directory or path`);
	}

	await removeStale(path);
	const listening = once(server, 'listening');
	server.listen(path);
	// Listening has begun when `listen` returns, or never will; nobody was accepted yet.
	if (server.listening) {
		fs.chmodSync(path, unixSocketMode);
	}

	await listening;
}

async function openServerSocket(address: SocketAddress, onSocket: SocketHandler): Promise<net.Server> {
	const server = newServer(socket => {
		onSocket(socket, address);
	});
	try {
		if ('path' in address) {
			await listenUnix(server, address.path);
		} else {
			server.listen({host: address.host, port: address.port});
			await once(server, 'listening');
		}
	} catch (error) {
		server.close();
		const place = 'path' in address ? address.path : `${address.host}:${address.port}`;
		throw error instanceof StartError ? error : new StartError(`cannot listen on ${place}: ${reasonOf(error)}`);
	}

	return server;
}

/** Listens everywhere or nowhere, and hands each client's socket on. */
export async function openServerSockets(addresses: readonly SocketAddress[], onSocket: SocketHandler): Promise<net.Server[]> {
	const servers: net.Server[] = [];
	try {
		for (const address of addresses) {
			servers.push(await openServerSocket(address, onSocket));
		}
	} catch (error) {
		closeServerSockets(servers);
		throw error;
	}

	return servers;
}

/** Accepts nobody any more. A unix socket's file goes with it. */
export function closeServerSockets(servers: readonly net.Server[]): void {
	for (const server of servers) {
		server.close();
	}
}
