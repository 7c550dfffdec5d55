/** What is open through the mount, by the handle's number. */
import {FileError} from './errno.js';
import type {DirectoryEntry} from './fuse-reply.js';
import type {ControlNode, DataNode} from './tree.js';

export interface OpenData {
	readonly kind: 'data';
	readonly node: DataNode;
	/** The file's epoch when it was opened. */
	readonly epoch: number;
}

export interface OpenControl {
	readonly kind: 'control';
	readonly node: ControlNode;
	/** What is being read, from the first byte on. */
	text: Buffer | undefined;
}

interface OpenDirectory {
	readonly kind: 'directory';
	readonly entries: readonly DirectoryEntry[];
}

export type OpenFile = OpenData | OpenControl | OpenDirectory;

export class OpenFiles {
	readonly #files = new Map<number, OpenFile>();
	#lastHandle = 0;

	get count(): number {
		return this.#files.size;
	}

	add(file: OpenFile): number {
		this.#files.set(++this.#lastHandle, file);
		return this.#lastHandle;
	}

	remove(handle: number): void {
		this.#files.delete(handle);
	}

	/** @throws FileError ESTALE where there is no such handle */
	get(handle: number): OpenFile {
		const file = this.#files.get(handle);
		if (!file) {
			throw new FileError('ESTALE', 'the file is not open');
		}

		return file;
	}

	/** @throws FileError EINVAL for what is no data; EIO where the device went back since it was opened */
	data(handle: number): OpenData {
		const file = this.get(handle);
		if (file.kind !== 'data') {
			throw new FileError('EINVAL', 'this is possible with data only');
		}

		if (file.epoch !== file.node.file.epoch) {
			throw new FileError('EIO', 'the device went back to its last secured state; open the file anew');
		}

		return file;
	}
}
