/** A flush log that tests write, flush after flush. */
import {
	emptyLog,
	encodeFlush,
	logRoom,
	type LeafChanges,
	type LogForm,
	type LogTail,
} from '../../components/lib/format/flush-log.js';
import type {FlushLogArea} from '../../components/lib/format/superblock.js';
import type {Generation, Pba} from '../../components/sessions/vocabulary.js';

interface WrittenFlush {
	readonly firstPba: Pba;
	readonly data: Buffer;
	readonly hash: Uint8Array;
	readonly tail: LogTail;
}

export class WrittenLog {
	readonly #area: FlushLogArea;
	readonly #form: LogForm;
	#tail: LogTail;
	#key: Uint8Array | undefined;

	constructor(area: FlushLogArea, superblockHash: Uint8Array, form: LogForm) {
		this.#area = area;
		this.#form = form;
		this.#tail = emptyLog(superblockHash);
	}

	get room(): number {
		return logRoom(this.#area, this.#tail, this.#form, this.#key !== undefined);
	}

	useKey(key: Uint8Array | undefined): void {
		this.#key = key;
	}

	restart(superblockHash: Uint8Array): void {
		this.#tail = emptyLog(superblockHash);
	}

	encode(changes: LeafChanges, generation: Generation): WrittenFlush {
		const {firstPba, data, tail} = encodeFlush(
			this.#area,
			this.#tail,
			{form: this.#form, key: this.#key},
			changes,
			generation,
		);
		return {firstPba, data, hash: tail.hash, tail};
	}

	/** The flush that `encode` made is anchored. */
	note({tail}: Pick<WrittenFlush, 'tail'>, key?: Uint8Array): void {
		this.#tail = tail;
		this.#key = key;
	}
}
