/** The `device_control` contract, sentence by sentence. */
import {randomBytes} from 'node:crypto';
import fs from 'node:fs';
import {join} from 'node:path';
import type {ExecutionContext} from 'ava';
import {sealEnvelope} from '../../components/lib/crypto/key-envelope.js';
import {allocationKinds} from '../../components/sessions/allocation.js';
import {blockSize} from '../../components/sessions/block.js';
import {deviceControl, type OperationStatus} from '../../components/sessions/device-control.js';
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import {temporaryDirectory} from '../support/component-stand.js';
import {everyOperationHasCases, holdTo, type ContractCases} from '../support/contract-cases.js';
import {filled, openDevice, type DeviceStandOptions} from '../support/device-stand.js';
import {connectBy, sessionWays, type SessionWay} from '../support/session-ways.js';

type Control = Client<typeof deviceControl>;

const blockCount = 256;
const takenAt = Date.UTC(2026, 0, 2, 3, 4, 5);

interface Stand {
	readonly client: Control;
	readonly device: Awaited<ReturnType<typeof openDevice>>['device'];
	readonly keys: Awaited<ReturnType<typeof openDevice>>['keys'];
	readonly errors: () => string[];
	readonly image: string;
	readonly bugs: readonly unknown[];
	close(): Promise<void>;
}

const opening =
	(options: DeviceStandOptions = {}) =>
	async (way: SessionWay): Promise<Stand> => {
		const stateDirectory = temporaryDirectory();
		const {device, keys, errors, running, stop, bugs} = await openDevice(stateDirectory, {
			...options,
			shape: {vbd_leaves: String(blockCount), ft_leaves: '400', ...options.shape},
			timeOfDay: () => takenAt,
		});
		const ends = connectBy(way, deviceControl, running as never);
		return {
			client: ends.client,
			device,
			keys,
			errors,
			image: join(stateDirectory, 'image'),
			get bugs() {
				return [...bugs, ...ends.bugs];
			},
			async close() {
				await ends.close();
				await stop();
			},
		};
	};

async function write({device}: Stand, first: number, value: number, count = 1): Promise<void> {
	await device.write({extents: [first, count], data: filled(count, value)});
}

async function contentOf({device}: Stand, first: number, count: number): Promise<Buffer> {
	const data = filled(count, 0xee);
	await device.read({extents: [first, count], data});
	return data;
}

async function refuses(t: ExecutionContext, code: string, request: Promise<unknown>): Promise<void> {
	await t.throwsAsync(request, {instanceOf: SessionError, code});
}

async function ended(client: Control, operation: 'extend' | 'rekey' | 'check'): Promise<OperationStatus> {
	for (;;) {
		const status = (await client.operations({}))[operation];
		if (status.phase === 'idle') {
			return status;
		}

		await new Promise<void>(resolve => {
			setImmediate(resolve);
		});
	}
}

const idle = {phase: 'idle', lastResult: 'none', done: 0, total: 0, bytesPerSecond: 0};

function sealedTo(publicKey: Uint8Array, passphrase: string): string {
	return Buffer.from(sealEnvelope(Buffer.from(passphrase), publicKey, randomBytes)).toString('hex');
}

async function unlockWith(client: Control, passphrase: string): Promise<void> {
	const {publicKey} = await client.recipient({});
	await client.unlock({sealed: sealedTo(publicKey, passphrase)});
}

