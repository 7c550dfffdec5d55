/**
 * When the engine optimizes code. That of Node.js 20 begins after some hundred calls, and at once again where the types that it has
 * seen were not all: a burst of a hundred requests on a fresh device has every thread compile, on the CPUs that should serve the
 * burst. Newer engines wait for some thousand calls, and for types that stay the same. So does the old one with these flags;
 * code that stays hot is optimized all the same, some tenths of a second later.
 */
import {setFlagsFromString} from 'node:v8';

/** V8 of Node.js 22, the first that waits by itself. */
const waitingVersion = 12;

/** Bytes of a function's bytecode that run before it is looked at; the engine's own value is 66 KiB. */
const budgetByteLength = 2 ** 20;

/** @param engine version of V8 */
export function optimizationFlags(engine: string = process.versions.v8): string[] {
	return Number.parseInt(engine, 10) < waitingVersion ? [`--interrupt-budget=${budgetByteLength}`] : [];
}

/** For all threads of this process. */
export function deferOptimization(): void {
	for (const flag of optimizationFlags()) {
		setFlagsFromString(flag);
	}
}
