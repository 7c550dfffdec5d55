/** The tree of a running runtime's `file_system` service, reached over its control socket. */
import {posix} from 'node:path';
import {z} from 'zod';
import {ControlConnection} from '../supervisor/control-connection.js';
import {requestControl} from '../supervisor/control-client.js';

/** Most bytes that one request carries: 1 MiB. */
export const transferByteLengthMax = 2 ** 20;

const Description = z.object({
	name: z.string(),
	kind: z.enum(['directory', 'file']),
	mode: z.number(),
	byteLength: z.number(),
	takesSecret: z.boolean(),
});
const Listing = z.object({entries: z.array(Description)});

export type TreeEntry = z.output<typeof Description>;

export class ShellTree {
	readonly #stateDirectory: string;
	readonly #child: string | undefined;
	readonly #idle: ControlConnection[] = [];
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

	/**
	 * Fewer bytes than asked for mean the end of the file.
	 * @param length at most `transferByteLengthMax`
	 * @param into memory of that length for what is read
	 */
	async read(path: string, offset: number, length: number, into?: Buffer): Promise<Buffer> {
		return (await this.#transfer('read', {path: this.#resolve(path), offset, length}, {into})) ?? Buffer.alloc(0);
	}

	async write(path: string, offset: number, data: Buffer): Promise<void> {
		await this.#transfer('write', {path: this.#resolve(path), offset}, {data});
	}

	async sync(path: string): Promise<void> {
		await this.#call('sync', {path: this.#resolve(path)});
	}

	/** On a connection of its own among those that are open: transfers that go on at the same time have one each. */
	async #transfer(
		operation: string,
		request: Record<string, unknown>,
		payload: {data?: Uint8Array; into?: Buffer | undefined},
	): Promise<Buffer | undefined> {
		const connection = this.#idle.pop() ?? (await ControlConnection.open(this.#stateDirectory));
		const {data: answer} = await connection.call(
			{service: 'file_system', operation, request, child: this.#child},
			payload,
		);
		this.#idle.push(connection);
		return answer;
	}

	/** Lets the runtime's connections go. */
	close(): void {
		for (const connection of this.#idle.splice(0)) {
			connection.close();
		}
	}

	#resolve(path: string): string {
		return posix.resolve(this.#directory, path);
	}

	async #call(operation: string, request: Record<string, unknown>): Promise<unknown> {
		return requestControl(this.#stateDirectory, {
			op: 'call',
			service: 'file_system',
			operation,
			request,
			child: this.#child,
		});
	}
}
