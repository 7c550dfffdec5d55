/**
 * Writes of the device: cut to what the virtual block device takes at once, and repeated after a securing where the
 * pool had nothing to hand out, since a securing frees what was replaced before it.
 */
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import {blockSize} from '../container/geometry.js';
import {writeBlockCountMax, type virtualBlockDevice} from '../sessions/virtual-block-device.js';
import type {Securing} from './securing.js';

/** Other writers may take what a securing freed; after this many securings in vain the pool counts as full. */
const securingMax = 4;

interface Piece {
	readonly vba: number;
	readonly count: number;
	readonly data: Uint8Array;
}

function* piecesOf(extents: readonly number[], data: Uint8Array): Generator<Piece> {
	let offset = 0;
	for (let i = 0; i < extents.length; i += 2) {
		for (let done = 0; done < extents[i + 1]; done += writeBlockCountMax) {
			const count = Math.min(writeBlockCountMax, extents[i + 1] - done);
			yield {vba: extents[i] + done, count, data: data.subarray(offset, offset + (count * blockSize))};
			offset += count * blockSize;
		}
	}
}

export class DeviceWrites {
	readonly #device: Client<typeof virtualBlockDevice>;
	readonly #securing: Securing;
	readonly #secure: () => Promise<void>;
	#underWay = 0;

	constructor(device: Client<typeof virtualBlockDevice>, securing: Securing, secure: () => Promise<void>) {
		this.#device = device;
		this.#securing = securing;
		this.#secure = secure;
	}

	/** @throws SessionError `no_space` where the pool is full even after a securing */
	async write(extents: readonly number[], data: Uint8Array): Promise<void> {
		if (extents.length === 2 && extents[1] <= writeBlockCountMax) {
			return this.#writePiece({vba: extents[0], count: extents[1], data});
		}

		await Promise.all([...piecesOf(extents, data)].map(async piece => this.#writePiece(piece)));
	}

	async #writePiece(piece: Piece): Promise<void> {
		for (let securings = 0; ; securings++) {
			const securedCount = this.#securing.securedCount;
			try {
				await this.#try(piece);
				return;
			} catch (error) {
				if (!(error instanceof SessionError && error.code === 'no_space')) {
					throw error;
				}

				// Where nothing was or is being written since the last securing, and none ended meanwhile, another frees nothing.
				const mayHelp = this.#securing.isDue || this.#underWay > 0 || this.#securing.securedCount > securedCount;
				if (!mayHelp || securings === securingMax) {
					return this.#writeHalves(piece, error);
				}

				this.#securing.noteChange();
				await this.#secure();
			}
		}
	}

	async #try({vba, count, data}: Piece): Promise<void> {
		this.#underWay++;
		try {
			await this.#device.write({extents: [vba, count], data});
			this.#securing.noteChange();
		} finally {
			this.#underWay--;
		}
	}

	/** A small pool may not have room for a large piece at once. */
	async #writeHalves({vba, count, data}: Piece, error: unknown): Promise<void> {
		if (count === 1) {
			throw error;
		}

		const half = Math.floor(count / 2);
		await this.#writePiece({vba, count: half, data: data.subarray(0, half * blockSize)});
		await this.#writePiece({vba: vba + half, count: count - half, data: data.subarray(half * blockSize)});
	}
}
