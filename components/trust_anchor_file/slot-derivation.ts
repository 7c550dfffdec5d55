/**
 * From what opens a slot to the key that unwraps it. Passphrases are stretched with scrypt, which costs an attacker time and
 * memory for each guess; recovery keys and key files have nothing to guess, so HKDF is enough.
 */
import {hkdfSync, scrypt} from 'node:crypto';
import {promisify} from 'node:util';
import type {Environment} from '../../runtime/sdk/component.js';

export type Derivation =
	| {readonly kind: 'hkdf'}
	/** Needs 128 · 2^logN · r bytes of memory. */
	| {readonly kind: 'scrypt'; readonly logN: number; readonly r: number; readonly p: number};

export const saltLength = 32;

/** AES-256-GCM key and nonce: as each salt is used once, no nonce repeats. */
export const derivedLength = 32 + 12;

const blockSizeFactor = 8;
/** 256 MiB. */
const chosenLogNMax = 18;
/** What is measured first: 16 MiB. */
const probeLogN = 14;
/** A clock that shows less did not really measure. */
const measuredMsMin = 5;

/** What a file may ask for at most: 512 MiB, and some half a minute. */
const logNMin = 10;
const logNMax = 19;
const rMax = 8;
const workMax = 2 ** 23;

export function memoryBytes({logN, r}: {readonly logN: number; readonly r: number}): number {
	return 128 * (2 ** logN) * r;
}

/** False for parameters that this program never writes: a hostile file must not use up memory or time. */
export function isAcceptable(derivation: Derivation): boolean {
	if (derivation.kind === 'hkdf') {
		return true;
	}

	const {logN, r, p} = derivation;
	return logN >= logNMin && logN <= logNMax && r >= 1 && r <= rMax && p >= 1 && (2 ** logN) * p <= workMax;
}

const stretch = promisify<Uint8Array, Uint8Array, number, {N: number; r: number; p: number; maxmem: number}, Buffer>(scrypt);

/** The caller wipes the result. */
export async function deriveSlotKey(secret: Uint8Array, salt: Uint8Array, derivation: Derivation): Promise<Buffer> {
	if (!isAcceptable(derivation)) {
		throw new Error('derivation parameters beyond the bounds');
	}

	if (derivation.kind === 'hkdf') {
		return Buffer.from(hkdfSync('sha256', secret, salt, 'cbe key slot', derivedLength));
	}

	const {logN, r, p} = derivation;
	return stretch(secret, salt, derivedLength, {N: 2 ** logN, r, p, maxmem: memoryBytes(derivation) + (1024 * r * p) + (2 ** 20)});
}

/** Parameters with which one guess takes about `targetMs` on this machine, and not less. */
export async function calibrate(targetMs: number, env: Environment): Promise<Derivation> {
	const measure = async (logN: number) => {
		const startedAt = env.now();
		await deriveSlotKey(new Uint8Array(saltLength), new Uint8Array(saltLength), {kind: 'scrypt', logN, r: blockSizeFactor, p: 1});
		return Math.max(measuredMsMin, env.now() - startedAt);
	};

	// The first run on a thread is slower than others.
	const probeMs = Math.min(await measure(probeLogN), await measure(probeLogN));
	const logN = Math.min(chosenLogNMax, probeLogN + Math.max(0, Math.floor(Math.log2(targetMs / probeMs))));
	// Time grows faster than memory where caches end, so what was chosen is measured, too.
	const p = Math.min(workMax / (2 ** logN), Math.ceil(targetMs / (logN === probeLogN ? probeMs : await measure(logN))));
	return {kind: 'scrypt', logN, r: blockSizeFactor, p};
}
