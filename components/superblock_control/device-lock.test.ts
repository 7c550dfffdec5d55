import {randomBytes} from 'node:crypto';
import test, {type ExecutionContext} from 'ava';
import {sealEnvelope} from '../lib/crypto/key-envelope.js';
import {SessionError, type Handlers} from '../../runtime/sdk/session.js';
import {startAssembly} from '../../test/support/assembly.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {filteredMedium} from '../../test/support/filtered-medium.js';
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

const shape = {
	vbd_leaves: '1024',
	vbd_max_level: '2',
	vbd_degree: '64',
	ft_leaves: '1000',
	ft_max_level: '2',
	ft_degree: '64',
	cipher: 'aes-256-xts',
};

interface Options {
	/** A rekeying that is still going on when the device is locked. */
	readonly slowly?: boolean;
	readonly anchor?: typeof trustAnchorFile;
	readonly innerBlocks?: 'encrypted';
	/** Between the image and everything else. */
	readonly filter?: typeof blockFile;
}

/** A trust anchor whose answers about keys `answer` holds up, or refuses. */
function anchorThat(answer: (operation: 'share_key' | 'share_inner_key') => Promise<void>): typeof trustAnchorFile {
	return {
		...trustAnchorFile,
		async start(parts) {
			const running = await trustAnchorFile.start!(parts);
			const handlers = running.provides.trust_anchor as unknown as Handlers<typeof trustAnchor>;
			const held: Pick<Handlers<typeof trustAnchor>, 'share_key' | 'share_inner_key'> = {
				async share_key(request, context) {
					const reply = await handlers.share_key(request, context);
					await answer('share_key');
					return reply;
				},
				async share_inner_key(request, context) {
					const reply = await handlers.share_inner_key(request, context);
					await answer('share_inner_key');
					return reply;
				},
			};
			return {
				...running,
				provides: {
					...running.provides,
					trust_anchor: {...handlers, ...held},
				} as unknown as typeof running.provides,
			};
		},
	};
}

/** Ends when somebody says so. */
function latch(): {readonly opened: Promise<void>; open(): void} {
	let open = (): void => undefined;
	const opened = new Promise<void>(resolve => {
		open = resolve;
	});
	return {opened, open};
}

const pause = async (ms: number) =>
	new Promise<void>(resolve => {
		setTimeout(resolve, ms);
	});

async function openDevice(
	stateDirectory: string,
	{slowly = false, anchor = trustAnchorFile, innerBlocks, filter}: Options = {},
) {
	const create = [{...shape, ...(innerBlocks && {inner_blocks: innerBlocks})}];
	const assembly = await startAssembly(
		[
			{name: filter ? 'image' : 'medium', component: blockFile, config: {path: 'image', create: 'yes'}},
			...(filter ? [{name: 'medium', component: filter, routes: {block: 'image'}}] : []),
			{name: 'crypto', component: cryptoOpenssl},
			{name: 'anchor', component: anchor, config: {path: 'anchor', unlock_ms: '1', kdf_memory: '1M'}},
			{
				name: 'cache',
				component: cache,
				config: {size: '8M'},
				routes: {block: 'medium', ...(innerBlocks && {crypto: 'crypto'})},
			},
			{name: 'free_tree', component: freeTree, routes: {cache: 'cache'}},
			{
				name: 'vbd',
				component: virtualBlockDevice,
				routes: {cache: 'cache', block: 'medium', crypto: 'crypto', free_tree: 'free_tree'},
			},
			{
				name: 'control',
				component: superblockControl,
				config: {create, ...(slowly && {rekeying_rate: '1M'})},
				routes: {
					virtual_block_device: 'vbd',
					free_tree: 'free_tree',
					block: 'medium',
					trust_anchor: 'anchor',
					crypto: 'crypto',
				},
			},
		],
		{
			stateDirectory,
			// A key that never comes is waited for 50 ms instead of 5 s.
			environment: (name, base) =>
				name === 'crypto' ? {...base, sleep: async ms => base.sleep(ms / 100)} : base,
		},
	);
	const control = assembly.client('control', deviceControl);
	return {
		assembly,
		control,
		device: assembly.client('control', block),
		anchor: assembly.client('anchor', trustAnchor),
		keys: assembly.client('anchor', anchorKeys),
		crypto: assembly.client('crypto', crypto),
		/** Of the crypto server that is there now. */
		keyCount: () => assembly.running('crypto').status?.().keys,
		async unlock(passphrase: string) {
			const {publicKey} = await control.recipient({});
			await control.unlock({
				sealed: Buffer.from(
					sealEnvelope(Buffer.from(passphrase), publicKey, count => randomBytes(count)),
				).toString('hex'),
			});
		},
	};
}

