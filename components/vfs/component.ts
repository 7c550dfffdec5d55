/**
 * vfs: the device as a file system, mounted with FUSE: `control/`, `current/data`, `snapshots/GENERATION/data`.
 *
 * Guarantee: every request of the kernel is answered once, after the device has answered; fsync means that the device
 * has made durable what was written before. Where FUSE is missing, everything else works, and the tree can be reached
 * through the `file_system` session.
 */
import {z} from 'zod';
import {defineComponent, optional} from '../../runtime/sdk/component.js';
import {PartialBlockBuffers} from '../lib/front_end/byte-device.js';
import {RequestCounter} from '../lib/front_end/request-counter.js';
import {shellWord} from '../lib/front_end/shell-word.js';
import {block} from '../sessions/block.js';
import {deviceControl} from '../sessions/device-control.js';
import {fileSystem} from '../sessions/file-system.js';
import {controlFiles} from './control-file.js';
import {deviceFile, type Service} from './data-file.js';
import {FileService} from './file-service.js';
import {mountObstacle} from './mount-obstacle.js';
import {MountedTree} from './mounted-tree.js';
import {Tree} from './tree.js';

const yesOrNo = z.enum(['yes', 'no']).default('no');

const config = z.strictObject({
	/**
	 * Where the file system is mounted; relative paths lie in the state directory. Not mounted where it is left out.
	 */
	mount: z.string().min(1).optional(),
	/** Other users may use the data of the device and of its snapshots, never the control files. */
	allow_other: yesOrNo,
	readonly: yesOrNo,
});

export default defineComponent({
	provides: {file_system: fileSystem},
	requires: {device: block, control: optional(deviceControl)},
	config,
	obstacles({mount, allow_other: allowOther}, {resolvePath}) {
		const missing = mount === undefined ? undefined : mountObstacle(resolvePath(mount), allowOther === 'yes');
		return missing ? [{at: ['mount'], isMinor: true, ...missing}] : [];
	},
	needsRuntime: 'mounts a file system',
	async start({config, sessions: {device, control}, env}) {
		const buffers = new PartialBlockBuffers(env);
		const counter = new RequestCounter();
		const service: Service = {epoch: 0, isOver: false};
		const current = await deviceFile(device, buffers, config.readonly === 'yes', service);
		const files = controlFiles(
			control,
			{
				contentChanged: async () => mounted?.contentChanged(),
				async deinitialize() {
					await device.sync({});
					service.isOver = true;
					env.log('deinitialized: everything is durable, and the data is served no more');
				},
			},
			env,
		);
		const tree = new Tree({control, controlFiles: files, current, buffers});
		const mounted: MountedTree | undefined =
			config.mount === undefined
				? undefined
				: await MountedTree.mount(
						tree,
						{path: env.resolvePath(config.mount), allowOther: config.allow_other === 'yes', env},
						counter,
					);
		return {
			provides: {file_system: new FileService(tree, env).handlers},
			async stop() {
				await mounted?.stop();
				await device.sync({}).catch((error: unknown) => {
					env.log(
						`the last flush failed: ${error instanceof Error ? error.message : String(error)}`,
						'error',
					);
				});
			},
			interrupted: {
				async device(how) {
					if (how === 'reset') {
						service.epoch++;
						env.log(
							'the device went back to its last secured state; files that are open now fail until they are opened anew',
							'warning',
						);
						await mounted?.contentChanged();
					}
				},
			},
			served: () => counter.served,
			status: () => ({mounted: mounted ? 'yes' : 'no', open_files: mounted?.openCount ?? 0}),
			hints: () => (mounted ? [`ls -l ${shellWord(`${mounted.path}/current/data`)}`] : []),
		};
	},
});
