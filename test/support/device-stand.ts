/**
 * The finished device of real components in one process, on an image file: what tests of superblock_control open, crash
 * and open again.
 */
import fs from 'node:fs';
import {join} from 'node:path';
import blockFile from '../../components/block_file/component.js';
import cache from '../../components/cache/component.js';
import cryptoOpenssl from '../../components/crypto_openssl/component.js';
import freeTree from '../../components/free_tree/component.js';
import {anchorKeys} from '../../components/sessions/anchor-keys.js';
import {block, blockSize} from '../../components/sessions/block.js';
import {deviceControl} from '../../components/sessions/device-control.js';
import {trustAnchor} from '../../components/sessions/trust-anchor.js';
import superblockControl from '../../components/superblock_control/component.js';
import trustAnchorFile from '../../components/trust_anchor_file/component.js';
import virtualBlockDevice from '../../components/virtual_block_device/component.js';
import {startAssembly, type AssemblyChild} from './assembly.js';
import {temporaryDirectory} from './component-stand.js';

/** A device of 4 MiB with as much spare room. */
const defaultShape = {
	vbd_leaves: '1024',
	vbd_max_level: '2',
	vbd_degree: '64',
	ft_leaves: '1000',
	ft_max_level: '2',
	ft_degree: '64',
	cipher: 'aes-256-xts',
	flush_log_blocks: '8',
};

export interface DeviceStandOptions {
	/** Attributes of `<create>`, over the default ones. */
	readonly shape?: Readonly<Record<string, string>>;
	/** Size of the device's cache and the pool's; of one for both where only the first is given. */
	readonly caches?: readonly string[];
	/** Of the virtual block device. */
	readonly discard?: 'yes' | 'no';
	/** Attributes of the trust anchor's configuration, beside its path. */
	readonly anchor?: Readonly<Record<string, string>>;
	/** A filter between the image and everything else. */
	readonly filter?: AssemblyChild['component'];
	/** Milliseconds since 1970; the host's clock where it is left out. */
	readonly timeOfDay?: () => number;
}

export async function openDevice(
	stateDirectory: string,
	{shape = {}, caches = ['8M'], discard = 'yes', anchor = {}, filter, timeOfDay}: DeviceStandOptions = {},
) {
	const poolCache = caches.length > 1 ? 'pool_cache' : 'cache';
	const medium = filter ? 'filter' : 'file';
	const cacheRoutes = {block: medium, ...(shape.inner_blocks === 'encrypted' && {crypto: 'crypto'})};
	const assembly = await startAssembly(
		[
			{name: 'file', component: blockFile, config: {path: 'image', create: 'yes'}},
			...(filter ? [{name: 'filter', component: filter, routes: {block: 'file'}}] : []),
			{name: 'crypto', component: cryptoOpenssl},
			{name: 'anchor', component: trustAnchorFile, config: {path: 'anchor', ...anchor}},
			{name: 'cache', component: cache, config: {size: caches[0]}, routes: cacheRoutes},
			...(caches.length > 1
				? [{name: 'pool_cache', component: cache, config: {size: caches[1]}, routes: cacheRoutes}]
				: []),
			{name: 'free_tree', component: freeTree, routes: {cache: poolCache}},
			{
				name: 'vbd',
				component: virtualBlockDevice,
				config: {discard},
				routes: {cache: 'cache', block: medium, crypto: 'crypto', free_tree: 'free_tree'},
			},
			{
				name: 'control',
				component: superblockControl,
				config: {create: [{...defaultShape, ...shape}]},
				routes: {
					virtual_block_device: 'vbd',
					free_tree: 'free_tree',
					block: medium,
					trust_anchor: 'anchor',
					crypto: 'crypto',
				},
			},
		],
		{stateDirectory, ...(timeOfDay && {environment: (_name, base) => ({...base, timeOfDay})})},
	);
	const control = assembly.client('control', deviceControl);
	return {
		device: assembly.client('control', block),
		control,
		anchor: assembly.client('anchor', trustAnchor),
		keys: assembly.client('anchor', anchorKeys),
		texts: () => assembly.log.map(({text}) => text),
		errors: () => assembly.log.filter(({level}) => level === 'error').map(({text}) => text),
		bugs: assembly.bugs,
		/** The finished device itself, to be connected with on another way. */
		running: assembly.running('control'),
		status: (name: string) => assembly.running(name).status?.() ?? {},
		generation: async () => (await control.status({})).lastSecuredGeneration,
		stop: async () => assembly.stop(),
	};
}

/** What a kill at this moment would leave. */
export function crash(stateDirectory: string): string {
	const copy = temporaryDirectory();
	fs.cpSync(stateDirectory, copy, {recursive: true});
	return copy;
}

export const filled = (count: number, value: number) => Buffer.alloc(count * blockSize, value);

export function imageOf(stateDirectory: string): Buffer {
	return fs.readFileSync(join(stateDirectory, 'image'));
}
