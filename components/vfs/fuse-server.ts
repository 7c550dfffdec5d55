/** Serves the tree to the kernel: every request is answered once. */
import fs from 'node:fs';
import type {Environment} from '../../runtime/sdk/component.js';
import {secretBytes} from '../../runtime/sdk/secret-memory.js';
import type {RequestCounter} from '../lib/front_end/request-counter.js';
import {allocationKinds} from '../sessions/allocation.js';
import {blockSize} from '../sessions/block.js';
import {writeWithPatience} from './control-file.js';
import {FileError, errno, errnoNameOf} from './errno.js';
import {FuseChannel, type FuseRequest} from './fuse-channel.js';
import {
	fallocateModes,
	initFlags,
	lengths,
	opcodes,
	openFlags,
	protocolMajor,
	protocolMinorMin,
	seekTargets,
	setattrValid,
} from './fuse-protocol.js';
import {
	encodeAttributes,
	encodeDirectory,
	encodeEntry,
	encodeFileSystemSize,
	encodeInit,
	encodeInvalidation,
	encodeOpen,
	encodeSeek,
	encodeWritten,
	type Attributes,
} from './fuse-reply.js';
import {
	decodeFallocate,
	decodeHandle,
	decodeInit,
	decodeInterrupt,
	decodeName,
	decodeOpen,
	decodeSeek,
	decodeSetattr,
	decodeTransfer,
	decodeWrite,
} from './fuse-request.js';
import {attributeSeconds, backgroundCountMax, finishMsMax, transferByteLengthMax} from './file-system-limits.js';
import {OpenFiles, type OpenControl, type OpenFile} from './file-handles.js';
import type {HeldData} from './payload-slots.js';
import {permissionsOf, sizeOf} from './permissions.js';
import {currentDataId, type ControlNode, type Tree, type TreeNode} from './tree.js';

const nothing = Buffer.alloc(0);

/** The bits of an opening's flags that say whether it reads or writes. */
const accessModes = 0b11;

export interface FuseServerOptions {
	readonly fd: number;
	readonly env: Environment;
	readonly tree: Tree;
	readonly counter: RequestCounter;
	/** Files of data can be opened by every user. */
	readonly isShared: boolean;
	readonly owner: {readonly uid: number; readonly gid: number};
	/** The file system was unmounted by somebody else. */
	onEnd(): void;
}

/** A request that is being served. */
interface Pending {
	/** True for commands: waiting for them can be given up, they go on. */
	readonly isInterruptible: boolean;
	isAnswered: boolean;
}

/** The content of a reply; memory behind it is given back once it is sent. */
interface Reply {
	readonly payload: Buffer;
	release?(): void;
}

type Work = Promise<Buffer | Reply>;

export class FuseServer {
	readonly #options: FuseServerOptions;
	readonly #channel: FuseChannel;
	readonly #open = new OpenFiles();
	readonly #pending = new Map<bigint, Pending>();
	#lastFault = '';
	#whenIdle: (() => void) | undefined;

