import test from 'ava';
import {startAssembly} from '../../test/support/assembly.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import blockFile from '../block_file/component.js';
import cache from '../cache/component.js';
import cryptoOpenssl from '../crypto_openssl/component.js';
import freeTree from '../free_tree/component.js';
import {block, blockSize} from '../sessions/block.js';
import {deviceControl} from '../sessions/device-control.js';
import trustAnchorFile from '../trust_anchor_file/component.js';
import virtualBlockDevice from '../virtual_block_device/component.js';
import superblockControl from './component.js';

const blockCount = 1024;

/** A device of 4 MiB with a pool for about a third of it. */
const create = [{vbd_leaves: String(blockCount), vbd_max_level: '2', vbd_degree: '64', ft_leaves: '400', ft_max_level: '2', ft_degree: '64', cipher: 'aes-256-xts'}];

async function openDevice(stateDirectory: string) {
	const assembly = await startAssembly([
		{name: 'medium', component: blockFile, config: {path: 'image', create: 'yes'}},
		{name: 'crypto', component: cryptoOpenssl},
		{name: 'anchor', component: trustAnchorFile, config: {path: 'anchor'}},
		{name: 'cache', component: cache, config: {size: '8M'}, routes: {block: 'medium'}},
		{name: 'free_tree', component: freeTree, routes: {cache: 'cache'}},
		{name: 'vbd', component: virtualBlockDevice, routes: {cache: 'cache', block: 'medium', crypto: 'crypto', free_tree: 'free_tree'}},
		{
			name: 'control', component: superblockControl, config: {create},
			routes: {virtual_block_device: 'vbd', free_tree: 'free_tree', block: 'medium', trust_anchor: 'anchor', crypto: 'crypto'},
		},
	], {stateDirectory});
	return {device: assembly.client('control', block), control: assembly.client('control', deviceControl), stop: async () => assembly.stop(), bugs: assembly.bugs};
}

const filled = (count: number, value: number) => Buffer.alloc(count * blockSize, value);

test('cleared blocks read as zeroes, now and after opening again; a snapshot keeps them', async t => {
	const stateDirectory = temporaryDirectory();
	const first = await openDevice(stateDirectory);
	await first.device.write({extents: [0, 100], data: filled(100, 1)});
	const {generation} = await first.control.create_snapshot({});
	await first.device.clear({extents: [10, 20, 50, 5, 900, 100]});
	await first.device.write({extents: [12, 1], data: filled(1, 2)});
	await first.device.sync({});
	const expected = filled(100, 1).fill(0, 10 * blockSize, 30 * blockSize).fill(0, 50 * blockSize, 55 * blockSize).fill(2, 12 * blockSize, 13 * blockSize);
	const data = filled(100, 9);
	await first.device.read({extents: [0, 100], data});
	t.true(data.equals(expected));
	await first.stop();

	const second = await openDevice(stateDirectory);
	await second.device.read({extents: [0, 100], data});
	t.true(data.equals(expected));
	await second.control.read_snapshot({generation, extents: [0, 100], data});
	t.true(data.equals(filled(100, 1)));
	await second.stop();
	t.deepEqual([...first.bugs, ...second.bugs], []);
});

test('a range larger than the pool is cleared at once, and what does not fit the device is refused', async t => {
	const {device, stop} = await openDevice(temporaryDirectory());
	await device.write({extents: [0, blockCount], data: filled(blockCount, 1)});
	await device.clear({extents: [0, blockCount]});
	const data = filled(blockCount, 9);
	await device.read({extents: [0, blockCount], data});
	t.true(data.equals(filled(blockCount, 0)));
	await t.throwsAsync(device.clear({extents: [blockCount - 1, 2]}), {code: 'out_of_range'});
	await stop();
});

test('where snapshots hold the pool, clearing has no space, reads go on, and a discarded snapshot brings it back', async t => {
	const {device, control, stop} = await openDevice(temporaryDirectory());
	await device.write({extents: [0, blockCount], data: filled(blockCount, 1)});
	const {generation} = await control.create_snapshot({});
	await t.throwsAsync(device.clear({extents: [0, blockCount]}), {code: 'no_space'});
	const data = filled(1, 9);
	await device.read({extents: [blockCount - 1, 1], data});
	t.deepEqual(data, filled(1, 1));
	await control.discard_snapshot({generation});
	await device.clear({extents: [0, blockCount]});
	await device.read({extents: [blockCount - 1, 1], data});
	t.deepEqual(data, filled(1, 0));
	await stop();
});

test('the status counts the pool: spare blocks, and what only snapshots hold', async t => {
	const {device, control, stop} = await openDevice(temporaryDirectory());
	await device.write({extents: [0, 50], data: filled(50, 1)});
	const {generation} = await control.create_snapshot({});
	await device.write({extents: [0, 50], data: filled(50, 2)});
	await device.sync({});
	const held = await control.status({});
	t.is(held.poolLeafCount, 400);
	t.true(held.poolHeldCount >= 50 && held.poolHeldCount < 60, String(held.poolHeldCount));
	await control.discard_snapshot({generation});
	const after = await control.status({});
	t.is(after.poolHeldCount, 0);
	t.true(after.poolAllocatableCount > held.poolAllocatableCount);
	await stop();
});
