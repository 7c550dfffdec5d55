/** Memory that takes room only where something was written. */

/** Bytes of one piece: one block, since a new container writes one block in 65 and would else take memory for all of them. */
const pieceSize = 4096;

export class SparseMemory {
	readonly #pieces = new Map<number, Buffer>();

	/** Bytes that take room. */
	get allocatedByteLength(): number {
		return this.#pieces.size * pieceSize;
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
				piece = Buffer.alloc(pieceSize);
				this.#pieces.set(index, piece);
			}

			piece.set(source.subarray(offset, offset + length), start);
		});
	}

	/** Makes `byteLength` bytes from `position` on read as zeroes; pieces that they cover whole take no room any more. */
	clear(position: number, byteLength: number): void {
		this.#eachPiece(position, byteLength, (index, start, _offset, length) => {
			if (length === pieceSize) {
				this.#pieces.delete(index);
			} else {
				this.#pieces.get(index)?.fill(0, start, start + length);
			}
		});
	}

	/** Visits the pieces under `byteLength` bytes at `position`: number, start inside it, offset so far, length inside it. */
	#eachPiece(position: number, byteLength: number, visit: (index: number, start: number, offset: number, length: number) => void): void {
		for (let offset = 0; offset < byteLength;) {
			const index = Math.floor((position + offset) / pieceSize);
			const start = (position + offset) % pieceSize;
			const length = Math.min(pieceSize - start, byteLength - offset);
			visit(index, start, offset, length);
			offset += length;
		}
	}
}
