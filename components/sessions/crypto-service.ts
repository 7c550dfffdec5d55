/**
 * What all crypto servers have in common: the keys, the checks of requests, the order of work in a batch. A server only
 * brings its cipher suite.
 *
 * Guarantee: a block that does not match its label is never decrypted.
 */
import {setImmediate as eventLoopTurn} from 'node:timers/promises';
import type {Environment, Running} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {blockSize} from '../container/geometry.js';
import {labelLength} from './cipher.js';
import type {BlockRun, CipherSuite, PreparedKey} from './cipher-suite.js';
import {type crypto} from './crypto.js';
import {KeyRing} from './key-ring.js';

/** Blocks worked on in one go: 128 KiB, so that what was just encrypted is still in the processor's cache when labelled. */
export const runBlockCountMax = 32;

/** Blocks between two turns of the event loop: 1 MiB, some 4 ms with hardware AES, so that heartbeats go on in large batches. */
const turnBlockCount = 256;

interface Batch {
	readonly addresses: readonly number[];
	readonly plain: readonly Uint8Array[];
	readonly sealed: Uint8Array;
}

function checkBatch({addresses, plain, sealed}: Batch): void {
	let plainLength = 0;
	for (const segment of plain) {
		if (segment.length % blockSize !== 0) {
			throw new SessionError('bad_request', `a segment of ${segment.length} bytes is no whole number of blocks`);
		}

		plainLength += segment.length;
	}

	if (sealed.length !== addresses.length * blockSize || plainLength !== sealed.length) {
		throw new SessionError('bad_request', `${addresses.length} addresses with ${plainLength} plain and ${sealed.length} sealed bytes`);
	}

	for (const address of addresses) {
		if (!Number.isSafeInteger(address) || address < 0) {
			throw new SessionError('bad_request', `${address} is no block address`);
		}
	}
}

/** Cuts a batch into runs: a run lies in one segment and has at most `runBlockCountMax` blocks. */
function * runsOf({addresses, plain, sealed}: Batch): Generator<BlockRun> {
	let first = 0;
	for (const segment of plain) {
		const end = first + segment.length / blockSize;
		for (let at = first; at < end; at += runBlockCountMax) {
			const count = Math.min(runBlockCountMax, end - at);
			yield {addresses, first: at, count, plain: segment, plainOffset: (at - first) * blockSize, sealed, sealedOffset: at * blockSize};
		}

		first = end;
	}
}

async function eachRun(batch: Batch, job: (run: BlockRun) => void): Promise<void> {
	let sinceTurn = 0;
	for (const run of runsOf(batch)) {
		if (sinceTurn + run.count > turnBlockCount) {
			await eventLoopTurn();
			sinceTurn = 0;
		}

		job(run);
		sinceTurn += run.count;
	}
}

function labelsDiffer(one: Uint8Array, oneOffset: number, other: Uint8Array, otherOffset: number): boolean {
	// Labels are no secrets, so the comparison may stop early.
	for (let i = 0; i < labelLength; i++) {
		if (one[oneOffset + i] !== other[otherOffset + i]) {
			return true;
		}
	}

	return false;
}

/** A part of a run that starts at its block `start`. */
function partOf(run: BlockRun, start: number, count: number): BlockRun {
	return {
		...run,
		first: run.first + start,
		count,
		plainOffset: run.plainOffset + start * blockSize,
		sealedOffset: run.sealedOffset + start * blockSize,
	};
}

/** Decrypts what is good of a run and zeroes the rest; `bad` are indexes in the run, ascending. */
function decryptAround(key: PreparedKey, run: BlockRun, bad: readonly number[]): void {
	let start = 0;
	for (const index of [...bad, run.count]) {
		if (index > start) {
			key.decrypt(partOf(run, start, index - start));
		}

		start = index + 1;
	}

	for (const index of bad) {
		const offset = run.plainOffset + index * blockSize;
		run.plain.fill(0, offset, offset + blockSize);
	}
}

/** The `crypto` session on top of `suite`. */
export function serveCrypto(suite: CipherSuite, env: Environment): Running<{crypto: typeof crypto}> {
	const keys = new KeyRing(suite, env);
	/** Labels of one run, kept so that the suite always writes to the same memory. */
	const foundLabels = new Uint8Array(runBlockCountMax * labelLength);
	let sealedCount = 0;
	let openedCount = 0;
	let mismatchedCount = 0;

	function sealRun(key: PreparedKey, run: BlockRun, labels: Uint8Array): void {
		key.encrypt(run);
		suite.label(run.sealed, run.sealedOffset, run.count, foundLabels, 0);
		labels.set(foundLabels.subarray(0, run.count * labelLength), run.first * labelLength);
	}

	function openRun(key: PreparedKey, run: BlockRun, labels: Uint8Array, mismatched: number[]): void {
		suite.label(run.sealed, run.sealedOffset, run.count, foundLabels, 0);
		const bad: number[] = [];
		for (let i = 0; i < run.count; i++) {
			if (labelsDiffer(foundLabels, i * labelLength, labels, (run.first + i) * labelLength)) {
				bad.push(i);
				mismatched.push(run.first + i);
			}
		}

		if (bad.length === 0) {
			key.decrypt(run);
		} else {
			decryptAround(key, run, bad);
		}
	}

	return {
		provides: {
			crypto: {
				recipient: () => ({publicKey: keys.recipient}),
				add_key(request, context) {
					keys.add(request, context);
					return {};
				},
				remove_key({keyId}, context) {
					keys.remove(keyId, context);
					return {};
				},
				async seal({keyId, ...batch}) {
					checkBatch(batch);
					const labels = new Uint8Array(batch.addresses.length * labelLength);
					await keys.use(keyId, async key => eachRun(batch, run => {
						sealRun(key, run, labels);
					}));
					sealedCount += batch.addresses.length;
					return {labels};
				},
				async open({keyId, labels, ...batch}) {
					checkBatch(batch);
					if (labels.length !== batch.addresses.length * labelLength) {
						throw new SessionError('bad_request', `${batch.addresses.length} addresses with ${labels.length} bytes of labels`);
					}

					const mismatched: number[] = [];
					await keys.use(keyId, async key => eachRun(batch, run => {
						openRun(key, run, labels, mismatched);
					}));
					openedCount += batch.addresses.length;
					mismatchedCount += mismatched.length;
					return {mismatched};
				},
			},
		},
		clientGone(_service, session) {
			keys.forgetSession(session);
		},
		async stop() {
			keys.wipe();
		},
		status: () => ({
			implementation: suite.name,
			keys: keys.count,
			sealed_blocks: sealedCount,
			opened_blocks: openedCount,
			mismatched_blocks: mismatchedCount,
		}),
	};
}
