/**
 * Reads referenced blocks in batches and checks each against the hash in its parent. What cannot be read or does not
 * match is reported with its place; nothing of it is handed on.
 */
import type {Environment} from '../../runtime/sdk/component.js';
import {type SessionError, isSessionError, type Client} from '../../runtime/sdk/session.js';
import {extentsOf} from '../lib/format/extents.js';
import {blockSize} from '../lib/format/geometry.js';
import {openInner} from '../lib/container/inner-blocks.js';
import {labelLength} from '../lib/format/label.js';
import type {block} from '../sessions/block.js';
import type {crypto} from '../sessions/crypto.js';
import type {DataOpener} from './data-opener.js';
import type {Findings} from './findings.js';
import type {LabelPool} from './label-pool.js';
import type {LabelTask} from './label-task.js';
import type {Progress} from './check-progress.js';
import {referenceText, type Reference} from './reference.js';

/** Blocks read and hashed as one piece: 1 MiB. */
export const pieceBlockCount = 256;

export interface VerifierParts {
	readonly medium: Client<typeof block>;
	readonly env: Pick<Environment, 'leaseWhenFree'>;
	readonly pool: LabelPool;
	/** Where data is authenticated by its cipher instead of a hash. */
	readonly opener: DataOpener | undefined;
	/** Where inner blocks are encrypted: a server that has their key. */
	readonly innerServer: Client<typeof crypto> | undefined;
	readonly findings: Findings;
	readonly progress: Progress;
}

export class BlockVerifier {
	readonly #parts: VerifierParts;

	constructor(parts: VerifierParts) {
		this.#parts = parts;
	}

	/**
	 * Checks at most `pieceBlockCount` blocks.
	 * @param keep where the content is wanted: called with each good block, whose bytes live only during the call
	 * @returns how many blocks were bad
	 */
	async verify(references: readonly Reference[], keep?: (index: number, bytes: Uint8Array) => void): Promise<number> {
		const {env, findings, progress} = this.#parts;
		const isData = references.at(0)?.level === 0;
		const isOpened = isData && this.#parts.opener !== undefined;
		const byteLength = references.length * blockSize;
		const order = references.map((_, index) => index).sort((a, b) => references[a].address - references[b].address);
		const lease = await env.leaseWhenFree(isOpened ? 2 * byteLength : byteLength);
		try {
			const blocks = lease.bytes.subarray(0, byteLength);
			const inOrder = order.map(index => references[index]);
			const unreadable = await this.#read(inOrder, blocks);
			const labels = new Uint8Array(order.length * labelLength);
			for (const [i, index] of order.entries()) {
				labels.set(references[index].hash, i * labelLength);
			}

			const mismatched = await (isData
				? this.#mismatchedData(inOrder, {blocks, labels}, lease.bytes.subarray(byteLength))
				: this.#mismatchedInner(inOrder, {blocks, labels}));
			const bad = new Set([...unreadable.keys(), ...mismatched]);
			progress.countRead(references.length);
			for (const i of bad) {
				findings.add(
					`${referenceText(references[order[i]])}: ${unreadable.get(i) ?? 'does not match the hash in its parent'}`,
				);
			}

			if (keep) {
				for (const [i, index] of order.entries()) {
					if (!bad.has(i)) {
						keep(index, blocks.subarray(i * blockSize, (i + 1) * blockSize));
					}
				}
			}

			return bad.size;
		} finally {
			lease.release();
		}
	}

	async #mismatchedData(
		references: readonly Reference[],
		task: LabelTask,
		plain: Uint8Array,
	): Promise<readonly number[]> {
		const {opener, pool} = this.#parts;
		return opener ? opener.mismatched(references, task, plain) : pool.mismatched(task);
	}

	/** Good blocks are decrypted where they are. */
	async #mismatchedInner(references: readonly Reference[], task: LabelTask): Promise<readonly number[]> {
		const {innerServer, pool} = this.#parts;
		return innerServer
			? openInner(
					innerServer,
					references.map(({address}) => address),
					task,
				)
			: pool.mismatched(task);
	}

	/** Reads the blocks; where that fails, one by one, and says why for each that is unreadable. Those become zero. */
	async #read(references: readonly Reference[], target: Uint8Array): Promise<Map<number, string>> {
		const unreadable = new Map<number, string>();
		try {
			await this.#parts.medium.read({extents: extentsOf(references.map(({address}) => address)), data: target});
			return unreadable;
		} catch (error) {
			rethrowUnlessBlockFault(error);
		}

		for (const [i, {address}] of references.entries()) {
			const data = target.subarray(i * blockSize, (i + 1) * blockSize);
			try {
				await this.#parts.medium.read({extents: [address, 1], data});
			} catch (error) {
				unreadable.set(i, `cannot be read: ${rethrowUnlessBlockFault(error).message}`);
				data.fill(0);
			}
		}

		return unreadable;
	}
}

function rethrowUnlessBlockFault(error: unknown): SessionError {
	if (isSessionError(error) && (error.code === 'device_failed' || error.code === 'integrity')) {
		return error;
	}

	throw error;
}
