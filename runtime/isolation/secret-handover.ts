/**
 * The way of secrets from the environment of the runtime into an isolated process: straight from the memory that the
 * system gave the runtime its environment in, past everything JavaScript keeps copies of, and wiped there.
 *
 * On the way they lie in a socket's buffer, each as length of name (4 bytes), length of value (4), name, value.
 */
import {readSync, writeSync} from 'node:fs';
import {variableLength, writeVariable} from '../process/process-environment.js';
import {secretBytes} from '../sdk/secret-memory.js';
import {closeDescriptor, socketPair} from './socket-pair.js';

/** All secrets of one process. */
const handoverLengthMax = 64 * 1024;
const headLength = 8;

/** Writes a secret; nothing where the variable is not set. */
function sendVariable(fd: number, name: string): void {
	const length = variableLength(name);
	if (length !== undefined) {
		sendHead(fd, name, length);
		writeVariable(fd, name);
	}
}

function sendHead(fd: number, name: string, valueLength: number): void {
	const head = Buffer.alloc(headLength);
	head.writeUInt32LE(Buffer.byteLength(name), 0);
	head.writeUInt32LE(valueLength, 4);
	writeSync(fd, Buffer.concat([head, Buffer.from(name)]));
}

/**
 * The end of a socket from which these secrets can be read; what is in `given` comes from there, all else from the
 * environment.
 */
export function handOver(names: readonly string[], given: ReadonlyMap<string, Uint8Array>): number {
	const [from, into] = socketPair();
	try {
		for (const name of names) {
			const secret = given.get(name);
			if (secret) {
				sendHead(into, name, secret.length);
				if (secret.length > 0) {
					writeSync(into, secret);
				}
			} else {
				sendVariable(into, name);
			}
		}
	} finally {
		closeDescriptor(into);
	}

	return from;
}

/** Reads everything that was handed over, and closes the socket. The caller wipes the secrets. */
export function receiveSecrets(fd: number): Map<string, Buffer> {
	const all = secretBytes(handoverLengthMax);
	let length = 0;
	for (let read = -1; read !== 0 && length < all.length; length += read) {
		read = readSync(fd, all, length, all.length - length, null);
	}

	closeDescriptor(fd);
	const secrets = new Map<string, Buffer>();
	for (let at = 0; at < length;) {
		const nameEnd = at + headLength + all.readUInt32LE(at);
		const end = nameEnd + all.readUInt32LE(at + 4);
		const secret = secretBytes(end - nameEnd);
		all.copy(secret, 0, nameEnd, end);
		secrets.set(all.toString('utf8', at + headLength, nameEnd), secret);
		at = end;
	}

	all.fill(0);
	return secrets;
}
