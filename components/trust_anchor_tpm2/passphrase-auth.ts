/**
 * The passphrase as the TPM's authorization value. The TPM alone would let whoever has it guess as fast as it answers,
 * since its lockout is not used; so each guess costs a scrypt, too.
 */
import {scrypt} from 'node:crypto';
import {promisify} from 'node:util';

const derive = promisify<Uint8Array, Uint8Array, number, {N: number; r: number; p: number; maxmem: number}, Buffer>(
	scrypt,
);

export const saltLength = 32;
const authLength = 32;

/** N is 2 to the `costLog2`. */
export interface ScryptCost {
	readonly costLog2: number;
	readonly blockSize: number;
	readonly parallelization: number;
}

/** 64 MiB and about a fifth of a second. */
export const presentCost: ScryptCost = {costLog2: 16, blockSize: 8, parallelization: 1};

/** What a file may demand at most: 256 MiB. */
const memoryMax = 2 ** 28;

function memoryOf({costLog2, blockSize}: ScryptCost): number {
	return 128 * blockSize * 2 ** costLog2;
}

export function isAffordable(cost: ScryptCost): boolean {
	return (
		cost.costLog2 >= 1 &&
		cost.blockSize >= 1 &&
		cost.parallelization >= 1 &&
		cost.parallelization <= 16 &&
		memoryOf(cost) <= memoryMax
	);
}

/** The caller wipes the result. */
export async function authOfPassphrase(passphrase: Uint8Array, salt: Uint8Array, cost: ScryptCost): Promise<Buffer> {
	return derive(passphrase, salt, authLength, {
		N: 2 ** cost.costLog2,
		r: cost.blockSize,
		p: cost.parallelization,
		maxmem: memoryOf(cost) + 2 ** 20,
	});
}
