/**
 * Checks data of a container with an authenticated cipher: only who has the keys can tell a good block from a bad one.
 * What the crypto server opens is wiped at once.
 */
import type {Client} from '../../runtime/sdk/session.js';
import {blockSize} from '../lib/format/geometry.js';
import {labelLength} from '../lib/format/label.js';
import type {Superblock} from '../lib/format/superblock.js';
import type {crypto} from '../sessions/crypto.js';
import type {LabelTask} from './label-task.js';
import type {Reference} from './reference.js';

export class DataOpener {
	readonly #server: Client<typeof crypto>;
	readonly #superblock: Superblock;

	/** @param server has the container's keys */
	constructor(server: Client<typeof crypto>, superblock: Superblock) {
		this.#server = server;
		this.#superblock = superblock;
	}

	/** Indexes of the blocks that do not match. `plain` is room for as many bytes as `blocks` has. */
	async mismatched(
		references: readonly Reference[],
		{blocks, labels}: LabelTask,
		plain: Uint8Array,
	): Promise<number[]> {
		const byKey = new Map<number, number[]>();
		for (const [i, {position}] of references.entries()) {
			const keyId = this.#keyOf(position);
			byKey.set(keyId, [...(byKey.get(keyId) ?? []), i]);
		}

		const found: number[] = [];
		for (const [keyId, indexes] of byKey) {
			// Nearly always all of them have the same key, and then nothing has to be gathered.
			const isWhole = indexes.length === references.length;
			const gathered = (bytes: Uint8Array, each: number) =>
				isWhole ? bytes : Buffer.concat(indexes.map(i => bytes.subarray(i * each, (i + 1) * each)));
			const {mismatched} = await this.#server.open({
				keyId,
				addresses: indexes.map(i => references[i].address),
				vbas: indexes.map(i => references[i].position),
				generations: indexes.map(i => references[i].generation),
				labels: gathered(labels, labelLength),
				sealed: gathered(blocks, blockSize),
				plain: [plain.subarray(0, indexes.length * blockSize)],
			});
			plain.fill(0);
			found.push(...mismatched.map(index => indexes[index]));
		}

		return found;
	}

	#keyOf(vba: number): number {
		const {previousKey, currentKey, rekeyingVba} = this.#superblock;
		return previousKey && vba >= rekeyingVba ? previousKey.id : currentKey.id;
	}
}
