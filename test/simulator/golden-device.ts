/** The device on a container of the original, as `config/assemblies/tresor.xml` wires it, with the image in memory. */
import {createHash} from 'node:crypto';
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {z} from 'zod';
import cache from '../../components/cache/component.js';
import cbeCheck from '../../components/cbe_check/component.js';
import {openContainer} from '../../components/lib/container/open-container.js';
import cryptoOpenssl from '../../components/crypto_openssl/component.js';
import freeTree from '../../components/free_tree/component.js';
import {block, blockSize} from '../../components/sessions/block.js';
import {deviceControl} from '../../components/sessions/device-control.js';
import {trustAnchor} from '../../components/sessions/trust-anchor.js';
import superblockControl from '../../components/superblock_control/component.js';
import anchorTresor from '../../components/trust_anchor_tresor/component.js';
import virtualBlockDevice from '../../components/virtual_block_device/component.js';
import {defineComponent, type Component} from '../../runtime/sdk/component.js';
import {isSessionError} from '../../runtime/sdk/session.js';
import {Assembly} from '../support/assembly.js';
import {inspect, type OracleVerdict} from './oracle.js';
import {oracleCipherOf} from './oracle-cipher.js';
import {unreadable, type GoldenContent} from '../support/golden.js';
import {MemoryAnchor} from '../support/memory-anchor.js';
import type {MemoryMedium} from '../support/memory-medium.js';
import {connectMemory, runTool} from '../support/tool-run.js';

const zeroHash = createHash('sha256').update(Buffer.alloc(blockSize)).digest('hex');

export function writeAnchor(
	stateDirectory: string,
	{superblock_hash_file: hash, encrypted_private_key_file: key}: GoldenContent['trust_anchor'],
): void {
	const directory = join(stateDirectory, 'trust_anchor');
	mkdirSync(directory);
	writeFileSync(join(directory, 'superblock_hash'), Buffer.from(hash, 'hex'), {mode: 0o600});
	writeFileSync(join(directory, 'encrypted_private_key'), Buffer.from(key, 'hex'), {mode: 0o600});
}

/** The device as `config/assemblies/tresor.xml` wires it, on an image in memory. */
export async function openDevice(
	medium: MemoryMedium,
	stateDirectory: string,
	{
		passphrase,
		crypto,
		controlConfig,
	}: {passphrase: string; crypto: Component; controlConfig?: Record<string, string> | undefined},
): Promise<Assembly> {
	const image = defineComponent({
		provides: {block},
		config: z.strictObject({}),
		start: () => ({provides: {block: medium.handlers}}),
	});
	const assembly = new Assembly(
		[
			{name: 'image', component: image},
			{name: 'anchor', component: anchorTresor},
			{name: 'crypto', component: crypto},
			{name: 'cache', component: cache, config: {size: '4M'}, routes: {block: 'image'}},
			{name: 'free_tree', component: freeTree, routes: {cache: 'cache'}},
			{
				name: 'device',
				component: virtualBlockDevice,
				routes: {cache: 'cache', block: 'image', crypto: 'crypto', free_tree: 'free_tree'},
			},
			{
				name: 'control',
				component: superblockControl,
				config: controlConfig ?? {},
				routes: {
					virtual_block_device: 'device',
					free_tree: 'free_tree',
					block: 'image',
					trust_anchor: 'anchor',
					crypto: 'crypto',
				},
			},
		],
		{
			stateDirectory,
			environment: (_name, base) => ({
				...base,
				secret: variable => (variable === 'CBE_PASSPHRASE' ? Buffer.from(passphrase) : undefined),
			}),
		},
	);
	await assembly.start();
	return assembly;
}

export type ReadBlock = (vba: number, data: Uint8Array) => Promise<unknown>;

/** The hash of a block's content, or that it cannot be read because of damage. */
async function contentOf(read: ReadBlock, vba: number): Promise<string> {
	const data = Buffer.alloc(blockSize);
	try {
		await read(vba, data);
		return createHash('sha256').update(data).digest('hex');
	} catch (error) {
		if (isSessionError(error) && error.code === 'integrity') {
			return unreadable;
		}

		throw error;
	}
}

/** VBAs below `count` whose content is not what the list says; what is not listed was never written. */
export async function differences(
	read: ReadBlock,
	count: number,
	listed: Readonly<Record<string, string>>,
): Promise<number[]> {
	const wrong: number[] = [];
	for (let vba = 0; vba < count; vba++) {
		if ((await contentOf(read, vba)) !== (listed[vba] ?? zeroHash)) {
			wrong.push(vba);
		}
	}

	return wrong;
}

export function readsOf(assembly: Assembly): {current: ReadBlock; snapshot: (generation: number) => ReadBlock} {
	const device = assembly.client('control', block);
	const control = assembly.client('control', deviceControl);
	return {
		current: async (vba, data) => device.read({extents: [vba, 1], data}),
		snapshot: generation => async (vba, data) => control.read_snapshot({generation, extents: [vba, 1], data}),
	};
}

/** Waits until nothing is going on in the container. */
export async function finished(assembly: Assembly): Promise<void> {
	const control = assembly.client('control', deviceControl);
	for (;;) {
		const {extend, rekey} = await control.operations({});
		if (extend.phase === 'idle' && rekey.phase === 'idle') {
			return;
		}

		await new Promise(resolve => {
			setTimeout(resolve, 20);
		});
	}
}

/** What the trust anchor keeps. */
export async function securedOf(medium: MemoryMedium, stateDirectory: string, passphrase: string) {
	const assembly = await openDevice(medium, stateDirectory, {passphrase, crypto: cryptoOpenssl});
	const {secured} = await assembly.client('anchor', trustAnchor).status({});
	await assembly.stop();
	return secured;
}

/** What the newest superblock says; the check is clean besides. */
export async function soundContainerOf(medium: MemoryMedium, stateDirectory: string, passphrase: string) {
	const secured = await securedOf(medium, stateDirectory, passphrase);
	const {exitValue, message, log} = await runTool(cbeCheck, {medium, anchor: new MemoryAnchor({secured})});
	if (exitValue !== 0) {
		throw new Error([message, ...log.map(({text}) => text)].join('\n'));
	}

	const clients = connectMemory({medium, anchor: new MemoryAnchor({secured})});
	return openContainer(clients);
}

/** What the oracle says of the state that the trust anchor knows. */
export function inspectMedium({image}: MemoryMedium, hash: Uint8Array): OracleVerdict {
	const verdict = inspect(
		{content: address => image.subarray(address * blockSize, (address + 1) * blockSize)},
		hash,
		oracleCipherOf('openssl'),
	);
	if (!verdict) {
		throw new Error('the superblock that the trust anchor knows is not on the medium');
	}

	return verdict;
}
