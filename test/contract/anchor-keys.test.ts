/** The `anchor_keys` contract, on every component that provides it, and what an anchor with key slots promises. */
import {randomBytes} from 'node:crypto';
import {chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {anchorKeys} from '../../components/sessions/anchor-keys.js';
import {trustAnchor} from '../../components/sessions/trust-anchor.js';
import {createRecipient, openEnvelope, sealEnvelope} from '../../components/lib/crypto/key-envelope.js';
import type {Client, Handlers} from '../../runtime/sdk/session.js';
import {connectLocal} from '../../runtime/transport/local.js';
import {loadComponent, providerNames} from '../support/component-folder.js';
import {TestEnvironment} from '../support/test-environment.js';
import {startProvider} from '../support/providers.js';

const config = {unlock_ms: '1', kdf_memory: '1M'};
const record = {hash: new Uint8Array(32).fill(1), generation: 1, creating: false};

async function temporaryDirectory(t: ExecutionContext): Promise<string> {
	const directory = await mkdtemp(join(tmpdir(), 'anchor-keys-'));
	t.teardown(async () => rm(directory, {recursive: true, force: true}));
	return directory;
}

async function start(
	t: ExecutionContext,
	stateDirectory: string,
	variables: Record<string, string> = {},
	given: Record<string, string> = config,
) {
	const env = new TestEnvironment({stateDirectory, variables});
	const provider = await startProvider('trust_anchor_file', trustAnchor, {env, config: given});
	t.teardown(async () => provider.running.stop?.());
	const keys: Client<typeof anchorKeys> = connectLocal(
		anchorKeys,
		provider.running.provides['anchor_keys'] as unknown as Handlers<typeof anchorKeys>,
		{
			context: {session: 7, client: 'client'},
			onBug: error => void provider.bugs.push(error),
		},
	);
	const seal = async (passphrase: string) => {
		const {publicKey} = await keys.recipient({});
		return Buffer.from(sealEnvelope(Buffer.from(passphrase), publicKey, count => randomBytes(count))).toString(
			'hex',
		);
	};

	return {...provider, env, keys, seal, anchor: provider.connect()};
}

type Started = Awaited<ReturnType<typeof start>>;

/** A wrong passphrase is answered late: time passes until it is. */
async function wrong(t: ExecutionContext, {env}: Started, call: Promise<unknown>): Promise<number> {
	let isOver = false;
	const refused = t.throwsAsync(call, {code: 'wrong_passphrase'}).then(() => {
		isOver = true;
	});
	let waitedMs = 0;
	while (!isOver) {
		await new Promise(resolve => {
			setTimeout(resolve, 5);
		});
		if (env.sleeperCount > 0) {
			env.advance(250);
			waitedMs += 250;
		}
	}

	await refused;
	return waitedMs;
}

async function blockKey({anchor}: Started, wrapped: Uint8Array): Promise<string> {
	const recipient = createRecipient(count => randomBytes(count));
	const {envelope} = await anchor.share_key({wrapped, recipient: recipient.publicKey});
	return openEnvelope(envelope, recipient).toString('hex');
}

async function recoveryKey({keys}: Started, existing?: string): Promise<string> {
	const recipient = createRecipient(count => randomBytes(count));
	const {sealed} = await keys.add_recovery({existing, recipient: Buffer.from(recipient.publicKey).toString('hex')});
	return openEnvelope(Buffer.from(sealed, 'hex'), recipient).toString();
}

async function kinds({keys}: Started): Promise<string[]> {
	return (await keys.list({})).keys.map(({slot, kind}) => `${slot} ${kind}`);
}

test('trust_anchor_file provides it', async t => {
	const providers: string[] = [];
	for (const name of providerNames('trust_anchor_')) {
		if (Object.values((await loadComponent(name)).provides).some(({name: service}) => service === 'anchor_keys')) {
			providers.push(name);
		}
	}

	t.true(providers.includes('trust_anchor_file'));
});

test('a key file anchor of yesterday gets a passphrase on demand; the key file goes when it is told to, and not before', async t => {
	const directory = await temporaryDirectory(t);
	const first = await start(t, directory);
	await first.anchor.initialize({});
	const {wrapped} = await first.anchor.create_key({});
	await first.anchor.secure(record);
	const key = await blockKey(first, wrapped);
	const keyFile = join(directory, 'trust_anchor', 'master_key');
	const before = await readFile(keyFile);
	t.deepEqual(await kinds(first), ['0 key_file']);
	await t.throwsAsync(first.keys.remove({slot: 0}), {code: 'refused'});

	t.deepEqual(await first.keys.add({secret: await first.seal('eins'), name: 'läptop'}), {slot: 1});
	t.deepEqual(await readFile(keyFile), before);
	t.deepEqual(await kinds(first), ['0 key_file', '1 passphrase']);
	await t.throwsAsync(first.keys.remove({slot: 0}), {code: 'refused', message: /just used/});
	await wrong(t, first, first.keys.remove({slot: 0, existing: await first.seal('zwei')}));
	await first.keys.remove({slot: 0, existing: await first.seal('eins')});
	t.deepEqual((await readdir(join(directory, 'trust_anchor'))).sort(), ['key_slots', 'newest_superblock']);
	t.is(await blockKey(first, wrapped), key);
	await t.throwsAsync(first.keys.remove({slot: 1, existing: await first.seal('eins')}), {
		code: 'refused',
		message: /last one/,
	});

	const locked = await start(t, directory);
	t.deepEqual(await locked.anchor.access({}), {state: 'locked'});
	await t.throwsAsync(locked.anchor.status({}), {code: 'locked', message: /CBE_PASSPHRASE/});
	await t.throwsAsync(locked.anchor.secure(record), {code: 'locked'});
	await locked.anchor.unlock({sealed: await locked.seal('eins')});
	t.is(await blockKey(locked, wrapped), key);
	t.deepEqual((await locked.anchor.status({})).secured, record);
	t.is(await blockKey(await start(t, directory, {CBE_PASSPHRASE: 'eins'}), wrapped), key);
	t.is((await stat(join(directory, 'trust_anchor', 'key_slots'))).mode & 0o777, 0o600);
	t.deepEqual([...first.bugs, ...locked.bugs], []);
});

test('eight slots, each opens; changing one writes no master key anew, and the old passphrase opens no more', async t => {
	const directory = await temporaryDirectory(t);
	const first = await start(t, directory);
	t.deepEqual(await first.keys.add({secret: await first.seal('pass 0'), name: 'first'}), {slot: 0});
	const {wrapped} = await first.anchor.create_key({});
	const key = await blockKey(first, wrapped);
	const existing = async () => first.seal('pass 0');
	for (let slot = 1; slot < 7; slot++) {
		t.deepEqual(await first.keys.add({existing: await existing(), secret: await first.seal(`pass ${slot}`)}), {
			slot,
		});
	}

	const recovery = await recoveryKey(first, await existing());
	await t.throwsAsync(first.keys.add({existing: await existing(), secret: await first.seal('one more')}), {
		code: 'refused',
		message: /all 8 slots/,
	});
	t.is((await first.keys.list({})).keys[0].name, 'first');
	for (const passphrase of ['pass 0', 'pass 6', recovery, recovery.toLowerCase().replaceAll('-', ' ')]) {
		await first.anchor.lock({});
		await first.anchor.unlock({sealed: await first.seal(passphrase)});
		t.is(await blockKey(first, wrapped), key);
	}

	t.deepEqual(await first.keys.change({existing: await first.seal('pass 3'), secret: await first.seal('new 3')}), {
		slot: 3,
	});
	t.deepEqual(
		await first.keys.change({existing: await first.seal(recovery), slot: 4, secret: await first.seal('new 4')}),
		{slot: 4},
	);
	await first.anchor.lock({});
	await wrong(t, first, first.anchor.unlock({sealed: await first.seal('pass 3')}));
	await first.anchor.unlock({sealed: await first.seal('new 4')});
	t.is(await blockKey(first, wrapped), key);
	const everything = Buffer.concat(
		await Promise.all(
			(await readdir(join(directory, 'trust_anchor'))).map(async name =>
				readFile(join(directory, 'trust_anchor', name)),
			),
		),
	);
	t.false(everything.includes('new 4'));
	t.false(
		/pass|new \d/.test(JSON.stringify([first.env.logged, first.running.status?.()]).replaceAll('passphrase', '')),
	);
	t.deepEqual(first.bugs, []);
});

test('wrong passphrases are answered later each time, until a right one comes', async t => {
	const first = await start(t, await temporaryDirectory(t));
	await first.keys.add({secret: await first.seal('right')});
	await first.anchor.lock({});
	const waits: number[] = [];
	for (let i = 0; i < 4; i++) {
		waits.push(await wrong(t, first, first.anchor.unlock({sealed: await first.seal('nearly right')})));
	}

	t.deepEqual(waits, [1000, 2000, 4000, 8000]);
	await first.anchor.unlock({sealed: await first.seal('right')});
	await first.anchor.lock({});
	t.is(await wrong(t, first, first.anchor.unlock({sealed: await first.seal('nearly right')})), 1000);
});

test('envelopes for another instance, or from before a locking, are refused', async t => {
	const directory = await temporaryDirectory(t);
	const first = await start(t, directory);
	const early = await first.seal('right');
	await first.keys.add({secret: early});
	await first.anchor.lock({});
	await t.throwsAsync(first.anchor.unlock({sealed: early}), {code: 'bad_key'});
	t.deepEqual(await first.anchor.access({}), {state: 'locked'});
});

test('a rekeying renews the master key: an old copy of the slots with its passphrase does not give the new block key', async t => {
	const directory = await temporaryDirectory(t);
	const first = await start(t, directory, {CBE_PASSPHRASE: 'stolen'});
	await first.anchor.initialize({});
	const {wrapped: oldWrapped} = await first.anchor.create_key({});
	await first.anchor.secure(record);
	const path = join(directory, 'trust_anchor', 'key_slots');
	const stolenFile = await readFile(path);
	const oldKey = await blockKey(first, oldWrapped);

	await first.keys.change({existing: await first.seal('stolen'), secret: await first.seal('fresh')});
	// What a crash lets happen: a new key that never gets used, then another one.
	await first.anchor.create_key({current: oldWrapped});
	const {wrapped: newWrapped} = await first.anchor.create_key({current: oldWrapped});
	const newKey = await blockKey(first, newWrapped);
	t.is(await blockKey(first, oldWrapped), oldKey, 'both are there while a rekeying goes on');
	await first.anchor.secure({...record, generation: 2});

	const again = await start(t, directory, {CBE_PASSPHRASE: 'fresh'});
	t.is(await blockKey(again, newWrapped), newKey);
	t.is(await blockKey(again, oldWrapped), oldKey);
	await again.anchor.lock({});
	await wrong(t, again, again.anchor.unlock({sealed: await again.seal('stolen')}));

	await writeFile(path, stolenFile);
	const thief = await start(t, directory, {CBE_PASSPHRASE: 'stolen'});
	t.is(await blockKey(thief, oldWrapped), oldKey);
	t.not(await blockKey(thief, newWrapped), newKey);
	t.deepEqual([...first.bugs, ...again.bugs, ...thief.bugs], []);
});

test("a changed key file takes the old one's place, at whatever moment it is interrupted", async t => {
	const directory = await temporaryDirectory(t);
	const first = await start(t, directory);
	await first.anchor.initialize({});
	const {wrapped} = await first.anchor.create_key({});
	const key = await blockKey(first, wrapped);
	const path = join(directory, 'trust_anchor', 'master_key');
	const oldFile = await readFile(path);
	t.deepEqual(await first.keys.change({}), {slot: 0});
	const newFile = await readFile(path);
	t.notDeepEqual(newFile, oldFile);
	t.is(await blockKey(await start(t, directory), wrapped), key);

	// After the slots, before the file took its place.
	await writeFile(path, oldFile);
	await writeFile(`${path}.next`, newFile);
	t.is(await blockKey(await start(t, directory), wrapped), key);
	t.deepEqual(await readFile(path), newFile);
	// Before the slots.
	await writeFile(`${path}.next`, oldFile);
	t.is(await blockKey(await start(t, directory), wrapped), key);
	t.deepEqual(await readFile(path), newFile);
	t.deepEqual((await readdir(join(directory, 'trust_anchor'))).sort(), [
		'key_slots',
		'master_key',
		'newest_superblock',
	]);
	// The old file alone opens nothing.
	await writeFile(path, oldFile);
	t.deepEqual(await (await start(t, directory)).anchor.access({}), {state: 'locked'});
});

test('lost slots are noticed where the key file alone would give older keys', async t => {
	const directory = await temporaryDirectory(t);
	const first = await start(t, directory);
	await first.anchor.initialize({});
	await first.keys.add({secret: await first.seal('eins')});
	await first.anchor.secure(record);
	await first.running.stop?.();
	await rm(join(directory, 'trust_anchor', 'key_slots'));
	await t.throwsAsync((await start(t, directory)).anchor.status({}), {code: 'damaged', message: /key_slots/});
});

test('damage of a slot is told from a wrong passphrase, and the other slots still open', async t => {
	const directory = await temporaryDirectory(t);
	const first = await start(t, directory, {CBE_PASSPHRASE: 'eins'});
	await first.anchor.initialize({});
	await first.keys.add({existing: await first.seal('eins'), secret: await first.seal('zwei')});
	const path = join(directory, 'trust_anchor', 'key_slots');
	const content = await readFile(path);
	for (const copy of [0, 8192]) {
		content[copy + 512 + 130] ^= 1;
	}

	await writeFile(path, content);
	const hurt = await start(t, directory);
	t.deepEqual(await kinds(hurt), ['0 damaged', '1 passphrase']);
	const refusal = hurt.anchor.unlock({sealed: await hurt.seal('eins')});
	refusal.catch(() => undefined);
	await wrong(t, hurt, refusal);
	await t.throwsAsync(refusal, {message: /damaged/});
	await hurt.anchor.unlock({sealed: await hurt.seal('zwei')});
	await t.throwsAsync(hurt.keys.add({existing: await hurt.seal('zwei'), secret: await hurt.seal('drei')}), {
		code: 'damaged',
		message: /key remove 0/,
	});
	await hurt.keys.remove({existing: await hurt.seal('zwei'), slot: 0});
	t.deepEqual(await hurt.keys.add({existing: await hurt.seal('zwei'), secret: await hurt.seal('drei')}), {slot: 0});
	t.deepEqual(await (await start(t, directory, {CBE_PASSPHRASE: 'drei'})).anchor.access({}), {state: 'open'});
});

test('a passphrase file counts without its line end; one that is missing leaves the anchor locked', async t => {
	const directory = await temporaryDirectory(t);
	const path = join(directory, 'secret');
	await writeFile(path, 'open sesame\n', {mode: 0o600});
	const first = await start(t, directory, {CBE_PASSPHRASE_FILE: path});
	await first.anchor.initialize({});
	t.deepEqual(await (await start(t, directory, {CBE_PASSPHRASE: 'open sesame'})).anchor.access({}), {state: 'open'});
	t.deepEqual(await (await start(t, directory, {CBE_PASSPHRASE_FILE: path})).anchor.access({}), {state: 'open'});
	t.false(first.env.logged.some(({text}) => text.includes('other users')));
	await chmod(path, 0o640);
	const shared = await start(t, directory, {CBE_PASSPHRASE_FILE: path});
	t.deepEqual(
		shared.env.logged.filter(({text}) => text.includes('other users')),
		[
			{
				level: 'warning',
				text: `other users can read the passphrase file ${path} (mode 0640); take their rights away (chmod 600)`,
			},
		],
	);
	await rm(path);
	const locked = await start(t, directory, {CBE_PASSPHRASE_FILE: path});
	await t.throwsAsync(locked.anchor.status({}), {code: 'locked', message: /secret is not there/});
	await mkdir(path);
	const puzzled = await start(t, directory, {CBE_PASSPHRASE_FILE: path});
	await t.throwsAsync(puzzled.anchor.status({}), {
		code: 'locked',
		message: /the passphrase file .*secret cannot be read \(EISDIR/,
	});
});

test('a new slot costs what it should, or what was asked for, and what replaces a slot costs no less', async t => {
	const directory = await temporaryDirectory(t);
	const {keys, seal} = await start(t, directory, {}, {unlock_ms: '1'});
	const costs = async () =>
		(await keys.list({})).keys.map(({derivation, isWeak}) => `${derivation}${isWeak ? ', weak' : ''}`);
	await keys.add({secret: await seal('eins')});
	const existing = await seal('eins');
	await keys.add({existing, secret: await seal('zwei'), memory: 2 ** 20});
	await keys.add({existing, secret: await seal('drei'), memory: 256 * 2 ** 20});
	const [first, second, third] = await costs();
	t.is(first, 'scrypt N=2^17 r=8 p=1, 128 MiB');
	t.regex(second, /^scrypt N=2\^10 r=8 p=\d+, 1 MiB, weak$/);
	t.regex(third, /^scrypt N=2\^18 r=8 p=1, 256 MiB$/);

	await keys.change({existing, slot: 1, secret: await seal('zwei')});
	await keys.change({existing, slot: 2, secret: await seal('drei')});
	t.deepEqual(await costs(), ['scrypt N=2^17 r=8 p=1, 128 MiB', 'scrypt N=2^17 r=8 p=1, 128 MiB', third]);
	await t.throwsAsync(keys.add({existing, secret: await seal('vier'), memory: 3 * 2 ** 20}), {
		code: 'refused',
		message: /a power of two, from 1M to 512M/,
	});

	const configured = await start(t, await temporaryDirectory(t), {}, {unlock_ms: '1', kdf_memory: '2M'});
	await configured.keys.add({secret: await configured.seal('eins')});
	t.regex((await configured.keys.list({})).keys[0].derivation, /, 2 MiB$/);
});
