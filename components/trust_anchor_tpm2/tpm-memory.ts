/**
 * The anchor's record in the TPM, as it was when it was last seen there. Writing it costs the chip's memory a little of
 * its life, so it happens once for many records.
 */
import {encodeNvContent, linkTo, type ChainLink, type NvContent} from './nv-content.js';
import {NvIndex, type NvArea} from './nv-index.js';
import type {NumberedRecord} from './secured-bytes.js';
import {TpmError} from './tpm-error.js';
import {Tpm, type TpmEnvironment} from './tpm.js';

/** The TPM holds what neither this program nor the last known state explains. */
export class ForeignWriteError extends Error {
	override readonly name = 'ForeignWriteError';
}

export interface TpmPlace {
	readonly path: string;
	readonly env: TpmEnvironment;
}

export class TpmMemory {
	readonly #place: TpmPlace;
	readonly #area: NvArea;
	#content: NvContent;
	/** Content that was sent but not confirmed: the TPM holds it or the one before. */
	#attempted: NvContent | undefined;

	constructor(place: TpmPlace, area: NvArea, content: NvContent) {
		this.#place = place;
		this.#area = area;
		this.#content = content;
	}

	/** What new records are chained to. */
	get link(): ChainLink {
		return linkTo(this.#content);
	}

	/**
	 * Has the TPM hold this record, which lies in the file already. After an error no record may be written before
	 * another attempt succeeded, since nobody knows then what to chain it to. @throws TpmError, ForeignWriteError
	 */
	async cover({sequence, secured}: NumberedRecord): Promise<void> {
		const {path, env} = this.#place;
		await Tpm.use(path, env, async tpm =>
			NvIndex.use(tpm, this.#area, async index => {
				this.#settle(await index.read());
				const next = {epoch: this.#content.epoch + 1, sequence, secured};
				this.#attempted = next;
				await index.write(encodeNvContent(next));
				this.#content = next;
				this.#attempted = undefined;
			}),
		);
	}

	/** Learns what became of an attempt that was not confirmed. */
	#settle(found: Buffer): void {
		if (this.#attempted && found.equals(encodeNvContent(this.#attempted))) {
			this.#content = this.#attempted;
		} else if (!found.equals(encodeNvContent(this.#content))) {
			throw new ForeignWriteError(
				"the TPM holds another record than the one this program knows: another program uses this trust anchor, or the TPM's state was put back",
			);
		}

		this.#attempted = undefined;
	}
}

export function isTpmProblem(error: unknown): error is TpmError | ForeignWriteError {
	return error instanceof TpmError || error instanceof ForeignWriteError;
}