/** The first three blocks have this content, and nobody made a mistake until the end. */
async function endWithFirstBlocks(
	t: ExecutionContext,
	{device, assembly}: Awaited<ReturnType<typeof openDevice>>,
	value: number,
): Promise<void> {
	const data = filled(3, 0);
	await device.read({extents: [0, 3], data});
	t.true(data.equals(filled(3, value)));
	await assembly.stop();
	t.deepEqual(assembly.bugs, []);
}

/** From now on the anchor opens with the passphrase alone. */
async function setPassphrase({keys}: Awaited<ReturnType<typeof openDevice>>, passphrase: string): Promise<void> {
	const {publicKey} = await keys.recipient({});
	const seal = (text: string) =>
		Buffer.from(sealEnvelope(Buffer.from(text), publicKey, count => randomBytes(count))).toString('hex');
	await keys.add({secret: seal(passphrase)});
	await keys.remove({slot: 0, existing: seal(passphrase)});
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
		device.read({extents: [0, 10], data}),
		device.write({extents: [0, 10], data}),
		device.clear({extents: [0, 1]}),
		control.create_snapshot({}),
		control.rekey({}),
		control.read_snapshot({generation, extents: [0, 10], data}),
	]) {
		await t.throwsAsync(call, {code: 'locked', message: /runtime unlock/});
	}

	const sealing = opened.crypto.seal({
		keyId: 1,
		addresses: [8],
		vbas: [0],
		generations: [1],
		plain: [filled(1, 1)],
		sealed: filled(1, 0),
	});
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
	await setPassphrase(first, 'eins');
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
	await setPassphrase(first, 'eins');
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
	const opened = await openDevice(temporaryDirectory(), {slowly: true});
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

test('a crypto server that is restarted while the device is being locked gets its keys, and what waits for them is secured', async t => {
	const {device, control, anchor, assembly, keyCount} = await openDevice(temporaryDirectory());
	await device.write({extents: [0, 10], data: filled(10, 1)});
	assembly.kill('crypto');
	const written = device.write({extents: [10, 10], data: filled(10, 2)});
	const data = filled(10, 0);
	const read = device.read({extents: [0, 10], data});
	await pause(20);
	const locked = control.lock({});
	t.true((await control.status({})).locked);
	await assembly.restart('crypto');
	await Promise.all([written, read, locked]);
	t.true(data.equals(filled(10, 1)));
	t.deepEqual(await anchor.access({}), {state: 'locked'});
	t.is(keyCount(), 0);

	// One that comes back later gets none.
	await assembly.restart('crypto');
	t.is(keyCount(), 0);
	await control.unlock({});
	t.is(keyCount(), 1);
	const all = filled(20, 0);
	await device.read({extents: [0, 20], data: all});
	t.true(all.equals(Buffer.concat([filled(10, 1), filled(10, 2)])));
	await assembly.stop();
	t.deepEqual(assembly.bugs, []);
});

test('a key whose way to the crypto server had begun before the lock is not there after it', async t => {
	const asked = latch();
	const answered = latch();
	let isHeld = false;
	const {control, anchor, assembly, keyCount, device} = await openDevice(temporaryDirectory(), {
		anchor: anchorThat(async () => {
			if (isHeld) {
				asked.open();
				await answered.opened;
			}
		}),
	});
	isHeld = true;
	const restarted = assembly.restart('crypto');
	await asked.opened;
	const locked = control.lock({});
	// Time enough for a lock that does not wait for it.
	await pause(200);
	answered.open();
	await Promise.all([restarted, locked]);
	t.deepEqual(await anchor.access({}), {state: 'locked'});
	t.is(keyCount(), 0);
	await control.unlock({});
	t.is(keyCount(), 1);
	await device.write({extents: [0, 1], data: filled(1, 1)});
	await assembly.stop();
	t.deepEqual(assembly.bugs, []);
});

/** A locked device with two keys, and 7 in its first 3 blocks: locked after it was open, or since its start. */
async function openLocked(anchor: typeof trustAnchorFile, sinceStart: boolean) {
	const stateDirectory = temporaryDirectory();
	const first = await openDevice(stateDirectory, {anchor, innerBlocks: 'encrypted'});
	await first.device.write({extents: [0, 3], data: filled(3, 7)});
	if (!sinceStart) {
		await first.control.lock({});
		return {...first, unlock: async () => first.control.unlock({})};
	}

	await setPassphrase(first, 'eins');
	await first.assembly.stop();
	const second = await openDevice(stateDirectory, {anchor, innerBlocks: 'encrypted'});
	return {...second, unlock: async () => second.unlock('eins')};
}