	constructor(options: FuseServerOptions) {
		this.#options = options;
		this.#channel = new FuseChannel(options.fd, options.env, {
			onRequest: request => {
				this.#serve(request);
			},
			onEnd: options.onEnd,
		});
	}

	get openCount(): number {
		return this.#open.count;
	}

	/** What the kernel has cached of the device's data is wrong from now on. */
	async invalidateCurrent(): Promise<void> {
		await this.#channel.notify(encodeInvalidation(currentDataId));
	}

	/** Waits for requests that are being served, but not for ever. */
	async finish(): Promise<void> {
		if (this.#pending.size > 0) {
			const idle = new Promise<void>(resolve => {
				this.#whenIdle = resolve;
			});
			await Promise.race([idle, this.#options.env.sleep(finishMsMax)]);
		}
	}

	close(): void {
		this.#channel.close();
	}

	#serve(request: FuseRequest): void {
		const {opcode, unique} = request;
		if (opcode === opcodes.forget || opcode === opcodes.batchForget) {
			return;
		}

		if (opcode === opcodes.interrupt) {
			this.#interrupt(decodeInterrupt(request.body));
			return;
		}

		let work;
		const pending: Pending = {
			isInterruptible: opcode === opcodes.write && request.nodeId !== currentDataId,
			isAnswered: false,
		};
		this.#pending.set(unique, pending);
		try {
			work = this.#begin(request);
		} catch (error) {
			this.#fail(unique, pending, error);
			return;
		}

		if (work instanceof Promise) {
			work.then(reply => {
				this.#succeed(unique, pending, reply);
			}).catch((error: unknown) => {
				this.#fail(unique, pending, error);
			});
		} else {
			this.#succeed(unique, pending, work);
		}
	}

	#succeed(unique: bigint, pending: Pending, reply: Buffer | Reply): void {
		const {payload, release} = Buffer.isBuffer(reply) ? {payload: reply} : reply;
		this.#answer(unique, pending, 0, payload.length > 0 ? payload : undefined);
		release?.();
	}

	#fail(unique: bigint, pending: Pending, error: unknown): void {
		const name = errnoNameOf(error);
		this.#answer(unique, pending, errno[name ?? 'EIO']);
		if (name === undefined) {
			this.#options.env.fail(error instanceof Error ? (error.stack ?? error.message) : String(error));
		}

		if (name === 'EIO') {
			this.#report((error as Error).message);
		}
	}

	/** Who keeps asking must not fill the log. */
	#report(fault: string): void {
		if (fault !== this.#lastFault) {
			this.#lastFault = fault;
			this.#options.env.log(`a request failed: ${fault}`, 'warning');
		}
	}

	#answer(unique: bigint, pending: Pending, error: number, payload?: Buffer): void {
		if (!pending.isAnswered) {
			pending.isAnswered = true;
			this.#pending.delete(unique);
			this.#channel.reply(unique, error, payload);
		}

		if (this.#pending.size === 0) {
			this.#whenIdle?.();
		}
	}

	/** Like a disk, data is not interruptible: such requests end by themselves. */
	#interrupt(unique: bigint): void {
		const pending = this.#pending.get(unique);
		if (pending?.isInterruptible === true) {
			this.#answer(unique, pending, errno.EINTR);
		}
	}

	/** Reads the request's body before it returns. @throws FileError */
	#begin(request: FuseRequest): Work | Buffer {
		const {opcode, nodeId, body} = request;
		this.#options.counter.add(
			opcode === opcodes.read || opcode === opcodes.write ? decodeTransfer(body).length : 0,
		);
		switch (opcode) {
			case opcodes.init: {
				return this.#init(body);
			}

			case opcodes.lookup: {
				return this.#lookUp(nodeId, decodeName(body));
			}

			case opcodes.getattr: {
				return this.#attributesOf(nodeId);
			}

			case opcodes.setattr: {
				return this.#setAttributes(nodeId, decodeSetattr(body));
			}

			case opcodes.open: {
				return this.#openFile(nodeId, decodeOpen(body).flags);
			}

			case opcodes.opendir: {
				return this.#openDirectory(nodeId);
			}

			case opcodes.read: {
				return this.#read(decodeTransfer(body));
			}

			case opcodes.readdir: {
				return this.#readDirectory(decodeTransfer(body));
			}

			case opcodes.write: {
				return this.#write(request);
			}

			case opcodes.fsync: {
				return this.#sync(this.#open.get(decodeHandle(body)));
			}

			case opcodes.fallocate: {
				return this.#allocate(decodeFallocate(body));
			}

			case opcodes.lseek: {
				return this.#seek(decodeSeek(body));
			}

			case opcodes.statfs: {
				return this.#fileSystemSize();
			}

			case opcodes.release:
			case opcodes.releasedir: {
				this.#open.remove(decodeHandle(body));
				return nothing;
			}

			case opcodes.flush:
			case opcodes.fsyncdir:
			case opcodes.syncfs:
			case opcodes.destroy: {
				return nothing;
			}

			default: {
				return this.#refuse(opcode);
			}
		}
	}

	#refuse(opcode: number): never {
		const {symlink, mknod, mkdir, unlink, rmdir, rename, link, create, rename2, tmpfile} = opcodes;
		const changes: readonly number[] = [
			symlink,
			mknod,
			mkdir,
			unlink,
			rmdir,
			rename,
			link,
			create,
			rename2,
			tmpfile,
		];
		if (changes.includes(opcode)) {
			throw new FileError('EPERM', 'the names in this file system are fixed');
		}

		throw opcode === opcodes.ioctl
			? new FileError('ENOTTY', 'no such control')
			: new FileError('ENOSYS', `no operation ${opcode}`);
	}

	#init(body: Buffer): Buffer {
		const {major, minor, maxReadahead, flags} = decodeInit(body);
		if (major !== protocolMajor || minor < protocolMinorMin) {
			this.#options.env.log(
				`the kernel speaks version ${major}.${minor} of FUSE; ${protocolMajor}.${protocolMinorMin} or newer is needed`,
				'error',
			);
			throw new FileError('EPROTO', 'the versions do not fit');
		}

		const {asyncRead, bigWrites, asyncDio, parallelDirops, maxPages} = initFlags;
		return encodeInit({
			maxReadahead: Math.min(maxReadahead, transferByteLengthMax),
			flags: flags & (asyncRead | bigWrites | asyncDio | parallelDirops | maxPages),
			maxBackground: backgroundCountMax,
			maxWrite: transferByteLengthMax,
			maxPages: transferByteLengthMax / blockSize,
		});
	}

	async #describe(node: TreeNode): Promise<Attributes> {
		const {owner, isShared} = this.#options;
		return {
			id: node.id,
			kind: node.kind === 'directory' ? 'directory' : 'file',
			permissions: permissionsOf(node, isShared),
			byteLength: await sizeOf(node),
			...owner,
		};
	}

	/** The size of the device may change at any time. */
	#attributeSeconds(node: TreeNode): number {
		return node.id === currentDataId ? 0 : attributeSeconds;
	}

	async #lookUp(parentId: number, name: string): Promise<Buffer> {
		const {tree} = this.#options;
		const node = await tree.child(await tree.node(parentId), name);
		return encodeEntry(
			await this.#describe(node),
			node.isVolatile ? 0 : attributeSeconds,
			this.#attributeSeconds(node),
		);
	}

	async #attributesOf(id: number): Promise<Buffer> {
		const node = await this.#options.tree.node(id);
		return encodeAttributes(await this.#describe(node), this.#attributeSeconds(node));
	}

	/**
	 * Emptying a file before it is written changes nothing, as with a block device; its size is not the user's to
	 * choose.
	 */
	async #setAttributes(id: number, {valid, size}: {valid: number; size: number}): Promise<Buffer> {
		const node = await this.#options.tree.node(id);
		const attributes = await this.#describe(node);
		const isSizeGiven = (valid & setattrValid.size) !== 0;
		if (isSizeGiven && node.kind === 'data') {
			node.file.requireWritable();
		}

		const resizes = isSizeGiven && size !== 0 && size !== attributes.byteLength;
		if (resizes || (valid & (setattrValid.mode | setattrValid.uid | setattrValid.gid)) !== 0) {
			throw new FileError('EPERM', 'size, owner and mode of files here are fixed');
		}

		return encodeAttributes(attributes, this.#attributeSeconds(node));
	}

	async #openFile(id: number, flags: number): Promise<Buffer> {
		const node = await this.#options.tree.node(id);
		if (node.kind === 'directory') {
			throw new FileError('EISDIR', 'this is a directory');
		}

		if (node.kind === 'control') {
			return encodeOpen(
				this.#open.add({kind: 'control', node, text: undefined}),
				openFlags.directIo | openFlags.nonSeekable,
			);
		}

		// The kernel lets root pass whatever the mode says.
		if ((flags & accessModes) !== fs.constants.O_RDONLY) {
			node.file.requireWritable();
		}

		await node.file.available(0, 0);
		const handle = this.#open.add({kind: 'data', node, epoch: node.file.epoch});
		if ((flags & fs.constants.O_DIRECT) !== 0) {
			return encodeOpen(handle, openFlags.directIo | openFlags.parallelDirectWrites);
		}

		// What was cached of the device may be older than what other front ends wrote; a snapshot never changes.
		return encodeOpen(handle, openFlags.parallelDirectWrites | (node.file.writable ? 0 : openFlags.keepCache));
	}

	async #openDirectory(id: number): Promise<Buffer> {
		const node = await this.#options.tree.node(id);
		if (node.kind !== 'directory') {
			throw new FileError('ENOTDIR', 'this is no directory');
		}

		const children = await node.children();
		const entries = children.map(
			child =>
				({id: child.id, name: child.name, kind: child.kind === 'directory' ? 'directory' : 'file'}) as const,
		);
		const special = ['.', '..'].map(name => ({id, name, kind: 'directory'}) as const);
		return encodeOpen(this.#open.add({kind: 'directory', entries: [...special, ...entries]}), 0);
	}

	async #readDirectory({handle, offset, length}: ReturnType<typeof decodeTransfer>): Promise<Buffer> {
		const directory = this.#open.get(handle);
		if (directory.kind !== 'directory') {
			throw new FileError('ENOTDIR', 'this is no directory');
		}

		return encodeDirectory(directory.entries, offset, length);
	}

	async #read({handle, offset, length}: ReturnType<typeof decodeTransfer>): Promise<Buffer | Reply> {
		const file = this.#open.get(handle);
		if (file.kind === 'control') {
			return this.#readControl(file, offset, length);
		}

		const {node} = this.#open.data(handle);
		const available = await node.file.available(offset, Math.min(length, transferByteLengthMax));
		if (available === 0) {
			return nothing;
		}

		const lease = await this.#options.env.leaseWhenFree(available);
		try {
			await node.file.read(offset, lease.bytes);
			this.#open.data(handle);
		} catch (error) {
			lease.release();
			throw error;
		}

		return {
			payload: lease.bytes,
			release() {
				lease.release();
			},
		};
	}

	async #readControl(file: OpenControl, offset: number, length: number): Promise<Buffer> {
		if (offset === 0 || !file.text) {
			file.text = Buffer.from(await file.node.file.read());
		}

		return file.text.subarray(offset, offset + length);
	}

	#write(request: FuseRequest): Work {
		const {handle, offset, length} = decodeWrite(request.body);
		const file = this.#open.get(handle);
		if (file.kind === 'control') {
			return this.#writeControl(file.node, request.body.subarray(lengths.writeIn, lengths.writeIn + length));
		}

		const {node} = this.#open.data(handle);
		return this.#writeData(node.file.write.bind(node.file), offset, request.hold(lengths.writeIn, length));
	}

	/**
	 * The request's memory is used again, before a slow command has ended: so the command gets its own, and leaves
	 * nothing there.
	 */
	async #writeControl(node: ControlNode, received: Buffer): Promise<Buffer> {
		const content = secretBytes(received.length);
		received.copy(content);
		received.fill(0);
		await writeWithPatience(node.file, content, this.#options.env);
		return encodeWritten(content.length);
	}

	async #writeData(
		write: (offset: number, data: Buffer) => Promise<void>,
		offset: number,
		held: HeldData,
	): Promise<Buffer> {
		try {
			await write(offset, held.data);
			return encodeWritten(held.data.length);
		} finally {
			held.release();
		}
	}

	async #sync(file: OpenFile): Promise<Buffer> {
		if (file.kind === 'data') {
			if (file.epoch !== file.node.file.epoch) {
				throw new FileError(
					'EIO',
					'the device went back to its last secured state; what was not flushed before is lost',
				);
			}

			await file.node.file.sync();
		}

		return nothing;
	}

	async #allocate({handle, offset, length, mode}: ReturnType<typeof decodeFallocate>): Promise<Buffer> {
		const {file} = this.#open.data(handle).node;
		const {keepSize, punchHole, zeroRange} = fallocateModes;
		switch (mode & ~keepSize) {
			case punchHole:
			case zeroRange: {
				await file.zero(offset, length);
				return nothing;
			}

			case 0: {
				await file.reserve(offset, length);
				return nothing;
			}

			default: {
				throw new FileError('EOPNOTSUPP', 'the device cannot be cut or grown in the middle');
			}
		}
	}

	async #seek({handle, offset, target}: ReturnType<typeof decodeSeek>): Promise<Buffer> {
		if (target !== seekTargets.data && target !== seekTargets.hole) {
			throw new FileError('EINVAL', 'only data and holes can be looked for');
		}

		const {file} = this.#open.data(handle).node;
		return encodeSeek(
			await file.seek(offset, target === seekTargets.hole ? allocationKinds.hole : allocationKinds.data),
		);
	}

	async #fileSystemSize(): Promise<Buffer> {
		const current = await this.#options.tree.node(currentDataId);
		return encodeFileSystemSize(Math.floor((await sizeOf(current)) / blockSize));
	}
}
