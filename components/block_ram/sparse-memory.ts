/** Memory that takes room only where something was written. */

/**
 * Bytes of one piece: one block, since a new container writes one block in 65 and would else take memory for all of
 * them.
 */
const pieceSize = 4096;
/** Pieces are cut from allocations of this many: each allocation costs the collector. */
const slabPieceCount = 64;

export class SparseMemory {
	readonly #pieces = new Map<number, Buffer>();
	/** Pieces that hold nothing. */
	readonly #free: Buffer[] = [];

	/** Bytes that take room. */
	get allocatedByteLength(): number {
		return this.#pieces.size * pieceSize;
	}

	/** True where nothing of the piece that begins at `position` takes room. */
	isHole(position: number): boolean {
		return !this.#pieces.has(position / pieceSize);
	}

	/** Copies from `position` on into `target`; what was never written reads as zeroes. */
	read(position: number, target: Uint8Array): void {
		this.#eachPiece(position, target.length, (index, start, offset, length) => {
			const piece = this.#pieces.get(index);
			if (piece) {
				target.set(piece.subarray(start, start + length), offset);
			} else {
				target.fill(0, offset, offset + length);
			}
		});
	}

	write(position: number, source: Uint8Array): void {
		this.#eachPiece(position, source.length, (index, start, offset, length) => {
			let piece = this.#pieces.get(index);
			if (!piece) {
				piece = this.#take();
				if (length < pieceSize) {
					piece.fill(0);
				}

				this.#pieces.set(index, piece);
			}

			piece.set(source.subarray(offset, offset + length), start);
		});
	}

	/**
	 * Makes `byteLength` bytes from `position` on read as zeroes; the room of pieces that they cover whole is for
	 * others.
	 */
	clear(position: number, byteLength: number): void {
		this.#eachPiece(position, byteLength, (index, start, _offset, length) => {
			const piece = this.#pieces.get(index);
			if (piece && length === pieceSize) {
				this.#pieces.delete(index);
				this.#free.push(piece);
			} else {
				piece?.fill(0, start, start + length);
			}
		});
	}

	/** A piece with any content. */
	#take(): Buffer {
		if (this.#free.length === 0) {
			const slab = Buffer.allocUnsafeSlow(slabPieceCount * pieceSize);
			for (let i = slabPieceCount - 1; i >= 0; i--) {
				this.#free.push(slab.subarray(i * pieceSize, (i + 1) * pieceSize));
			}
		}

		return this.#free.pop()!;
	}

	/**
	 * Visits the pieces under `byteLength` bytes at `position`: number, start inside it, offset so far, length inside
	 * it.
	 */
	#eachPiece(
		position: number,
		byteLength: number,
		visit: (index: number, start: number, offset: number, length: number) => void,
	): void {
		for (let offset = 0; offset < byteLength;) {
			const index = Math.floor((position + offset) / pieceSize);
			const start = (position + offset) % pieceSize;
			const length = Math.min(pieceSize - start, byteLength - offset);
			visit(index, start, offset, length);
			offset += length;
		}
	}
}
