import {randomBytes} from 'node:crypto';
import test from 'ava';
import {sealEnvelope} from '../lib/crypto/key-envelope.js';
import {startAssembly} from '../../test/support/assembly.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import blockFile from '../block_file/component.js';
import cache from '../cache/component.js';
import cryptoOpenssl from '../crypto_openssl/component.js';
import freeTree from '../free_tree/component.js';
import {anchorKeys} from '../sessions/anchor-keys.js';
import {block, blockSize} from '../sessions/block.js';
import {crypto} from '../sessions/crypto.js';
import {deviceControl} from '../sessions/device-control.js';
import {trustAnchor} from '../sessions/trust-anchor.js';
import trustAnchorFile from '../trust_anchor_file/component.js';
import virtualBlockDevice from '../virtual_block_device/component.js';
import superblockControl from './component.js';

const create = [{vbd_leaves: '1024', vbd_max_level: '2', vbd_degree: '64', ft_leaves: '1000', ft_max_level: '2', ft_degree: '64', cipher: 'aes-256-xts'}];

/** `slowly`: a rekeying that is still going on when the device is locked. */
async function openDevice(stateDirectory: string, slowly = false) {
	const assembly = await startAssembly([
		{name: 'medium', component: blockFile, config: {path: 'image', create: 'yes'}},
		{name: 'crypto', component: cryptoOpenssl},
		{name: 'anchor', component: trustAnchorFile, config: {path: 'anchor', unlock_ms: '1', kdf_memory: '1M'}},
		{name: 'cache', component: cache, config: {size: '8M'}, routes: {block: 'medium'}},
		{name: 'free_tree', component: freeTree, routes: {cache: 'cache'}},
		{name: 'vbd', component: virtualBlockDevice, routes: {cache: 'cache', block: 'medium', crypto: 'crypto', free_tree: 'free_tree'}},
		{
			name: 'control', component: superblockControl, config: {create, ...slowly && {rekeying_rate: '1M'}},
			routes: {virtual_block_device: 'vbd', free_tree: 'free_tree', block: 'medium', trust_anchor: 'anchor', crypto: 'crypto'},
		},
	], {stateDirectory});
	const control = assembly.client('control', deviceControl);
	return {
		assembly,
		control,
		device: assembly.client('control', block),
		anchor: assembly.client('anchor', trustAnchor),
		keys: assembly.client('anchor', anchorKeys),
		crypto: assembly.client('crypto', crypto),
		async unlock(passphrase: string) {
			const {publicKey} = await control.recipient({});
			await control.unlock({sealed: Buffer.from(sealEnvelope(Buffer.from(passphrase), publicKey, count => randomBytes(count))).toString('hex')});
		},
	};
}

const filled = (count: number, value: number) => Buffer.alloc(count * blockSize, value);

test('a locked device refuses requests and holds no key; unlocked, it goes on with what it had', async t => {
	const opened = await openDevice(temporaryDirectory());
	const {device, control, anchor, assembly} = opened;
	await device.write({extents: [0, 10], data: filled(10, 1)});
	const {generation} = await control.create_snapshot({});
	await device.write({extents: [0, 5], data: filled(5, 2)});
	const written = device.write({extents: [5, 5], data: filled(5, 3)});
	await control.lock({});
	await written;

	t.deepEqual(await anchor.access({}), {state: 'locked'});
	t.is((await control.status({})).locked, true);
	const data = filled(10, 9);
	for (const call of [
		device.read({extents: [0, 10], data}), device.write({extents: [0, 10], data}), device.clear({extents: [0, 1]}),
		control.create_snapshot({}), control.rekey({}), control.read_snapshot({generation, extents: [0, 10], data}),
	]) {
		await t.throwsAsync(call, {code: 'locked', message: /runtime unlock/});
	}

	const sealing = opened.crypto.seal({keyId: 1, addresses: [8], vbas: [0], generations: [1], plain: [filled(1, 1)], sealed: filled(1, 0)});
	await t.throwsAsync(sealing, {code: 'unknown_key'});
	t.deepEqual(await device.geometry({}), {blockCount: 1024, writable: true, growable: false});
	// Locking has secured everything.
	await device.sync({});
	await control.lock({});

	await control.unlock({});
	await device.read({extents: [0, 10], data});
	t.true(data.equals(Buffer.concat([filled(5, 2), filled(5, 3)])));
	await control.read_snapshot({generation, extents: [0, 10], data});
	t.true(data.equals(filled(10, 1)));
	await device.write({extents: [3, 1], data: filled(1, 4)});
	await device.sync({});
	await assembly.stop();
	t.deepEqual(assembly.bugs, []);
});

