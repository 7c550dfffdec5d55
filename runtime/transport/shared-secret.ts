/**
 * A secret in memory that all threads of the process share: one copy, however many of them need it. Nobody writes to
 * it.
 */
import {secretBytes} from '../sdk/secret-memory.js';

export type SharedSecret = SharedArrayBuffer;

/** `secret` stays the caller's. */
export function shareSecret(secret: Uint8Array): SharedSecret {
	const memory = new SharedArrayBuffer(secret.length);
	new Uint8Array(memory).set(secret);
	return memory;
}

/** The caller wipes the copy. */
export function copyOfShared(memory: SharedSecret): Buffer {
	const bytes = secretBytes(memory.byteLength);
	bytes.set(new Uint8Array(memory));
	return bytes;
}

/** For all threads. */
export function wipeShared(memory: SharedSecret): void {
	new Uint8Array(memory).fill(0);
}