const cases: ContractCases<Stand> = {
	async 'status: what the device is'(t, stand) {
		await write(stand, 0, 1, 10);
		await stand.device.sync({});
		const status = await stand.client.status({});
		t.like(status, {locked: false, state: 'normal', blockCount, cipher: 'aes-256-xts', poolLeafCount: 400});
		t.true(status.currentGeneration > status.lastSecuredGeneration);
		t.true(status.poolAllocatableCount <= 400 && status.poolHeldCount === 0);
		t.is(status.readOnly, undefined);
		t.is(status.restriction, undefined);
	},

	async 'status: how many blocks have content, and how many of them snapshots have, too'(t, stand) {
		await write(stand, 0, 1, 10);
		await stand.client.create_snapshot({});
		await write(stand, 5, 2, 10);
		let status = await stand.client.status({});
		while (status.usedBlockCount === undefined) {
			status = await stand.client.status({});
		}

		t.like(status, {usedBlockCount: 15, sharedBlockCount: 5});
	},

	async 'list_snapshots: kept snapshots, oldest first'(t, stand) {
		t.deepEqual((await stand.client.list_snapshots({})).snapshots, []);
		await write(stand, 0, 1);
		const first = await stand.client.create_snapshot({name: 'first'});
		await write(stand, 0, 2);
		const second = await stand.client.create_snapshot({});
		const time = takenAt / 1000;
		t.deepEqual((await stand.client.list_snapshots({})).snapshots, [
			{generation: first.generation, name: 'first', time, blockCount, keep: true},
			{generation: second.generation, time, blockCount, keep: true},
		]);
	},

	async 'measure_snapshots: how many blocks each kept snapshot holds alone'(t, stand) {
		await write(stand, 0, 1, 10);
		const {generation: first} = await stand.client.create_snapshot({});
		await write(stand, 0, 2, 4);
		const {generation: second} = await stand.client.create_snapshot({});
		const {snapshots} = await stand.client.measure_snapshots({});
		t.deepEqual(
			snapshots.map(({generation}) => generation),
			[first, second],
		);
		// Four blocks of data, and the inner blocks above them.
		t.true(snapshots[0].soleBlockCount >= 4 && snapshots[0].soleBlockCount < 10);
		t.is(snapshots[1].soleBlockCount, 0);
	},

	async 'create_snapshot: keeps the current content'(t, stand) {
		await write(stand, 0, 1, 10);
		const {generation, isNew} = await stand.client.create_snapshot({});
		t.true(isNew);
		await write(stand, 0, 2, 20);
		const data = filled(20, 0);
		await stand.client.read_snapshot({generation, extents: [0, 20], data});
		t.deepEqual(data, Buffer.concat([filled(10, 1), filled(10, 0)]));
	},

	async 'create_snapshot: where nothing was written since the newest one, that one has the content already'(
		t,
		stand,
	) {
		const {client} = stand;
		await write(stand, 0, 1);
		const {generation} = await client.create_snapshot({});
		t.deepEqual(await client.create_snapshot({}), {generation, isNew: false});
		t.deepEqual(await client.create_snapshot({name: 'now'}), {generation, isNew: false});
		t.like((await client.list_snapshots({})).snapshots, {length: 1, 0: {generation, name: 'now'}});
		const other = await client.create_snapshot({name: 'other'});
		t.true(other.isNew && other.generation !== generation);
		t.is((await client.list_snapshots({})).snapshots.length, 2);
	},

	async 'create_snapshot: what is no name, or the name of another one, is an `invalid_name`'(t, stand) {
		const {client} = stand;
		await write(stand, 0, 1);
		await client.create_snapshot({name: 'x'.repeat(48)});
		await write(stand, 0, 2);
		for (const name of ['', 'x'.repeat(49), 'ä'.repeat(25), '123', 'a/b', 'a\nb', 'x'.repeat(48)]) {
			await refuses(t, 'invalid_name', client.create_snapshot({name}));
		}

		t.is((await client.list_snapshots({})).snapshots.length, 1);
		t.true((await client.create_snapshot({name: 'ä'.repeat(24)})).isNew);
	},

	async 'discard_snapshot: gives a snapshot up; blocks that only it held become spare'(t, stand) {
		const {client} = stand;
		await write(stand, 0, 1, 40);
		const {generation} = await client.create_snapshot({});
		await write(stand, 0, 2, 40);
		await stand.device.sync({});
		await client.create_snapshot({});
		const before = await client.status({});
		t.true(before.poolHeldCount >= 40);
		await client.discard_snapshot({generation});
		const after = await client.status({});
		t.true(after.poolHeldCount <= before.poolHeldCount - 40);
		t.true(after.poolAllocatableCount >= before.poolAllocatableCount + 40);
		await refuses(t, 'unknown_snapshot', client.read_snapshot({generation, extents: [0, 1], data: filled(1, 0)}));
	},

	async 'revert_snapshot: the content of the snapshot is the current content, and the snapshot stays'(t, stand) {
		await write(stand, 0, 1, 10);
		const {generation} = await stand.client.create_snapshot({});
		await write(stand, 5, 2, 10);
		await stand.client.revert_snapshot({generation});
		const before = Buffer.concat([filled(10, 1), filled(10, 0)]);
		t.deepEqual(await contentOf(stand, 0, 20), before);
		await write(stand, 0, 3, 20);
		const data = filled(20, 0);
		await stand.client.read_snapshot({generation, extents: [0, 20], data});
		t.deepEqual(data, before);
	},

	async 'unknown_snapshot: there is none of that number'(t, {client}) {
		await refuses(t, 'unknown_snapshot', client.discard_snapshot({generation: 77}));
		await refuses(t, 'unknown_snapshot', client.revert_snapshot({generation: 77}));
		await refuses(t, 'unknown_snapshot', client.snapshot_allocation({generation: 77, first: 0, count: 1}));
		await refuses(
			t,
			'unknown_snapshot',
			client.read_snapshot({generation: 77, extents: [0, 1], data: filled(1, 0)}),
		);
	},

	async 'extend: adds blocks of the medium to the device; it goes on by itself'(t, stand) {
		const {client} = stand;
		await write(stand, 0, 1);
		await client.extend({tree: 'vbd', blockCount: 70});
		t.is((await ended(client, 'extend')).lastResult, 'success');
		const status = await client.status({});
		t.true(status.blockCount > blockCount && status.blockCount <= blockCount + 70);
		t.deepEqual(await contentOf(stand, status.blockCount - 1, 1), filled(1, 0));
		t.deepEqual(await contentOf(stand, 0, 1), filled(1, 1));
	},

	async 'extend: adds blocks to the pool'(t, {client}) {
		await client.extend({tree: 'ft', blockCount: 200});
		t.is((await ended(client, 'extend')).lastResult, 'success');
		const status = await client.status({});
		t.true(status.poolLeafCount > 400 && status.poolLeafCount <= 600);
		t.is(status.blockCount, blockCount);
	},

	async 'rekey: everything is sealed anew with a new key; it goes on by itself'(t, stand) {
		const {client} = stand;
		await write(stand, 0, 1, 10);
		const {generation} = await client.create_snapshot({});
		await write(stand, 5, 2, 10);
		await client.rekey({});
		const {lastResult, done, total} = await ended(client, 'rekey');
		t.is(lastResult, 'success');
		t.is(done, total);
		t.deepEqual(await contentOf(stand, 0, 15), Buffer.concat([filled(5, 1), filled(10, 2)]));
		const data = filled(10, 0);
		await client.read_snapshot({generation, extents: [0, 10], data});
		t.deepEqual(data, filled(10, 1));
		t.is((await client.status({})).state, 'normal');
	},

	async 'rekey: refused while the container is being rekeyed or extended'(t, stand) {
		const {client} = stand;
		await write(stand, 0, 1, 100);
		await client.rekey({});
		await client.pause({operation: 'rekey'});
		t.is((await client.operations({})).rekey.phase, 'paused');
		await refuses(t, 'refused', client.rekey({}));
		await refuses(t, 'refused', client.extend({tree: 'vbd', blockCount: 70}));
		t.is((await client.status({})).state, 'rekeying');
	},

	async 'check: compares everything that is in use with its labels'(t, stand) {
		await write(stand, 0, 1, 10);
		await stand.client.check({});
		const {lastResult, done, total} = await ended(stand.client, 'check');
		t.is(lastResult, 'success');
		t.is(done, total);
		t.deepEqual(stand.errors(), []);
	},

	async 'operations: how they stand; requests go on while one is halted, and it ends once it is resumed'(t, stand) {
		const {client} = stand;
		t.deepEqual(await client.operations({}), {extend: idle, rekey: idle, check: idle} as never);
		await write(stand, 0, 1, 100);
		await client.rekey({});
		await client.pause({operation: 'rekey'});
		await write(stand, 0, 2, 100);
		t.deepEqual(await contentOf(stand, 0, 100), filled(100, 2));
		const {rekey} = await client.operations({});
		t.like(rekey, {phase: 'paused', lastResult: 'none'});
		t.true(rekey.total >= blockCount && rekey.done < rekey.total);
		await client.resume({operation: 'rekey'});
		t.is((await ended(client, 'rekey')).lastResult, 'success');
		t.deepEqual(await contentOf(stand, 0, 100), filled(100, 2));
	},

	async 'pause: halts an operation until somebody says `resume`'(t, stand) {
		const {client} = stand;
		await write(stand, 0, 1, 100);
		await client.rekey({});
		await client.pause({operation: 'rekey'});
		// Writes wait for the step that still runs.
		await write(stand, 0, 2);
		await client.create_snapshot({});
		const {done} = (await client.operations({})).rekey;
		await write(stand, 0, 3);
		await client.create_snapshot({});
		t.like((await client.operations({})).rekey, {phase: 'paused', done});
		// Others are not halted by it.
		await client.pause({operation: 'check'});
		await client.resume({operation: 'check'});
		t.is((await client.operations({})).rekey.phase, 'paused');
	},

	async 'resume: an operation that is not halted goes on as it does'(t, {client}) {
		await client.resume({operation: 'extend'});
		t.deepEqual((await client.operations({})).extend, idle as never);
	},

	async 'lock: secures everything, then requests fail'(t, stand) {
		const {client, device} = stand;
		await write(stand, 0, 1, 10);
		await client.lock({});
		t.is((await client.status({})).locked, true);
		await refuses(t, 'locked', device.read({extents: [0, 1], data: filled(1, 0)}));
		await refuses(t, 'locked', device.write({extents: [0, 1], data: filled(1, 0)}));
		await refuses(t, 'locked', client.create_snapshot({}));
		await refuses(t, 'locked', client.rekey({}));
		await client.unlock({});
		t.deepEqual(await contentOf(stand, 0, 10), filled(10, 1));
		const {currentGeneration, lastSecuredGeneration} = await client.status({});
		t.true(currentGeneration > lastSecuredGeneration);
	},

	async "recipient: the trust anchor's public key, to which a passphrase is sealed"(t, {client}) {
		const {publicKey} = await client.recipient({});
		t.is(publicKey.length, 32);
		t.notDeepEqual(Buffer.from(publicKey), Buffer.alloc(32));
	},

	async 'unlock: has the trust anchor open with what its configuration names, and goes on'(t, stand) {
		const {client} = stand;
		await client.lock({});
		await client.unlock({});
		t.is((await client.status({})).locked, false);
		await write(stand, 0, 2);
		t.deepEqual(await contentOf(stand, 0, 1), filled(1, 2));
	},

	async 'snapshot_allocation: what is known of the blocks of a snapshot'(t, stand) {
		await write(stand, 10, 1, 5);
		const {generation} = await stand.client.create_snapshot({});
		await write(stand, 0, 2, 30);
		const kinds: number[] = [];
		while (kinds.length < 40) {
			const {runs} = await stand.client.snapshot_allocation({
				generation,
				first: kinds.length,
				count: 40 - kinds.length,
			});
			for (let i = 0; i < runs.length; i += 2) {
				kinds.push(...Array.from({length: runs[i]}, () => runs[i + 1]));
			}
		}

		t.deepEqual(
			kinds.flatMap((kind, index) => (kind === allocationKinds.data ? index : [])),
			[10, 11, 12, 13, 14],
		);
		const beyond = stand.client.snapshot_allocation({generation, first: blockCount - 1, count: 2});
		await refuses(t, 'out_of_range', beyond);
	},

	async 'read_snapshot: reads the extents in their order'(t, stand) {
		await stand.device.write({extents: [7, 2], data: Buffer.concat([filled(1, 1), filled(1, 2)])});
		const {generation} = await stand.client.create_snapshot({});
		await write(stand, 7, 3, 2);
		const data = filled(3, 9);
		await stand.client.read_snapshot({generation, extents: [8, 1, 0, 1, 7, 1], data});
		t.deepEqual(data, Buffer.concat([filled(1, 2), filled(1, 0), filled(1, 1)]));
		const misfit = stand.client.read_snapshot({generation, extents: [0, 2], data: filled(1, 0)});
		await refuses(t, 'out_of_range', misfit);
		const beyond = stand.client.read_snapshot({generation, extents: [blockCount, 1], data: filled(1, 0)});
		await refuses(t, 'out_of_range', beyond);
	},
};

