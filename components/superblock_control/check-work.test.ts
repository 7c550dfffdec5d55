import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {filled, openDevice as openStand} from '../../test/support/device-stand.js';
import {NodeBlocks} from '../lib/format/node-blocks.js';
import type {Superblock} from '../lib/format/superblock.js';
import {decodeSuperblock} from '../lib/format/superblock-codec.js';
import {blockSize} from '../sessions/block.js';

/** Without a flush log: what is damaged here has to lie on the medium. */
const shape = {ft_leaves: '400', flush_log_blocks: '0'};

async function openDevice() {
	const stateDirectory = temporaryDirectory();
	const {device, control, errors, stop, bugs} = await openStand(stateDirectory, {shape});
	return {
		device,
		control,
		errors,
		image: join(stateDirectory, 'image'),
		async check(meanwhile: () => Promise<unknown> = async () => undefined) {
			await control.check({});
			while ((await control.operations({})).check.phase !== 'idle') {
				await meanwhile();
				await new Promise<void>(resolve => {
					setImmediate(resolve);
				});
			}

			return (await control.operations({})).check.lastResult;
		},
		async stop() {
			await stop();
			return bugs;
		},
	};
}

function flipBit(image: string, pba: number): void {
	const file = fs.openSync(image, 'r+');
	const byte = Buffer.alloc(1);
	fs.readSync(file, byte, 0, 1, pba * blockSize + 99);
	byte[0] ^= 4;
	fs.writeSync(file, byte, 0, 1, pba * blockSize + 99);
	fs.closeSync(file);
}

function newestSuperblock(image: string): Superblock {
	const content = fs.readFileSync(image);
	const superblocks = Array.from({length: 8}, (_, slot) => content.subarray(slot * blockSize, (slot + 1) * blockSize))
		.filter(slot => slot[0] !== 0)
		.map(slot => decodeSuperblock(slot));
	return superblocks.sort((a, b) => b.lastSecuredGeneration - a.lastSecuredGeneration)[0];
}

/** Where the data of one of the first 64 leaves of the current state lies. */
function placeOf(image: string, vba: number): number {
	const content = fs.readFileSync(image);
	const nodesAt = (pba: number) => new NodeBlocks(content.subarray(pba * blockSize, (pba + 1) * blockSize));
	const {snapshots, currentSnapshot} = newestSuperblock(image);
	return nodesAt(nodesAt(snapshots[currentSnapshot]!.root.address).address(0, 0)).address(0, vba);
}

test('a device in use is in order, with snapshots, while it is written and rekeyed', async t => {
	const {device, control, check, errors, stop} = await openDevice();
	await device.write({extents: [0, 200], data: filled(200, 1)});
	await control.create_snapshot({});
	await device.write({extents: [50, 50], data: filled(50, 2)});
	let value = 3;
	await control.rekey({});
	const result = await check(async () => {
		await device.write({extents: [value % 100, 20], data: filled(20, value)});
		await device.sync({});
		value++;
	});
	t.is(result, 'success');
	t.deepEqual(errors(), []);
	t.deepEqual(await stop(), []);
});

test('damage of data is found where a snapshot holds it, too', async t => {
	const {device, control, check, image, errors, stop} = await openDevice();
	await device.write({extents: [0, 100], data: filled(100, 1)});
	const {generation} = await control.create_snapshot({});
	const [kept, replaced] = [placeOf(image, 5), placeOf(image, 7)];
	await device.write({extents: [7, 1], data: filled(1, 2)});
	await device.sync({});
	flipBit(image, kept);
	flipBit(image, replaced);
	t.is(await check(), 'failed');
	t.deepEqual(errors().slice(0, 2), [
		`check: current state: the block at PBA ${kept} (level 0, VBA 5) does not match the hash in its parent`,
		`check: snapshot ${generation}: the block at PBA ${replaced} (level 0, VBA 7) does not match the hash in its parent`,
	]);
	t.regex(errors()[2], /^the check stopped: 2 of \d+ blocks are damaged$/);
	t.deepEqual(await stop(), []);
});

test('damage of inner blocks is found on the medium though they are held in memory', async t => {
	const {device, check, image, errors, stop} = await openDevice();
	await device.write({extents: [0, 1], data: filled(1, 1)});
	await device.sync({});
	const {snapshots, currentSnapshot, freeTree: free, metaTree: meta} = newestSuperblock(image);
	for (const address of [snapshots[currentSnapshot]!.root.address, free.root.address, meta.root.address]) {
		flipBit(image, address);
	}

	t.is(await check(), 'failed');
	t.deepEqual(
		errors()
			.slice(0, 3)
			.map(text => text.split(':')[1]),
		[' current state', ' free tree', ' meta tree'],
	);
	t.regex(errors()[3], /3 of \d+ blocks are damaged/);
	t.deepEqual(await stop(), []);
});

test('a second check is refused while one goes on', async t => {
	const {control, check, stop} = await openDevice();
	const running = check();
	await t.throwsAsync(control.check({}), {code: 'refused', message: /going on already/});
	t.is(await running, 'success');
	await stop();
});