test('with a passphrase it starts locked, a wrong one changes nothing, and what was written before is there', async t => {
	const stateDirectory = temporaryDirectory();
	const first = await openDevice(stateDirectory);
	await first.device.write({extents: [0, 3], data: filled(3, 7)});
	const {publicKey} = await first.keys.recipient({});
	const seal = (text: string) => Buffer.from(sealEnvelope(Buffer.from(text), publicKey, count => randomBytes(count))).toString('hex');
	await first.keys.add({secret: seal('eins')});
	await first.keys.remove({slot: 0, existing: seal('eins')});
	await first.assembly.stop();

	const second = await openDevice(stateDirectory);
	t.is((await second.control.status({})).state, 'unknown');
	await t.throwsAsync(second.device.geometry({}), {code: 'locked'});
	await t.throwsAsync(second.control.unlock({}), {code: 'locked'});
	await t.throwsAsync(second.unlock('zwei'), {code: 'wrong_passphrase'});
	await t.throwsAsync(second.device.read({extents: [0, 3], data: filled(3, 0)}), {code: 'locked'});
	await second.unlock('eins');
	const data = filled(3, 0);
	await second.device.read({extents: [0, 3], data});
	t.true(data.equals(filled(3, 7)));
	await second.assembly.stop();
	t.deepEqual([...first.assembly.bugs, ...second.assembly.bugs], []);
});

test('a trust anchor that was unlocked by hand and dies takes the device into the lock, and unflushed writes wait for it', async t => {
	const stateDirectory = temporaryDirectory();
	const first = await openDevice(stateDirectory);
	const {publicKey} = await first.keys.recipient({});
	const seal = (text: string) => Buffer.from(sealEnvelope(Buffer.from(text), publicKey, count => randomBytes(count))).toString('hex');
	await first.keys.add({secret: seal('eins')});
	await first.keys.remove({slot: 0, existing: seal('eins')});
	await first.device.write({extents: [0, 3], data: filled(3, 7)});
	await first.assembly.restart('anchor');
	while (!(await first.control.status({})).locked) {
		await new Promise(resolve => {
			setTimeout(resolve, 10);
		});
	}

	await t.throwsAsync(first.device.read({extents: [0, 3], data: filled(3, 0)}), {code: 'locked'});
	await t.throwsAsync(first.device.sync({}), {code: 'locked'});
	await first.unlock('eins');
	await first.device.sync({});
	const data = filled(3, 0);
	await first.device.read({extents: [0, 3], data});
	t.true(data.equals(filled(3, 7)));
	await first.assembly.stop();
	t.deepEqual(first.assembly.bugs, []);
});

test('a rekeying that is going on halts with the lock and goes on after it', async t => {
	const opened = await openDevice(temporaryDirectory(), true);
	const {device, control, assembly} = opened;
	for (let i = 0; i < 8; i++) {
		await device.write({extents: [i * 128, 128], data: filled(128, i + 1)});
	}

	await control.rekey({});
	await control.lock({});
	t.is((await control.operations({})).rekey.phase, 'idle');
	t.is((await control.status({})).state, 'rekeying');
	await control.unlock({});
	t.is((await control.operations({})).rekey.phase, 'in-progress');
	while ((await control.status({})).state !== 'normal') {
		await new Promise(resolve => {
			setTimeout(resolve, 50);
		});
	}

	const data = filled(1024, 0);
	await device.read({extents: [0, 1024], data});
	for (let i = 0; i < 8; i++) {
		t.true(data.subarray(i * 128 * blockSize, (i + 1) * 128 * blockSize).equals(filled(128, i + 1)));
	}

	await assembly.stop();
	t.deepEqual(assembly.bugs, []);
});