/** What lies on the medium can be damaged only where it does so at once: without a flush log. */
const onMedium: ContractCases<Stand> = {
	async 'check: damage is logged, and its last result is `failed` then'(t, stand) {
		await write(stand, 0, 1, 10);
		await stand.client.create_snapshot({});
		const image = fs.readFileSync(stand.image);
		// Sealed data, wherever it lies: the pool's fresh blocks are never written, so they are zeroes.
		const file = fs.openSync(stand.image, 'r+');
		try {
			for (let pba = 8; pba < image.length / blockSize; pba++) {
				const content = image.subarray(pba * blockSize, (pba + 1) * blockSize);
				if (content.filter(byte => byte === 0).length < 100) {
					fs.writeSync(file, Buffer.from([content[99] ^ 4]), 0, 1, pba * blockSize + 99);
				}
			}
		} finally {
			fs.closeSync(file);
		}

		await stand.client.check({});
		t.is((await ended(stand.client, 'check')).lastResult, 'failed');
		t.true(
			stand.errors().some(text => text.includes('VBA 0')),
			stand.errors().join('\n'),
		);
		await refuses(t, 'integrity', stand.device.read({extents: [0, 1], data: filled(1, 0)}));
	},
};

const withPassphrase: ContractCases<Stand> = {
	async 'unlock: has the trust anchor open with a sealed passphrase, and with no other one'(t, stand) {
		const {client, keys} = stand;
		await write(stand, 0, 1);
		const {publicKey} = await keys.recipient({});
		await keys.add({secret: sealedTo(publicKey, 'the passphrase')});
		await keys.remove({slot: 0, existing: sealedTo(publicKey, 'the passphrase')});
		await client.lock({});
		await refuses(t, 'wrong_passphrase', unlockWith(client, 'not the passphrase'));
		t.is((await client.status({})).locked, true);
		await unlockWith(client, 'the passphrase');
		t.deepEqual(await contentOf(stand, 0, 1), filled(1, 1));
	},
};

/** As the original makes its containers. */
const withoutNames: ContractCases<Stand> = {
	async 'create_snapshot: refused with a name where snapshots have none'(t, stand) {
		await write(stand, 0, 1);
		await refuses(t, 'refused', stand.client.create_snapshot({name: 'first'}));
		const {generation} = await stand.client.create_snapshot({});
		t.like((await stand.client.list_snapshots({})).snapshots, {length: 1, 0: {generation, blockCount}});
	},
};

holdTo('superblock_control', {ways: sessionWays, open: opening(), cases});
holdTo('superblock_control without a flush log', {
	ways: ['on one thread'],
	open: opening({shape: {flush_log_blocks: '0'}}),
	cases: onMedium,
});
holdTo('superblock_control with a passphrase', {
	ways: ['on one thread'],
	open: opening({anchor: {unlock_ms: '1', kdf_memory: '1M'}}),
	cases: withPassphrase,
});
holdTo("superblock_control of an original's container", {
	ways: ['on one thread'],
	open: opening({shape: {cipher: 'aes-256-cbc-essiv', flush_log_blocks: '0'}}),
	cases: withoutNames,
});
everyOperationHasCases(deviceControl, cases);
