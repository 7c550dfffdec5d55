/**
 * Environment variables as the bytes that they are. What JavaScript shows of them is text: bytes that are no UTF-8 are
 * lost in it, and it stays in memory, where nobody can wipe it.
 */
import koffi from 'koffi';
import {secretBytes} from '../sdk/secret-memory.js';

type Address = bigint | number;

interface System {
	getenv(name: string): Address;
	strlen(text: Address): Address;
	memcpy(into: Uint8Array, from: Address, length: Address): void;
	memset(at: Address, byte: number, length: Address): void;
	unsetenv(name: string): number;
	write(fd: number, from: Address, length: Address): Address;
}

let loaded: System | undefined;

function system(): System {
	if (!loaded) {
		const library = koffi.load(null);
		const declare = <T>(declaration: string) => library.func(declaration) as unknown as T;
		loaded = {
			getenv: declare('uintptr_t getenv(const char *name)'),
			strlen: declare('size_t strlen(uintptr_t text)'),
			memcpy: declare('void memcpy(_Out_ uint8_t *into, uintptr_t from, size_t length)'),
			memset: declare('void memset(uintptr_t at, int byte, size_t length)'),
			unsetenv: declare('int unsetenv(const char *name)'),
			write: declare('int64_t write(int fd, uintptr_t from, size_t length)'),
		};
	}

	return loaded;
}

/** Where the value lies, and its length in bytes; undefined where the variable is not set. */
function find(name: string): {at: Address; length: number} | undefined {
	const at = system().getenv(name);
	return Number(at) === 0 ? undefined : {at, length: Number(system().strlen(at))};
}

/**
 * A copy of the value, empty where the variable is set to nothing; undefined where it is not set. The caller wipes it.
 */
export function variableBytes(name: string): Buffer | undefined {
	const value = find(name);
	if (!value) {
		return undefined;
	}

	const bytes = secretBytes(value.length);
	if (value.length > 0) {
		system().memcpy(bytes, value.at, value.length);
	}

	return bytes;
}

/** Length of the value in bytes; undefined where the variable is not set. */
export function variableLength(name: string): number | undefined {
	return find(name)?.length;
}

/**
 * Writes the value to a file descriptor, past the memory of JavaScript. @throws Error where not all of it can be taken
 * at once
 */
export function writeVariable(fd: number, name: string): void {
	const value = find(name);
	if (value && value.length > 0 && Number(system().write(fd, value.at, value.length)) !== value.length) {
		throw new Error(`the environment variable ${name} is too long`);
	}
}

/**
 * Overwrites a variable where it lies, so that /proc/PID/environ does not show it, and takes it out of the environment.
 */
export function wipeVariable(name: string): void {
	const value = find(name);
	if (value) {
		system().memset(value.at, 0, value.length);
		system().unsetenv(name);
	}
}
