/** The tree of a running runtime's `file_system` service, reached over its control socket. */
import {posix} from 'node:path';
import {z} from 'zod';
import {requestControl} from '../supervisor/control-client.js';

/** Most bytes that one request carries. */
export const transferByteLengthMax = 32 * 1024;

const Description = z.object({name: z.string(), kind: z.enum(['directory', 'file']), mode: z.number(), byteLength: z.number(), takesSecret: z.boolean()});
const Listing = z.object({entries: z.array(Description)});
const Content = z.object({base64: z.string()});

export type TreeEntry = z.output<typeof Description>;

export class ShellTree {
	readonly #stateDirectory: string;
	readonly #child: string | undefined;
	#directory = '/';

	/** @param child who serves the tree; the first one that does where it is not given */
	constructor(stateDirectory: string, child?: string) {
		this.#stateDirectory = stateDirectory;
		this.#child = child;
	}

	/** What relative paths begin with. */
	get directory(): string {
		return this.#directory;
	}

	async enter(path: string): Promise<void> {
		const target = this.#resolve(path);
		await this.list(target);
		this.#directory = target;
	}

	async describe(path: string): Promise<TreeEntry> {
		return Description.parse(await this.#call('describe', {path: this.#resolve(path)}));
	}

	async list(path: string): Promise<TreeEntry[]> {
		return Listing.parse(await this.#call('list', {path: this.#resolve(path)})).entries;
	}

	/** Fewer bytes than asked for mean the end of the file. @param length at most `transferByteLengthMax` */
	async read(path: string, offset: number, length: number): Promise<Buffer> {
		const {base64} = Content.parse(await this.#call('read', {path: this.#resolve(path), offset, length}));
		return Buffer.from(base64, 'base64');
	}

	async write(path: string, offset: number, data: Buffer): Promise<void> {
		await this.#call('write', {path: this.#resolve(path), offset, base64: data.toString('base64')});
	}

	async sync(path: string): Promise<void> {
		await this.#call('sync', {path: this.#resolve(path)});
	}

	#resolve(path: string): string {
		return posix.resolve(this.#directory, path);
	}

	async #call(operation: string, request: Record<string, unknown>): Promise<unknown> {
		return requestControl(this.#stateDirectory, {op: 'call', service: 'file_system', operation, request, child: this.#child});
	}
}
