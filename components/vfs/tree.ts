/**
 * The file system's tree: `control/`, `current/data`, and in `snapshots/GENERATION/` `data`, `name` and `time`. Nodes
 * are numbered for good.
 */
import type {Client} from '../../runtime/sdk/session.js';
import type {PartialBlockBuffers} from '../lib/front_end/byte-device.js';
import type {deviceControl, SnapshotDescription} from '../sessions/device-control.js';
import type {ControlFile} from './control-file.js';
import {snapshotFile, type DataFile} from './data-file.js';
import {FileError} from './errno.js';

export interface DirectoryNode {
	readonly kind: 'directory';
	readonly id: number;
	readonly name: string;
	/** True for what others may make disappear or appear at any time. */
	readonly isVolatile: boolean;
	readonly children: () => Promise<readonly TreeNode[]>;
}

export interface ControlNode {
	readonly kind: 'control';
	readonly id: number;
	readonly name: string;
	readonly isVolatile: boolean;
	readonly file: ControlFile;
}

export interface DataNode {
	readonly kind: 'data';
	readonly id: number;
	readonly name: string;
	readonly isVolatile: boolean;
	readonly file: DataFile;
}

export type TreeNode = DirectoryNode | ControlNode | DataNode;

/** The number that the kernel knows the root by. */
const rootId = 1;
const controlId = 2;
const currentId = 3;
const snapshotsId = 4;
/** The device's data. */
export const currentDataId = 5;
const controlFileId = 16;
/** A snapshot's directory has four times its generation and this as its number, its files the ones that follow. */
const snapshotId = 2 ** 32;
const idsOfSnapshot = 4;

/** What is known of a snapshot, as a file with one line. */
function lineFile(name: string, text: string): ControlFile {
	return {name, takesSecret: false, read: async () => `${text}\n`};
}

export interface TreeParts {
	readonly control: Client<typeof deviceControl> | undefined;
	readonly controlFiles: readonly ControlFile[];
	readonly current: DataFile;
	readonly buffers: PartialBlockBuffers;
}

export class Tree {
	readonly root: DirectoryNode;
	readonly #parts: TreeParts;
	readonly #fixed = new Map<number, TreeNode>();
	/** Files of snapshots, as long as there are these snapshots. */
	#snapshotFiles = new Map<number, DataFile>();

	constructor(parts: TreeParts) {
		this.#parts = parts;
		const files = parts.controlFiles.map((file, i): ControlNode => ({
			kind: 'control',
			id: controlFileId + i,
			name: file.name,
			isVolatile: false,
			file,
		}));
		const data: DataNode = {kind: 'data', id: currentDataId, name: 'data', isVolatile: false, file: parts.current};
		const snapshots: DirectoryNode = {
			kind: 'directory',
			id: snapshotsId,
			name: 'snapshots',
			isVolatile: false,
			children: async () => this.#snapshots(),
		};
		const directories = [
			this.#directory(controlId, 'control', files),
			this.#directory(currentId, 'current', [data]),
			snapshots,
		];
		this.root = this.#directory(rootId, '', directories);
		for (const node of [this.root, ...directories, ...files, data]) {
			this.#fixed.set(node.id, node);
		}
	}

	/** The node of that number. @throws FileError ESTALE where it is gone */
	async node(id: number): Promise<TreeNode> {
		const fixed = this.#fixed.get(id);
		if (fixed) {
			return fixed;
		}

		const generation = Math.floor((id - snapshotId) / idsOfSnapshot);
		const directory = (await this.#snapshots()).find(({name}) => name === String(generation));
		if (!directory) {
			throw new FileError('ESTALE', 'the snapshot is gone');
		}

		const node = directory.id === id ? directory : (await directory.children()).find(child => child.id === id);
		if (!node) {
			throw new FileError('ESTALE', 'the snapshot has no such file');
		}

		return node;
	}

	/** @throws FileError ENOENT, ENOTDIR */
	async child(parent: TreeNode, name: string): Promise<TreeNode> {
		if (parent.kind !== 'directory') {
			throw new FileError('ENOTDIR', `${parent.name} is no directory`);
		}

		const found = (await parent.children()).find(child => child.name === name);
		if (!found) {
			throw new FileError('ENOENT', `there is no ${name}`);
		}

		return found;
	}

	/** @throws FileError ENOENT, ENOTDIR */
	async find(path: string): Promise<TreeNode> {
		let node: TreeNode = this.root;
		for (const name of path.split('/').filter(part => part !== '' && part !== '.')) {
			node = await this.child(node, name);
		}

		return node;
	}

	#directory(id: number, name: string, children: readonly TreeNode[]): DirectoryNode {
		return {kind: 'directory', id, name, isVolatile: false, children: async () => children};
	}

	async #snapshots(): Promise<DirectoryNode[]> {
		const {control} = this.#parts;
		if (!control) {
			return [];
		}

		const {snapshots} = await control.list_snapshots({});
		const files = new Map<number, DataFile>();
		const directories = snapshots.map(snapshot => {
			const file =
				this.#snapshotFiles.get(snapshot.generation) ?? snapshotFile(control, snapshot, this.#parts.buffers);
			files.set(snapshot.generation, file);
			return this.#snapshotDirectory(snapshot, file);
		});
		this.#snapshotFiles = files;
		return directories;
	}

	#snapshotDirectory({generation, name, time}: SnapshotDescription, file: DataFile): DirectoryNode {
		const id = snapshotId + idsOfSnapshot * generation;
		const data: DataNode = {kind: 'data', id: id + 1, name: 'data', isVolatile: true, file};
		const known = [
			...(name === undefined ? [] : [{id: id + 2, file: lineFile('name', name)}]),
			...(time === undefined ? [] : [{id: id + 3, file: lineFile('time', new Date(time * 1000).toISOString())}]),
		].map((line): ControlNode => ({kind: 'control', name: line.file.name, isVolatile: true, ...line}));
		return {
			kind: 'directory',
			id,
			name: String(generation),
			isVolatile: true,
			children: async () => [data, ...known],
		};
	}
}
