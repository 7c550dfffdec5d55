/**
 * Changes of the device: cut to what the virtual block device takes at once, and repeated after a checkpoint where the
 * pool had nothing to hand out, since a checkpoint frees what was replaced before it.
 */
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import {allEnded} from '../lib/sync/all-ended.js';
import {piecesOf, type Piece} from '../lib/format/extents.js';
import {Mutex} from '../lib/sync/mutex.js';
import {writeBlockCountMax, type virtualBlockDevice} from '../sessions/virtual-block-device.js';
import {isHostFull, type SpaceReservation} from './space-reservation.js';
import type {Commit} from './commit.js';

/** Other writers may take what a checkpoint freed; after this many checkpoints in vain a writer has the others wait. */
const checkpointMax = 2;
/** Then only those that were under way already may take it; after this many the pool counts as full. */
const lonelyCheckpointMax = 4;

/** What is left to clear. */
interface Clearing {
	vba: number;
	readonly end: number;
	/** Blocks that the next part may have: fewer where the pool had no room for more at once. */
	countMax: number;
	isChanged: boolean;
}

export class DeviceWrites {
	readonly #device: Client<typeof virtualBlockDevice>;
	readonly #commit: Commit;
	readonly #secure: () => Promise<void>;
	readonly #onShortage: () => void;
	readonly #room: Pick<SpaceReservation, 'makeForData' | 'noteFruitless'>;
	/** Writers that the pool had nothing for, one after another; new writers wait until there are none. */
	readonly #starvingMutex = new Mutex('starving writers');
	#underWay = 0;

	/** @param onShortage is told each time the pool has nothing to hand out */
	constructor(
		device: Client<typeof virtualBlockDevice>,
		commit: Commit,
		{
			secure,
			onShortage,
			room,
		}: {
			secure: () => Promise<void>;
			onShortage: () => void;
			room: Pick<SpaceReservation, 'makeForData' | 'noteFruitless'>;
		},
	) {
		this.#device = device;
		this.#commit = commit;
		this.#secure = secure;
		this.#onShortage = onShortage;
		this.#room = room;
	}

	/** @throws SessionError `no_space` where the pool is full even after a checkpoint */
	async write(extents: readonly number[], data: Uint8Array): Promise<void> {
		const pieces = piecesOf(extents, data, writeBlockCountMax);
		await (pieces.length === 1
			? this.#changePiece(pieces[0])
			: allEnded(pieces.map(async piece => this.#changePiece(piece))));
	}

	/**
	 * Makes blocks read as zeroes; replies whether any had content. Its cost is that of what has.
	 * @throws SessionError `no_space` where the pool is full even after a checkpoint
	 */
	async clear(extents: readonly number[]): Promise<boolean> {
		let isChanged = false;
		// One part after another: a range may be as large as the device, and clearing moves no data that could be
		// overlapped.
		for (let i = 0; i < extents.length; i += 2) {
			const clearing: Clearing = {
				vba: extents[i],
				end: extents[i] + extents[i + 1],
				countMax: Infinity,
				isChanged: false,
			};
			while (clearing.vba < clearing.end) {
				await this.#changeAll(
					async () => this.#clearPart(clearing),
					async error => this.#clearLess(clearing, error),
				);
			}

			isChanged ||= clearing.isChanged;
		}

		return isChanged;
	}

	async #changePiece(piece: Piece): Promise<void> {
		const write = async () => this.#try(piece);
		await this.#changeAll(write, async error => this.#divide(piece, error));
	}

	/** @param orElse does what is left where the pool has no room for the whole */
	async #changeAll(change: () => Promise<void>, orElse: (error: SessionError) => Promise<void>): Promise<void> {
		// Whoever lost the race for the pool too often goes first.
		if (!this.#starvingMutex.isIdle) {
			await this.#starvingMutex.idle();
		}

		const failure = await this.#attempt(change, checkpointMax);
		const error = failure && isHostFull(failure) ? await this.#attemptWithRoom(change, failure) : failure;
		if (error) {
			// Changes while nobody new begins to.
			await this.#starvingMutex.run(async () => this.#insist(change, orElse));
		}
	}

