/**
 * Secrets that came with the environment of this process. The first to ask takes a secret out of the environment, where
 * other programs of the user could read it and every thread and helper would get a copy; from then on it lies here,
 * once, in memory that all threads share. It stays for as long as the process: a trust anchor that died opens with it
 * again.
 */
import {variableBytes, wipeVariable} from './process-environment.js';
import {shareSecret, wipeShared, type SharedSecret} from '../transport/shared-secret.js';

/** By the names of the variables. */
export type SharedSecrets = ReadonlyMap<string, SharedSecret>;

const held = new Map<string, SharedSecret>();

function hold(name: string, secret: Uint8Array): SharedSecret {
	const memory = shareSecret(secret);
	held.set(name, memory);
	return memory;
}

/** Puts a secret in the place of a variable; `secret` stays the caller's. */
export function giveSecret(name: string, secret: Uint8Array): void {
	dropSecret(name);
	hold(name, secret);
}

/** The secret in the place of a variable, where there is one. The memory stays; nobody writes to it. */
export function sharedSecret(name: string): SharedSecret | undefined {
	const found = variableBytes(name);
	if (!found) {
		return held.get(name);
	}

	dropSecret(name);
	try {
		return hold(name, found);
	} finally {
		found.fill(0);
		wipeVariable(name);
	}
}

/** Those of the named variables that have a secret. */
export function sharedSecrets(names: Iterable<string>): SharedSecrets {
	const secrets = new Map<string, SharedSecret>();
	for (const name of names) {
		const secret = sharedSecret(name);
		if (secret) {
			secrets.set(name, secret);
		}
	}

	return secrets;
}

/** Everything that is held, without a look into the environment. */
export function heldSecrets(): ReadonlyMap<string, Uint8Array> {
	return new Map([...held].map(([name, memory]) => [name, new Uint8Array(memory)]));
}

/** Forgets a secret. */
export function dropSecret(name: string): void {
	const memory = held.get(name);
	if (memory) {
		wipeShared(memory);
		held.delete(name);
	}
}
