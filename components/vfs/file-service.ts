/** The tree for clients that cannot mount it: the `file_system` session. */
import type {Environment} from '../../runtime/sdk/component.js';
import {SessionError, type Handlers} from '../../runtime/sdk/session.js';
import type {FileDescription, fileSystem} from '../sessions/file-system.js';
import {writeWithPatience} from './control-file.js';
import {FileError, errnoNameOf, type ErrnoName} from './errno.js';
import {permissionsOf, sizeOf} from './permissions.js';
import type {Tree, TreeNode} from './tree.js';

const codesOfNames: Readonly<Partial<Record<ErrnoName, string>>> = {
	ENOENT: 'not_found',
	ESTALE: 'not_found',
	ENOTDIR: 'not_a_directory',
	EISDIR: 'is_a_directory',
	EPERM: 'not_permitted',
	EACCES: 'not_permitted',
	EROFS: 'not_permitted',
	EINVAL: 'invalid',
	EBUSY: 'busy',
	ENOSPC: 'no_space',
};

async function describe(node: TreeNode): Promise<FileDescription> {
	return {
		name: node.name,
		kind: node.kind === 'directory' ? 'directory' : 'file',
		mode: permissionsOf(node, false),
		byteLength: await sizeOf(node),
		takesSecret: node.kind === 'control' && node.file.takesSecret,
	};
}

/** Failures in the words of the contract; what is a bug stays one. */
async function answer<T>(work: Promise<T>): Promise<T> {
	try {
		return await work;
	} catch (error) {
		const name = errnoNameOf(error);
		throw name === undefined ? error : new SessionError(codesOfNames[name] ?? 'failed', (error as Error).message);
	}
}

export class FileService {
	readonly handlers: Handlers<typeof fileSystem>;
	readonly #tree: Tree;
	readonly #env: Environment;

	constructor(tree: Tree, env: Environment) {
		this.#tree = tree;
		this.#env = env;
		this.handlers = {
			describe: async ({path}) => answer(tree.find(path).then(describe)),
			list: async ({path}) => ({entries: await answer(this.#list(path))}),
			read: async ({path, offset, length, into}) => ({
				data: await answer(this.#read(path, {offset, length, into})),
			}),
			write: async ({path, offset, data}) => {
				await answer(this.#write(path, offset, data));
				return {};
			},
			sync: async ({path}) => {
				await answer(this.#sync(path));
				return {};
			},
		};
	}

	async #list(path: string): Promise<FileDescription[]> {
		const node = await this.#tree.find(path);
		if (node.kind !== 'directory') {
			throw new FileError('ENOTDIR', `${path} is no directory`);
		}

		return Promise.all((await node.children()).map(describe));
	}

	async #file(path: string): Promise<Exclude<TreeNode, {kind: 'directory'}>> {
		const node = await this.#tree.find(path);
		if (node.kind === 'directory') {
			throw new FileError('EISDIR', `${path} is a directory`);
		}

		return node;
	}

	async #read(
		path: string,
		{offset, length, into}: {offset: number; length: number; into: Uint8Array | undefined},
	): Promise<Uint8Array> {
		const node = await this.#file(path);
		if (node.kind === 'control') {
			return Buffer.from(await node.file.read()).subarray(offset, offset + length);
		}

		const available = await node.file.available(offset, length);
		if (available === 0) {
			return new Uint8Array(0);
		}

		const lease = await this.#env.leaseWhenFree(available);
		try {
			await node.file.read(offset, lease.bytes);
			if (into && into.length >= available) {
				into.set(lease.bytes);
				return into.subarray(0, available);
			}

			// A copy with memory of its own: what is leased is given back, and a message takes all of the memory that
			// it is a part of.
			return new Uint8Array(lease.bytes);
		} finally {
			lease.release();
		}
	}

	async #write(path: string, offset: number, data: Uint8Array): Promise<void> {
		const node = await this.#file(path);
		if (node.kind === 'control') {
			await writeWithPatience(node.file, Buffer.from(data.buffer, data.byteOffset, data.byteLength), this.#env);
			return;
		}

		const lease = await this.#env.leaseWhenFree(Math.max(1, data.length));
		try {
			lease.bytes.set(data);
			await node.file.write(offset, lease.bytes.subarray(0, data.length));
		} finally {
			lease.release();
		}
	}

	async #sync(path: string): Promise<void> {
		const node = await this.#file(path);
		if (node.kind === 'data') {
			await node.file.sync();
		}
	}
}
