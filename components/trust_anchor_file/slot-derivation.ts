/**
 * From what opens a slot to the key that unwraps it. Passphrases are stretched with scrypt, which costs an attacker
 * time and memory for each guess; recovery keys and key files have nothing to guess, so HKDF is enough.
 */
import {hkdfSync, scrypt} from 'node:crypto';
import {promisify} from 'node:util';
import {SessionError} from '../../runtime/sdk/session.js';
import {scryptCpuMs, type ScryptParameters} from './scrypt-measure.js';

export type Derivation =
	| {readonly kind: 'hkdf'}
	/** Needs 128 · 2^logN · r bytes of memory. */
	| {readonly kind: 'scrypt'; readonly logN: number; readonly r: number; readonly p: number};

export const saltLength = 32;

/** AES-256-GCM key and nonce: as each salt is used once, no nonce repeats. */
const derivedLength = 32 + 12;

const blockSizeFactor = 8;
/** 256 MiB: no more is chosen, unless it is asked for. */
const chosenLogNMax = 18;
/** 128 MiB: no less is chosen, unless it is asked for. */
const floorLogN = 17;
/** What is measured first: 16 MiB. */
const probeLogN = 14;
/** What takes less cannot be measured. */
const measuredMsMin = 5;

/** What a file may ask for at most: 512 MiB, and some half a minute. */
const logNMin = 10;
const logNMax = 19;
const rMax = 8;
const workMax = 2 ** 23;

export function memoryBytes({logN, r}: {readonly logN: number; readonly r: number}): number {
	return 128 * 2 ** logN * r;
}

/**
 * True for a slot that is guessed with less memory than new ones are made with: one of an earlier version, or on
 * request.
 */
export function isWeak(derivation: Derivation): boolean {
	return derivation.kind === 'scrypt' && memoryBytes(derivation) < memoryBytes({logN: floorLogN, r: blockSizeFactor});
}

/** False for parameters that this program never writes: a hostile file must not use up memory or time. */
export function isAcceptable(derivation: Derivation): boolean {
	if (derivation.kind === 'hkdf') {
		return true;
	}

	const {logN, r, p} = derivation;
	return logN >= logNMin && logN <= logNMax && r >= 1 && r <= rMax && p >= 1 && 2 ** logN * p <= workMax;
}

function maxmemOf({logN, r, p}: {readonly logN: number; readonly r: number; readonly p: number}): number {
	return memoryBytes({logN, r}) + 1024 * r * p + 2 ** 20;
}

const stretch = promisify<Uint8Array, Uint8Array, number, {N: number; r: number; p: number; maxmem: number}, Buffer>(
	scrypt,
);

/** The caller wipes the result. */
export async function deriveSlotKey(secret: Uint8Array, salt: Uint8Array, derivation: Derivation): Promise<Buffer> {
	if (!isAcceptable(derivation)) {
		throw new Error('derivation parameters beyond the bounds');
	}

	if (derivation.kind === 'hkdf') {
		return Buffer.from(hkdfSync('sha256', secret, salt, 'cbe key slot', derivedLength));
	}

	const {logN, r, p} = derivation;
	try {
		return await stretch(secret, salt, derivedLength, {N: 2 ** logN, r, p, maxmem: maxmemOf(derivation)});
	} catch (error) {
		throw new SessionError(
			'storage_failed',
			`a passphrase cannot be tried: that needs ${memoryBytes(derivation) / 2 ** 20} MiB of memory (${(error as Error).message})`,
		);
	}
}

/** How much one guess of a passphrase shall cost. */
export interface CostOptions {
	/** CPU time on this machine, in milliseconds. */
	readonly targetMs: number;
	/** Bytes of memory, one of `isMemoryChoice`; undefined: as much as the time allows, but never less than 128 MiB. */
	readonly memory: number | undefined;
	/** A new slot in the place of this one is not weaker, unless the memory is given. */
	readonly replaced?: Derivation;
}

export function isMemoryChoice(byteLength: number): boolean {
	const logN = Math.log2(byteLength / (128 * blockSizeFactor));
	return Number.isInteger(logN) && logN >= logNMin && logN <= logNMax;
}

/** Undefined where nothing is guessed. */
function costOf(derivation: Derivation | undefined): {logN: number; work: number} | undefined {
	return derivation?.kind === 'scrypt'
		? {logN: derivation.logN, work: 2 ** derivation.logN * derivation.p}
		: undefined;
}

/** Parameters with which one guess costs about what is wished, and not less. */
export async function calibrate(
	{targetMs, memory, replaced}: CostOptions,
	measured: (parameters: ScryptParameters) => Promise<number> = scryptCpuMs,
): Promise<Derivation> {
	const r = blockSizeFactor;
	const measure = async (logN: number) =>
		Math.max(measuredMsMin, await measured({logN, r, maxmem: maxmemOf({logN, r, p: 1})}));
	const before = memory === undefined ? costOf(replaced) : undefined;
	let logN: number;
	if (memory === undefined) {
		// Once more, as other programs share the caches.
		const probeMs = Math.min(await measure(probeLogN), await measure(probeLogN));
		const affordable = Math.min(chosenLogNMax, probeLogN + Math.floor(Math.log2(targetMs / probeMs)));
		logN = Math.max(floorLogN, affordable, before?.logN ?? 0);
	} else {
		logN = Math.log2(memory / (128 * r));
	}

	// Time grows faster than memory where caches end, so what was chosen is measured, too.
	const rounds = Math.max(1, Math.ceil(targetMs / (await measure(logN))), Math.ceil((before?.work ?? 0) / 2 ** logN));
	return {kind: 'scrypt', logN, r, p: Math.min(Math.floor(workMax / 2 ** logN), rounds)};
}