	/**
	 * Once more with the room of what nobody needs after a checkpoint; replies as `#attempt`. @throws SessionError
	 * where the host has none
	 */
	async #attemptWithRoom(change: () => Promise<void>, reason: SessionError): Promise<SessionError | undefined> {
		if (this.#commit.isBehind) {
			await this.#secure();
		}

		if (!(await this.#room.makeForData())) {
			throw reason;
		}

		const error = await this.#attempt(change, checkpointMax);
		if (error && isHostFull(error)) {
			this.#room.noteFruitless();
			throw error;
		}

		return error;
	}

	async #insist(change: () => Promise<void>, orElse: (error: SessionError) => Promise<void>): Promise<void> {
		const error = await this.#attempt(change, lonelyCheckpointMax);
		if (error) {
			await orElse(error);
		}
	}

	/** Writes a piece in parts. */
	async #divide(piece: Piece, error: SessionError): Promise<void> {
		if (piece.count === 1) {
			throw error;
		}

		for (const part of piecesOf([piece.vba, piece.count], piece.data, Math.ceil(piece.count / 2))) {
			await this.#insist(
				async () => this.#try(part),
				async failure => this.#divide(part, failure),
			);
		}
	}

	/** Clears a smaller part: where leaves keep no place without content, each block takes one of the pool. */
	async #clearLess(clearing: Clearing, error: SessionError): Promise<void> {
		const count = Math.min(clearing.countMax, writeBlockCountMax, clearing.end - clearing.vba);
		if (count === 1) {
			throw error;
		}

		clearing.countMax = Math.floor(count / 2);
		await this.#insist(
			async () => this.#clearPart(clearing),
			async failure => this.#clearLess(clearing, failure),
		);
	}

	/**
	 * Does a change, with a checkpoint in between where that may help; replies with the error where the pool is too
	 * full.
	 */
	async #attempt(change: () => Promise<void>, checkpointCountMax: number): Promise<SessionError | undefined> {
		for (let checkpoints = 0; ; checkpoints++) {
			const securedCount = this.#commit.checkpointCount;
			try {
				await change();
				return undefined;
			} catch (error) {
				if (!(error instanceof SessionError && error.code === 'no_space')) {
					throw error;
				}

				if (isHostFull(error)) {
					return error;
				}

				this.#onShortage();
				// Where nothing was or is being written since the last checkpoint, and none ended meanwhile, another
				// frees nothing.
				const mayHelp =
					this.#commit.isBehind || this.#underWay > 0 || this.#commit.checkpointCount > securedCount;
				if (!mayHelp || checkpoints === checkpointCountMax) {
					return error;
				}

				this.#commit.noteChange();
				await this.#secure();
			}
		}
	}

	async #try({vba, count, data}: Piece): Promise<void> {
		if (!this.#commit.keyUse.tryAdmit(count)) {
			await this.#commit.keyUse.admit(count, async () => this.#commit.checkpointAnew());
		}

		this.#underWay++;
		try {
			await this.#device.write({extents: [vba, count], data});
			this.#commit.noteChange();
		} finally {
			this.#underWay--;
		}
	}

	async #clearPart(clearing: Clearing): Promise<void> {
		this.#underWay++;
		try {
			const end = Math.min(clearing.end, clearing.vba + clearing.countMax);
			const {isChanged, nextVba} = await this.#device.clear({vba: clearing.vba, count: end - clearing.vba});
			clearing.vba = nextVba ?? end;
			// What lies ahead may have little content, and be as large as the device.
			clearing.countMax *= 2;
			if (isChanged) {
				clearing.isChanged = true;
				this.#commit.noteChange();
			}
		} finally {
			this.#underWay--;
		}
	}
}
