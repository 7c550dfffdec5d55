/** Containers of the original, opened, read, written and checked through the real components. */
import {createHash} from 'node:crypto';
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {z} from 'zod';
import cache from '../../components/cache/component.js';
import cbeCheck from '../../components/cbe_check/component.js';
import cryptoNoble from '../../components/crypto_noble/component.js';
import cryptoOpenssl from '../../components/crypto_openssl/component.js';
import freeTree from '../../components/free_tree/component.js';
import {block, blockSize} from '../../components/sessions/block.js';
import {deviceControl} from '../../components/sessions/device-control.js';
import {trustAnchor} from '../../components/sessions/trust-anchor.js';
import superblockControl from '../../components/superblock_control/component.js';
import anchorTresor from '../../components/trust_anchor_tresor/component.js';
import virtualBlockDevice from '../../components/virtual_block_device/component.js';
import {defineComponent, type Component} from '../../runtime/sdk/component.js';
import type {Client} from '../../runtime/sdk/session.js';
import {Assembly} from '../support/assembly.js';
import {temporaryDirectory} from '../support/component-stand.js';
import {loadGolden, type GoldenDescription} from '../support/golden.js';
import {MemoryAnchor} from '../support/memory-anchor.js';
import {MemoryMedium} from '../support/memory-medium.js';
import {runTool} from '../support/tool-run.js';
import {dataOf, stampOf} from './content.js';
import {Random} from './random.js';

const zeroHash = createHash('sha256').update(Buffer.alloc(blockSize)).digest('hex');

function writeAnchor(stateDirectory: string, {superblock_hash_file: hash, encrypted_private_key_file: key}: GoldenDescription['trust_anchor']): void {
	const directory = join(stateDirectory, 'trust_anchor');
	mkdirSync(directory);
	writeFileSync(join(directory, 'superblock_hash'), Buffer.from(hash, 'hex'), {mode: 0o600});
	writeFileSync(join(directory, 'encrypted_private_key'), Buffer.from(key, 'hex'), {mode: 0o600});
}

/** The device as `config/assemblies/tresor.xml` wires it, on an image in memory. */
async function openDevice(medium: MemoryMedium, stateDirectory: string, {passphrase, crypto}: {passphrase: string; crypto: Component}): Promise<Assembly> {
	const image = defineComponent({provides: {block}, config: z.strictObject({}), start: () => ({provides: {block: medium.handlers}})});
	const assembly = new Assembly([
		{name: 'image', component: image},
		{name: 'anchor', component: anchorTresor},
		{name: 'crypto', component: crypto},
		{name: 'cache', component: cache, config: {size: '4M'}, routes: {block: 'image'}},
		{name: 'free_tree', component: freeTree, routes: {cache: 'cache'}},
		{name: 'device', component: virtualBlockDevice, routes: {cache: 'cache', block: 'image', crypto: 'crypto', free_tree: 'free_tree'}},
		{
			name: 'control', component: superblockControl,
			routes: {virtual_block_device: 'device', free_tree: 'free_tree', block: 'image', trust_anchor: 'anchor', crypto: 'crypto'},
		},
	], {stateDirectory, environment: (_name, base) => ({...base, variable: () => passphrase})});
	await assembly.start();
	return assembly;
}

type ReadBlock = (vba: number, data: Uint8Array) => Promise<unknown>;

/** VBAs below `count` whose content is not what the list says; what is not listed was never written. */
async function differences(read: ReadBlock, count: number, listed: Readonly<Record<string, string>>): Promise<number[]> {
	const wrong: number[] = [];
	const data = Buffer.alloc(blockSize);
	for (let vba = 0; vba < count; vba++) {
		await read(vba, data);
		if (createHash('sha256').update(data).digest('hex') !== (listed[vba] ?? zeroHash)) {
			wrong.push(vba);
		}
	}

	return wrong;
}

function readsOf(assembly: Assembly): {current: ReadBlock; snapshot: (generation: number) => ReadBlock} {
	const device = assembly.client('control', block);
	const control = assembly.client('control', deviceControl);
	return {
		current: async (vba, data) => device.read({extents: [vba, 1], data}),
		snapshot: generation => async (vba, data) => control.read_snapshot({generation, extents: [vba, 1], data}),
	};
}

/** Writes some blocks at random, flushing now and then, and returns what was written. */
async function writeSome(device: Client<typeof block>, blockCount: number, random: Random): Promise<Map<number, number>> {
	const written = new Map<number, number>();
	for (let i = 1; i <= 60; i++) {
		const vba = random.below(blockCount);
		written.set(vba, i);
		await device.write({extents: [vba, 1], data: dataOf([i])});
		if (random.chance(0.2)) {
			await device.sync({});
		}
	}

	return written;
}

for (const name of ['d64_a_init', 'd64_b_snaps', 'd64_c_rekeyed', 'd64_e_extended'] as const) {
	for (const [cryptoName, crypto] of Object.entries({crypto_openssl: cryptoOpenssl, crypto_noble: cryptoNoble})) {
		test(`${name} of the original opens, reads back, takes writes and stays in order, with ${cryptoName}`, async t => {
			const {image, description} = loadGolden(name);
			const medium = new MemoryMedium(image);
			const stateDirectory = temporaryDirectory();
			writeAnchor(stateDirectory, description.trust_anchor);
			const {passphrase} = description.trust_anchor;
			const current = description.snapshots.find(snapshot => snapshot.is_current)!;
			const kept = description.snapshots.filter(({keep, is_current: isCurrent}) => keep && !isCurrent);

			const first = await openDevice(medium, stateDirectory, {passphrase, crypto});
			const reads = readsOf(first);
			t.deepEqual(await differences(reads.current, current.leaves, current.vba_sha256), []);
			for (const {gen, leaves, vba_sha256: listed} of kept) {
				t.deepEqual(await differences(reads.snapshot(gen), leaves, listed), [], `snapshot ${gen}`);
			}

			const written = await writeSome(first.client('control', block), current.leaves, new Random(7));
			await first.stop();
			t.deepEqual(first.bugs, []);

			const second = await openDevice(medium, stateDirectory, {passphrase, crypto});
			const data = Buffer.alloc(blockSize);
			const listedNow = {...current.vba_sha256};
			for (const [vba, stamp] of written) {
				await readsOf(second).current(vba, data);
				t.is(stampOf(data), stamp);
				listedNow[vba] = createHash('sha256').update(data).digest('hex');
			}

			t.deepEqual(await differences(readsOf(second).current, current.leaves, listedNow), []);
			for (const {gen, leaves, vba_sha256: listed} of kept) {
				t.deepEqual(await differences(readsOf(second).snapshot(gen), leaves, listed), [], `snapshot ${gen} after the writes`);
			}

			const {secured} = await second.client('anchor', trustAnchor).status({});
			await second.stop();
			const {exitValue, message, log} = await runTool(cbeCheck, {medium, anchor: new MemoryAnchor({secured})});
			t.is(exitValue, 0, [message, ...log.map(({text}) => text)].join('\n'));
		});
	}
}