for (const [when, sinceStart] of [
	['after it was open', false],
	['since its start', true],
] as const) {
	test(`an unlocking that fails half-way leaves no key and a locked trust anchor; locked ${when}`, async t => {
		let isRefused = false;
		const {unlock, keyCount, anchor, device, assembly} = await openLocked(
			anchorThat(async operation => {
				if (isRefused && operation === 'share_inner_key') {
					throw new SessionError('storage_failed', 'the disk stands still');
				}
			}),
			sinceStart,
		);
		isRefused = true;
		await t.throwsAsync(unlock(), {code: 'device_failed', message: /the disk stands still/});
		t.is(keyCount(), 0);
		t.deepEqual(await anchor.access({}), {state: 'locked'});
		isRefused = false;
		await unlock();
		t.is(keyCount(), 2);
		const data = filled(3, 0);
		await device.read({extents: [0, 3], data});
		t.true(data.equals(filled(3, 7)));
		await assembly.stop();
		t.deepEqual(assembly.bugs, []);
	});

	test(`a crypto server that is restarted while the device is being unlocked gets all keys; locked ${when}`, async t => {
		const asked = latch();
		const answered = latch();
		let isHeld = false;
		const {unlock, keyCount, device, assembly} = await openLocked(
			anchorThat(async operation => {
				if (isHeld && operation === 'share_inner_key') {
					asked.open();
					await answered.opened;
				}
			}),
			sinceStart,
		);
		isHeld = true;
		const unlocked = unlock();
		await asked.opened;
		const restarted = assembly.restart('crypto');
		await pause(100);
		answered.open();
		await Promise.all([unlocked, restarted]);
		t.is(keyCount(), 2);
		const data = filled(3, 0);
		await device.read({extents: [0, 3], data});
		t.true(data.equals(filled(3, 7)));
		await assembly.stop();
		t.deepEqual(assembly.bugs, []);
	});
}

test('where anchor and crypto server are both lost, requests fail, the device locks, and unflushed writes wait', async t => {
	const opened = await openDevice(temporaryDirectory());
	const {device, control, assembly, keyCount} = opened;
	await setPassphrase(opened, 'eins');
	await device.write({extents: [0, 3], data: filled(3, 7)});
	assembly.kill('crypto');
	const written = t.throwsAsync(
		Promise.all([
			device.write({extents: [0, 3], data: filled(3, 8)}),
			device.write({extents: [8, 3], data: filled(3, 8)}),
		]),
		{code: 'device_failed', message: /key/},
	);
	const read = t.throwsAsync(device.read({extents: [0, 3], data: filled(3, 0)}), {
		code: 'device_failed',
		message: /key/,
	});
	const restarted = assembly.restart('anchor');
	await assembly.restart('crypto');
	await Promise.all([written, read, restarted]);
	t.true((await control.status({})).locked);
	t.is(keyCount(), 0);
	await opened.unlock('eins');
	await device.sync({});
	await endWithFirstBlocks(t, opened, 7);
});

test('a status whose counts a lock overtakes has the last ones', async t => {
	const stateDirectory = temporaryDirectory();
	const asked = latch();
	const answered = latch();
	let isHeld = false;
	const filter = filteredMedium(below => ({
		async read(request) {
			if (isHeld) {
				asked.open();
				await answered.opened;
			}

			return below.read(request);
		},
	}));
	const first = await openDevice(stateDirectory, {innerBlocks: 'encrypted', filter});
	await first.device.write({extents: [0, 3], data: filled(3, 7)});
	await first.assembly.stop();
	const opened = await openDevice(stateDirectory, {innerBlocks: 'encrypted', filter});
	const {control, keyCount} = opened;
	isHeld = true;
	const counted = control.status({});
	await asked.opened;
	await control.lock({});
	t.is(keyCount(), 0);
	answered.open();
	t.is((await counted).state, 'normal');
	await control.unlock({});
	t.is((await control.status({})).poolLeafCount, 1000);
	await endWithFirstBlocks(t, opened, 7);
});

test('a key that a rekeying has replaced does not come back with a crypto server that was being given its keys meanwhile', async t => {
	const asked = latch();
	const answered = latch();
	/** Of the keys that are asked for next. */
	let heldIndex = -1;
	const {control, assembly, keyCount} = await openDevice(temporaryDirectory(), {
		anchor: anchorThat(async () => {
			if (heldIndex-- === 0) {
				asked.open();
				await answered.opened;
			}
		}),
	});
	await control.rekey({});
	await control.pause({operation: 'rekey'});
	t.is((await control.operations({})).rekey.phase, 'paused');
	t.is(keyCount(), 2);
	// The current key arrives, the previous one is on its way. Of a device that is empty nothing has to be opened.
	heldIndex = 1;
	const restarted = assembly.restart('crypto');
	await asked.opened;
	await control.resume({operation: 'rekey'});
	await pause(500);
	answered.open();
	await restarted;
	while ((await control.operations({})).rekey.phase !== 'idle') {
		await pause(10);
	}

	t.is((await control.status({})).state, 'normal');
	t.is(keyCount(), 1);
	await assembly.restart('crypto');
	t.is(keyCount(), 1);
	await control.lock({});
	t.is(keyCount(), 0);
	await assembly.stop();
	t.deepEqual(assembly.bugs, []);
});
