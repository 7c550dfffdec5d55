/**
 * The way of secrets from the environment of the runtime into an isolated process: straight from the memory that the system
 * gave the runtime its environment in, past everything JavaScript keeps copies of, and wiped there.
 *
 * On the way they lie in a socket's buffer, each as length of name (4 bytes), length of value (4), name, value.
 */
import {readSync, writeSync} from 'node:fs';
import koffi from 'koffi';
import {secretBytes} from '../sdk/secret-memory.js';
import {closeDescriptor, socketPair} from './socket-pair.js';

/** All secrets of one process. */
const handoverLengthMax = 64 * 1024;
const headLength = 8;

interface ProcessEnvironment {
	getenv(name: string): bigint | number;
	strlen(text: bigint | number): bigint | number;
	write(fd: number, from: bigint | number, length: bigint | number): bigint | number;
	memset(at: bigint | number, byte: number, length: bigint | number): void;
	unsetenv(name: string): number;
}

let loaded: ProcessEnvironment | undefined;

function environment(): ProcessEnvironment {
	if (!loaded) {
		const library = koffi.load(null);
		const declare = <T>(declaration: string) => library.func(declaration) as unknown as T;
		loaded = {
			getenv: declare('uintptr_t getenv(const char *name)'),
			strlen: declare('size_t strlen(uintptr_t text)'),
			write: declare('int64_t write(int fd, uintptr_t from, size_t length)'),
			memset: declare('void memset(uintptr_t at, int byte, size_t length)'),
			unsetenv: declare('int unsetenv(const char *name)'),
		};
	}

	return loaded;
}

/** Writes a secret; nothing where the variable is not set. */
function sendVariable(fd: number, name: string): void {
	const {getenv, strlen, write} = environment();
	const value = getenv(name);
	if (Number(value) === 0) {
		return;
	}

	const length = Number(strlen(value));
	sendHead(fd, name, length);
	if (length > 0 && Number(write(fd, value, length)) !== length) {
		throw new Error(`the environment variable ${name} is too long`);
	}
}

function sendHead(fd: number, name: string, valueLength: number): void {
	const head = Buffer.alloc(headLength);
	head.writeUInt32LE(Buffer.byteLength(name), 0);
	head.writeUInt32LE(valueLength, 4);
	writeSync(fd, Buffer.concat([head, Buffer.from(name)]));
}

/** The end of a socket from which these secrets can be read; what is in `given` comes from there, all else from the environment. */
export function handOver(names: readonly string[], given: ReadonlyMap<string, Uint8Array>): number {
	const [from, into] = socketPair();
	try {
		for (const name of names) {
			const secret = given.get(name);
			if (secret) {
				sendHead(into, name, secret.length);
				writeSync(into, secret);
			} else {
				sendVariable(into, name);
			}
		}
	} finally {
		closeDescriptor(into);
	}

	return from;
}

/** Overwrites a variable where it lies, and takes it out of the environment. */
export function wipeVariable(name: string): void {
	const {getenv, strlen, memset, unsetenv} = environment();
	const value = getenv(name);
	if (Number(value) !== 0) {
		memset(value, 0, strlen(value));
		unsetenv(name);
	}
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
