/** The tree at its mount point, from mounting it to taking it away. */
import type {Environment} from '../../runtime/sdk/component.js';
import type {RequestCounter} from '../lib/front_end/request-counter.js';
import {FuseServer} from './fuse-server.js';
import {Mount, type MountOptions} from './mount.js';
import type {Tree} from './tree.js';

export class MountedTree {
	readonly path: string;
	readonly #mount: Mount;
	readonly #server: FuseServer;
	readonly #env: Environment;
	#isStopping = false;

	private constructor(mount: Mount, tree: Tree, {path, allowOther, env}: MountOptions, counter: RequestCounter) {
		this.path = path;
		this.#mount = mount;
		this.#env = env;
		this.#server = new FuseServer({
			fd: mount.fd,
			env,
			tree,
			counter,
			isShared: allowOther,
			owner: {uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0},
			onEnd: () => {
				if (!this.#isStopping) {
					env.log(`${path} was unmounted; "runtime restart ${env.name}" mounts it again`, 'warning');
				}
			},
		});
	}

	/** Undefined, and a line in the log, where it cannot be mounted. */
	static async mount(tree: Tree, options: MountOptions, counter: RequestCounter): Promise<MountedTree | undefined> {
		const mount = await Mount.make(options);
		if (typeof mount === 'string') {
			options.env.log(
				`no file system at ${options.path}: ${mount}. "runtime shell" shows the same tree`,
				'warning',
			);
			return undefined;
		}

		return new MountedTree(mount, tree, options, counter);
	}

	get openCount(): number {
		return this.#server.openCount;
	}

	/** Resolves when the kernel has forgotten what it had cached of the device. */
	async contentChanged(): Promise<void> {
		await this.#server.invalidateCurrent();
	}

	async stop(): Promise<void> {
		this.#isStopping = true;
		if (!(await this.#mount.unmount())) {
			this.#env.log(`${this.path} is still in use; its users get errors from now on`, 'warning');
			await this.#server.finish();
			await this.#mount.abandon();
		}

		this.#server.close();
	}
}
