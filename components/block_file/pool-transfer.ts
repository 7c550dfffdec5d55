/** Reads and writes that a thread of the process's pool makes, while this one goes on. */

/** `read` or `write` of `node:fs`. */
export type PoolTransfer = (
	fd: number,
	data: Uint8Array,
	offset: number,
	length: number,
	position: number,
	callback: (error: Error | null, moved: number) => void,
) => void;

/** @returns bytes, which may be fewer than `data` has. @throws what the host says */
export async function transferByPool(
	transfer: PoolTransfer,
	fd: number,
	data: Uint8Array,
	position: number,
): Promise<number> {
	return new Promise((resolve, reject) => {
		transfer(fd, data, 0, data.length, position, (error, moved) => {
			if (error === null) {
				resolve(moved);
			} else {
				reject(error);
			}
		});
	});
}
