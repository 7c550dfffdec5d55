/**
 * The `trust_anchor` contract, on every component that provides it, and what each does about files that are not right.
 */
import {createDecipheriv, randomBytes} from 'node:crypto';
import {chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {DirectoryClaims} from '../../runtime/host/directory-claims.js';
import {createRecipient, openEnvelope} from '../../components/lib/crypto/key-envelope.js';
import {trustAnchor} from '../../components/sessions/trust-anchor.js';
import {providerNames} from '../support/component-folder.js';
import {TestEnvironment} from '../support/test-environment.js';
import {goldenNames, loadGolden} from '../support/golden.js';
import {arePlacedInProcesses, startProvider} from '../support/providers.js';
import {hasSoftwareTpm, SoftwareTpm} from '../support/swtpm.js';

const providers = providerNames('trust_anchor_');
const names = providers.filter(name => name !== 'trust_anchor_tpm2' || hasSoftwareTpm);
const passphrase = 'correct horse battery staple';
const withPassphrase = {CBE_PASSPHRASE: passphrase};

/** A provider as it is configured for a run of the suite. */
interface Variant {
	readonly name: string;
	readonly variables: Record<string, string>;
}

/** The file anchor in both of its forms. */
const variants: Array<[string, Variant]> = names.flatMap((name): Array<[string, Variant]> =>
	name === 'trust_anchor_file'
		? [
				[name, {name, variables: {}}],
				[`${name} with a passphrase`, {name, variables: withPassphrase}],
			]
		: [[name, {name, variables: withPassphrase}]],
);

/** Passphrases that are quick to try. */
const configs: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
	trust_anchor_file: {unlock_ms: '1', kdf_memory: '1M'},
};

function variablesOf(name: string): Record<string, string> {
	return name === 'trust_anchor_file' ? {} : withPassphrase;
}

/** By the state directory of the anchors that it holds. */
const softwareTpms = new Map<string, SoftwareTpm>();

test.after.always(async () => {
	await Promise.all([...softwareTpms.values()].map(async tpm => tpm.stop()));
});

/** What a provider needs beside its defaults. */
async function configOf(name: string, stateDirectory: string): Promise<Readonly<Record<string, unknown>> | undefined> {
	if (name !== 'trust_anchor_tpm2') {
		return configs[name];
	}

	const tpm = softwareTpms.get(stateDirectory) ?? (await SoftwareTpm.start());
	softwareTpms.set(stateDirectory, tpm);
	return {tpm: tpm.socketPath};
}

async function temporaryDirectory(t: ExecutionContext): Promise<string> {
	const directory = await mkdtemp(join(tmpdir(), 'trust-anchor-'));
	t.teardown(async () => rm(directory, {recursive: true, force: true}));
	return directory;
}

async function start(
	t: ExecutionContext,
	variant: string | Variant,
	stateDirectory: string,
	variables?: Record<string, string>,
) {
	const {name, variables: usual} =
		typeof variant === 'string' ? {name: variant, variables: variablesOf(variant)} : variant;
	const drawn: Uint8Array[] = [];
	const env = new TestEnvironment({
		stateDirectory,
		variables: variables ?? usual,
		randomBytes(count) {
			const bytes = new Uint8Array(randomBytes(count));
			drawn.push(bytes);
			return bytes;
		},
	});
	const provider = await startProvider(name, trustAnchor, {env, config: await configOf(name, stateDirectory)});
	t.teardown(async () => provider.running.stop?.());
	return {...provider, env, drawn, client: provider.connect()};
}

type Started = Awaited<ReturnType<typeof start>>;

function record(number: number, creating = false) {
	return {hash: new Uint8Array(32).fill(number), generation: number, creating};
}

/** What the anchor's format can hold of a record. */
function remembered(name: string, number: number, creating = false) {
	return {...record(number, creating), generation: name === 'trust_anchor_tresor' ? null : number};
}

async function shared({client}: Started, wrapped: Uint8Array): Promise<string> {
	const recipient = createRecipient(randomBytes);
	const {envelope} = await client.share_key({wrapped, recipient: recipient.publicKey});
	return openEnvelope(envelope, recipient).toString('hex');
}

async function innerKeyOf({client}: Started, containerId: Uint8Array): Promise<string> {
	const recipient = createRecipient(randomBytes);
	const {envelope} = await client.share_inner_key({containerId, recipient: recipient.publicKey});
	return openEnvelope(envelope, recipient).toString('hex');
}

/** Every file below a directory with its content. */
async function snapshotOf(directory: string): Promise<Record<string, string>> {
	const files: Record<string, string> = {};
	for (const entry of await readdir(directory, {recursive: true, withFileTypes: true})) {
		const path = join(entry.parentPath, entry.name);
		files[path] = entry.isFile() ? await readFile(path, 'hex') : 'directory';
	}

	return files;
}

test('there are providers', t => {
	t.true(names.includes('trust_anchor_file'));
	t.true(names.includes('trust_anchor_tresor'));
	t.true(providers.includes('trust_anchor_tpm2'));
});

if (!hasSoftwareTpm) {
	test.skip('trust_anchor_tpm2: the contract (needs swtpm)', () => undefined);
}

for (const [label, variant] of variants) {
	const {name} = variant;
	test(`${label}: nothing is made before initialize`, async t => {
		const directory = await temporaryDirectory(t);
		const anchor = await start(t, variant, directory);
		t.deepEqual(await anchor.client.status({}), {initialized: false, secured: null});
		await t.throwsAsync(anchor.client.create_key({}), {code: 'not_initialized'});
		await t.throwsAsync(anchor.client.secure(record(1)), {code: 'not_initialized'});
		await t.throwsAsync(anchor.client.share_key({wrapped: new Uint8Array(32), recipient: new Uint8Array(32)}), {
			code: 'not_initialized',
		});
		await anchor.running.stop?.();
		t.deepEqual(await readdir(directory), []);
		t.deepEqual(anchor.bugs, []);
	});

	test(`${label}: what initialize makes is there after a restart, and for nobody else`, async t => {
		const directory = await temporaryDirectory(t);
		const anchor = await start(t, variant, directory);
		await anchor.client.initialize({});
		t.deepEqual(await anchor.client.status({}), {initialized: true, secured: null});
		await t.throwsAsync(anchor.client.initialize({}), {code: 'already_initialized'});
		const {wrapped} = await anchor.client.create_key({});
		const blockKey = await shared(anchor, wrapped);

		const again = await start(t, variant, directory);
		t.deepEqual(await again.client.status({}), {initialized: true, secured: null});
		await t.throwsAsync(again.client.initialize({}), {code: 'already_initialized'});
		t.is(await shared(again, wrapped), blockKey);

		t.is((await stat(join(directory, 'trust_anchor'))).mode & 0o777, 0o700);
		for (const file of await readdir(join(directory, 'trust_anchor'))) {
			t.is((await stat(join(directory, 'trust_anchor', file))).mode & 0o777, 0o600, file);
		}
	});

	test(`${label}: the key of inner blocks is one for each container, stays the same, and lies nowhere in clear`, async t => {
		const directory = await temporaryDirectory(t);
		const anchor = await start(t, variant, directory);
		const id = new Uint8Array(16).fill(1);
		await t.throwsAsync(anchor.client.share_inner_key({containerId: id, recipient: new Uint8Array(32)}), {
			code: 'not_initialized',
		});
		await anchor.client.initialize({});
		const key = await innerKeyOf(anchor, id);
		t.is(key.length, 64);
		t.is(await innerKeyOf(anchor, id), key);
		t.not(await innerKeyOf(anchor, new Uint8Array(16).fill(2)), key);
		const {wrapped} = await anchor.client.create_key({});
		t.not(await shared(anchor, wrapped), key);
		await anchor.client.create_key({current: wrapped});
		t.is(await innerKeyOf(anchor, id), key);
		await t.throwsAsync(anchor.client.share_inner_key({containerId: id, recipient: new Uint8Array(32)}), {
			code: 'bad_key',
		});
		await anchor.client.lock({});
		await t.throwsAsync(anchor.client.share_inner_key({containerId: id, recipient: new Uint8Array(32)}), {
			code: 'locked',
		});
		await anchor.running.stop?.();

		const again = await start(t, variant, directory);
		t.is(await innerKeyOf(again, id), key);
		t.false(
			JSON.stringify([await snapshotOf(directory), again.env.logged, again.running.status?.()]).includes(key),
		);
		const other = await start(t, variant, await temporaryDirectory(t));
		await other.client.initialize({});
		t.not(await innerKeyOf(other, id), key);
	});

	test(`${label}: what authenticates superblocks depends on anchor and container alone`, async t => {
		const directory = await temporaryDirectory(t);
		const anchor = await start(t, variant, directory);
		const of = async ({client}: Started, id: number, content: number) => {
			const {authenticator} = await client.authenticate({
				containerId: new Uint8Array(16).fill(id),
				digest: new Uint8Array(32).fill(content),
			});
			return Buffer.from(authenticator).toString('hex');
		};

		await t.throwsAsync(of(anchor, 1, 1), {code: 'not_initialized'});
		await anchor.client.initialize({});
		const one = await of(anchor, 1, 1);
		t.is(new Set([one, await of(anchor, 1, 2), await of(anchor, 2, 1)]).size, 3);
		const {isAuthentic} = await anchor.client.verify({
			containerId: new Uint8Array(16).fill(1),
			digest: new Uint8Array(32).fill(1),
			authenticator: Buffer.from(one, 'hex'),
		});
		t.true(isAuthentic);
		t.false(
			(
				await anchor.client.verify({
					containerId: new Uint8Array(16).fill(2),
					digest: new Uint8Array(32).fill(1),
					authenticator: Buffer.from(one, 'hex'),
				})
			).isAuthentic,
		);
		const {wrapped} = await anchor.client.create_key({});
		await anchor.client.create_key({current: wrapped});
		t.is(await of(anchor, 1, 1), one);
		await anchor.client.lock({});
		await t.throwsAsync(of(anchor, 1, 1), {code: 'locked'});
		await anchor.running.stop?.();

		t.is(await of(await start(t, variant, directory), 1, 1), one);
		const other = await start(t, variant, await temporaryDirectory(t));
		await other.client.initialize({});
		t.not(await of(other, 1, 1), one);
	});

	test(`${label}: keys are new each time, and lie nowhere in clear`, async t => {
		const directory = await temporaryDirectory(t);
		const anchor = await start(t, variant, directory);
		await anchor.client.initialize({});
		const one = await anchor.client.create_key({});
		const other = await anchor.client.create_key({});
		const keys = [await shared(anchor, one.wrapped), await shared(anchor, other.wrapped)];
		t.not(keys[0], keys[1]);
		await anchor.client.secure(record(1));
		const everything = JSON.stringify([await snapshotOf(directory), anchor.env.logged, anchor.running.status?.()]);
		for (const key of [...keys, Buffer.from(passphrase).toString('hex')]) {
			t.false(everything.includes(key));
		}

		// What another process draws is not seen here; the system tests look into its memory.
		if (!arePlacedInProcesses()) {
			t.true(anchor.drawn.length > 0);
			for (const bytes of anchor.drawn) {
				t.true(
					bytes.every(byte => byte === 0),
					'what was drawn for a key is wiped',
				);
			}
		}
	});

	test(`${label}: a recipient that is no key is refused`, async t => {
		const anchor = await start(t, variant, await temporaryDirectory(t));
		await anchor.client.initialize({});
		const {wrapped} = await anchor.client.create_key({});
		await t.throwsAsync(anchor.client.share_key({wrapped, recipient: new Uint8Array(32)}), {code: 'bad_key'});
		await t.throwsAsync(anchor.client.share_key({wrapped: wrapped.subarray(1), recipient: new Uint8Array(32)}), {
			code: 'bad_request',
		});
		t.deepEqual(anchor.bugs, []);
	});

	test(`${label}: the newest record survives a restart without an orderly end`, async t => {
		const directory = await temporaryDirectory(t);
		let anchor = await start(t, variant, directory);
		await anchor.client.initialize({});
		await anchor.client.secure(record(1, true));
		for (const number of [1, 2, 3, 4, 5]) {
			anchor = await start(t, variant, directory);
			t.deepEqual(await anchor.client.status({}), {
				initialized: true,
				secured: remembered(name, Math.max(1, number - 1), number === 1),
			});
			await anchor.client.secure(record(number));
			t.deepEqual(
				(await (await start(t, variant, directory)).client.status({})).secured,
				remembered(name, number),
			);
		}

		// Several at once, as group commits may send them.
		await Promise.all([6, 7, 8].map(async number => anchor.client.secure(record(number))));
		t.deepEqual((await (await start(t, variant, directory)).client.status({})).secured, remembered(name, 8));
	});

	test(`${label}: what was announced stays until something is secured, and survives a restart`, async t => {
		const directory = await temporaryDirectory(t);
		let anchor = await start(t, variant, directory);
		await anchor.client.initialize({});
		t.deepEqual(await anchor.client.marks({}), {intended: null, announces: true, authenticated: false});
		await anchor.client.secure(record(1));
		for (const number of [2, 3, 4, 5]) {
			const {hash} = record(number);
			await anchor.client.intend({hash});
			t.deepEqual((await anchor.client.status({})).secured?.hash, record(number - 1).hash);
			anchor = await start(t, variant, directory);
			t.deepEqual(await anchor.client.marks({}), {intended: hash, announces: true, authenticated: number > 3});
			t.deepEqual((await anchor.client.status({})).secured, remembered(name, number - 1));
			if (number === 3) {
				await anchor.client.authenticate({containerId: new Uint8Array(16), digest: new Uint8Array(32)});
			}

			await anchor.client.secure(record(number));
			t.is((await anchor.client.marks({})).intended, null);
			anchor = await start(t, variant, directory);
			t.deepEqual(await anchor.client.marks({}), {intended: null, announces: true, authenticated: number >= 3});
			t.deepEqual((await anchor.client.status({})).secured, remembered(name, number));
		}
	});

	test(`${label}: the key of a flush follows from what it follows, comes with each record, and is this anchor's`, async t => {
		const directory = await temporaryDirectory(t);
		const anchor = await start(t, variant, directory);
		await anchor.client.initialize({});
		const {hash} = record(7);
		const {flushKey} = await anchor.client.secure(record(7));
		t.deepEqual((await anchor.client.flush_key({hash})).key, flushKey);
		t.notDeepEqual((await anchor.client.flush_key({hash: record(8).hash})).key, flushKey);
		await anchor.client.lock({});
		await t.throwsAsync(anchor.client.flush_key({hash}), {code: 'locked'});
		await anchor.running.stop?.();
		t.deepEqual((await (await start(t, variant, directory)).client.flush_key({hash})).key, flushKey);
		const other = await start(t, variant, await temporaryDirectory(t));
		await other.client.initialize({});
		t.notDeepEqual((await other.client.flush_key({hash})).key, flushKey);
	});

	test(`${label}: after its end the anchor answers no more`, async t => {
		const anchor = await start(t, variant, await temporaryDirectory(t));
		await anchor.client.initialize({});
		await anchor.running.stop?.();
		await t.throwsAsync(anchor.client.create_key({}), {code: 'storage_failed'});
	});

	test(`${label}: a directory that cannot be made is an error that names it`, async t => {
		const directory = await temporaryDirectory(t);
		const anchor = await start(t, variant, directory);
		// Appears after the start, so that only the making fails.
		await writeFile(join(directory, 'trust_anchor'), '');
		await t.throwsAsync(anchor.client.initialize({}), {code: 'storage_failed', message: /trust_anchor/});
		t.deepEqual(await anchor.client.status({}), {initialized: false, secured: null});
	});

	test(`${label}: missing, truncated, altered, foreign and unreadable files are damage, and stay as they are`, async t => {
		const directory = await temporaryDirectory(t);
		const anchor = await start(t, variant, directory);
		await anchor.client.initialize({});
		await anchor.client.secure(record(1));
		await anchor.client.secure(record(2));
		await anchor.running.stop?.();
		const original = await snapshotOf(directory);
		// What the file of announcements says counts only where it fits the hash.
		const files = Object.keys(original).filter(
			path => original[path] !== 'directory' && !path.endsWith('.announced'),
		);
		t.is(files.length, 2);
		const foreignDirectory = await temporaryDirectory(t);
		const foreign = await start(t, variant, foreignDirectory);
		await foreign.client.initialize({});
		await foreign.client.secure(record(9));

		async function expectDamage(path: string, what: string): Promise<void> {
			const before = await snapshotOf(directory);
			const {client, running, bugs} = await start(t, variant, directory);
			for (const call of [
				client.status({}),
				client.initialize({}),
				client.create_key({}),
				client.secure(record(3)),
			]) {
				const error = await t.throwsAsync(call, {name: 'SessionError'}, what);
				const {code} = error as unknown as {code: string};
				t.true(code === 'damaged' || code === 'wrong_passphrase', `${what}: ${code}`);
				t.true(error.message.includes(join(directory, 'trust_anchor')), error.message);
			}

			await running.stop?.();
			t.deepEqual(await snapshotOf(directory), before, what);
			t.deepEqual(bugs, []);
			await rm(path, {recursive: true, force: true});
			await writeFile(path, Buffer.from(original[path], 'hex'), {mode: 0o600});
		}

		for (const path of files) {
			const content = Buffer.from(original[path], 'hex');
			await rm(path);
			await expectDamage(path, `${path} missing`);
			await rm(path);
			await mkdir(path);
			await expectDamage(path, `${path} a directory`);
			for (const length of [0, 1, 31]) {
				await writeFile(path, content.subarray(0, length));
				await expectDamage(path, `${path} cut off after ${length}`);
			}

			await writeFile(path, Buffer.concat([content, content]));
			if (!path.endsWith('newest_superblock')) {
				await expectDamage(path, `${path} too long`);
			}

			await writeFile(path, content);
			// A hash of the original has nothing to tell a foreign one by; the superblock does not match it then.
			if (!path.endsWith('superblock_hash')) {
				await writeFile(
					path,
					content.map(byte => byte ^ 0x55),
				);
				await expectDamage(path, `${path} altered`);
			}
		}

		t.deepEqual((await (await start(t, variant, directory)).client.status({})).secured, remembered(name, 2));
		if (name === 'trust_anchor_file') {
			const path = join(directory, 'trust_anchor', 'newest_superblock');
			await writeFile(path, await readFile(join(foreignDirectory, 'trust_anchor', 'newest_superblock')));
			await expectDamage(path, 'the record of another anchor');
		}
	});
}

for (const [label, {name, variables}] of variants) {
	test(`${label}: its directory is used by one anchor at a time`, async t => {
		const stateDirectory = await temporaryDirectory(t);
		const config = await configOf(name, stateDirectory);
		const begin = async () => {
			const env = new TestEnvironment({
				stateDirectory,
				variables,
				claims: new DirectoryClaims({log: () => undefined, patienceMs: 200}),
			});
			const provider = await startProvider(name, trustAnchor, {env, config});
			t.teardown(async () => provider.running.stop?.());
			return {...provider, client: provider.connect()};
		};

		// As long as there is none, both may look; who makes it has it.
		const first = await begin();
		const other = await begin();
		await first.client.initialize({});
		await first.client.secure(record(1));
		const before = await snapshotOf(stateDirectory);
		const inUse = new RegExp(
			`the trust anchor's directory ${join(stateDirectory, 'trust_anchor')} is in use by another runtime or component; .*: stop the other one`,
		);
		await t.throwsAsync(other.client.initialize({}), {code: 'storage_failed', message: inUse});
		await t.throwsAsync(begin(), {message: inUse});
		t.deepEqual(await snapshotOf(stateDirectory), before);

		// It knew of none, but there is one that it cannot know.
		await first.running.stop?.();
		await t.throwsAsync(other.client.initialize({}), {
			code: 'storage_failed',
			message: /another runtime has made its trust anchor there meanwhile/,
		});
		t.deepEqual(await snapshotOf(stateDirectory), before);
		await other.running.stop?.();

		const next = await begin();
		t.deepEqual((await next.client.status({})).secured, remembered(name, 1));
		await next.client.lock({});
		await t.throwsAsync(begin(), {message: inUse}, 'locked, it is still in use');
		t.deepEqual([...first.bugs, ...other.bugs, ...next.bugs], []);
	});
}

test('trust_anchor_file: an interrupted initialize is begun anew', async t => {
	const directory = await temporaryDirectory(t);
	await (await start(t, 'trust_anchor_file', directory)).client.initialize({});
	await rm(join(directory, 'trust_anchor', 'master_key'));
	const anchor = await start(t, 'trust_anchor_file', directory);
	t.deepEqual(await anchor.client.status({}), {initialized: false, secured: null});
	await anchor.client.initialize({});
	await anchor.client.secure(record(1));
	t.deepEqual((await (await start(t, 'trust_anchor_file', directory)).client.status({})).secured, record(1));
});

test('trust_anchor_file: a record torn while it was written leaves the one before, and the log tells', async t => {
	const directory = await temporaryDirectory(t);
	const anchor = await start(t, 'trust_anchor_file', directory);
	await anchor.client.initialize({});
	await anchor.client.secure(record(1));
	const path = join(directory, 'trust_anchor', 'newest_superblock');
	const before = await readFile(path);
	await anchor.client.secure(record(2));
	const after = await readFile(path);
	const first = after.findIndex((byte, index) => byte !== before[index]);
	await writeFile(path, Buffer.concat([after.subarray(0, first + 20), before.subarray(first + 20)]));
	const again = await start(t, 'trust_anchor_file', directory);
	t.deepEqual((await again.client.status({})).secured, record(1));
	t.true(again.env.logged.some(({text, level}) => level === 'warning' && text.includes(path)));
	await again.client.secure(record(3));
	t.deepEqual((await (await start(t, 'trust_anchor_file', directory)).client.status({})).secured, record(3));
});

test('trust_anchor_file: once a record could not be written, the anchor starts over and reads what is there', async t => {
	const directory = await temporaryDirectory(t);
	const anchor = await start(t, 'trust_anchor_file', directory);
	await anchor.client.initialize({});
	const path = join(directory, 'trust_anchor', 'newest_superblock');
	await rename(path, `${path}.kept`);
	await symlink('/dev/full', path);
	await t.throwsAsync(anchor.client.secure(record(1)));
	t.regex(String(anchor.bugs), /newest_superblock cannot be written.*ENOSPC/);
	await rename(`${path}.kept`, path);
	await t.throwsAsync(anchor.client.secure(record(2)), {code: 'storage_failed'});
	// Nor is an older one told, which the medium may no longer hold.
	await t.throwsAsync(anchor.client.status({}), {code: 'storage_failed'});
	t.deepEqual(await (await start(t, 'trust_anchor_file', directory)).client.status({}), {
		initialized: true,
		secured: null,
	});
});

test('trust_anchor_tresor: a hash that cannot be written is an error that names it', async t => {
	const directory = await temporaryDirectory(t);
	const anchor = await start(t, 'trust_anchor_tresor', directory);
	await anchor.client.initialize({});
	await rm(join(directory, 'trust_anchor'), {recursive: true});
	await t.throwsAsync(anchor.client.secure(record(1)));
	t.is(anchor.bugs.length, 1);
	t.regex(String(anchor.bugs), /superblock_hash.* cannot be written/);
});

test('trust_anchor_file: a key file that others can read is closed to them, and the log tells', async t => {
	const directory = await temporaryDirectory(t);
	await (await start(t, 'trust_anchor_file', directory)).client.initialize({});
	const path = join(directory, 'trust_anchor', 'master_key');
	await chmod(path, 0o644);
	const anchor = await start(t, 'trust_anchor_file', directory);
	t.is((await stat(path)).mode & 0o777, 0o600);
	t.true(anchor.env.logged.some(({text, level}) => level === 'warning' && text.includes('0644')));
	t.true((await anchor.client.status({})).initialized);
});

test("trust_anchor_tresor: opens the original's anchors, and their wrapped keys", async t => {
	for (const golden of goldenNames) {
		const {trust_anchor: files, superblock, generated_block_keys: blockKeys} = loadGolden(golden).description;
		const directory = await temporaryDirectory(t);
		await mkdir(join(directory, 'trust_anchor'));
		await writeFile(
			join(directory, 'trust_anchor', 'encrypted_private_key'),
			Buffer.from(files.encrypted_private_key_file, 'hex'),
		);
		await writeFile(
			join(directory, 'trust_anchor', 'superblock_hash'),
			Buffer.from(files.superblock_hash_file, 'hex'),
		);
		const anchor = await start(t, 'trust_anchor_tresor', directory, {CBE_PASSPHRASE: files.passphrase});
		t.deepEqual(await anchor.client.status({}), {
			initialized: true,
			secured: {
				hash: Uint8Array.from(Buffer.from(files.superblock_hash_file, 'hex')),
				generation: null,
				creating: false,
			},
		});
		const {id, on_disc: wrapped} = superblock.current_key;
		t.is(
			await shared(anchor, Buffer.from(wrapped, 'hex')),
			blockKeys.find(key => key.id === id)?.plain ?? 'no such key',
			golden,
		);

		const created = await anchor.client.create_key({});
		const plain = createDecipheriv('aes-256-cbc', Buffer.from(files.master_key, 'hex'), Buffer.alloc(16))
			.setAutoPadding(false)
			.update(created.wrapped);
		t.is(await shared(anchor, created.wrapped), plain.toString('hex'));

		await anchor.client.secure(record(7));
		t.deepEqual(await readFile(join(directory, 'trust_anchor', 'superblock_hash')), Buffer.alloc(32, 7));
		t.deepEqual((await readdir(join(directory, 'trust_anchor'))).sort(), [
			'encrypted_private_key',
			'superblock_hash',
			'superblock_hash.announced',
		]);
	}
});

test('trust_anchor_tresor: a wrong passphrase, or none, opens nothing and is never shown', async t => {
	const directory = await temporaryDirectory(t);
	await (await start(t, 'trust_anchor_tresor', directory)).client.initialize({});
	const before = await snapshotOf(directory);
	const attempts: Array<[Record<string, string>, string, RegExp]> = [
		[{CBE_PASSPHRASE: 'guess-of-mine'}, 'wrong_passphrase', /CBE_PASSPHRASE does not open/],
		[{CBE_PASSPHRASE: ''}, 'wrong_passphrase', /CBE_PASSPHRASE is set, but empty/],
		[{}, 'locked', /"runtime unlock" asks for it, or set the environment variable CBE_PASSPHRASE/],
	];
	for (const [variables, code, message] of attempts) {
		const {client, env} = await start(t, 'trust_anchor_tresor', directory, variables);
		for (const call of [
			client.status({}),
			client.create_key({}),
			client.initialize({}),
			client.secure(record(1)),
		]) {
			const error = await t.throwsAsync(call, {message});
			t.is((error as unknown as {code: string}).code, code);
			t.false(error.message.includes('guess-of-mine'));
		}

		t.false(JSON.stringify(env.logged).includes('guess-of-mine'));
	}

	t.deepEqual(await snapshotOf(directory), before);
	await t.throwsAsync(
		(await start(t, 'trust_anchor_tresor', await temporaryDirectory(t), {})).client.initialize({}),
		{code: 'wrong_passphrase'},
	);
});

test('each config attribute has its effect, and others are errors', async t => {
	const stateDirectory = await temporaryDirectory(t);
	const env = new TestEnvironment({stateDirectory, variables: {SECRET: 'open sesame'}});
	for (const [name, config] of [
		['trust_anchor_file', {path: 'a'}],
		['trust_anchor_tresor', {path: 'b', passphrase_variable: 'SECRET'}],
	] as const) {
		await (await startProvider(name, trustAnchor, {env, config})).connect().initialize({});
		await t.throwsAsync(startProvider(name, trustAnchor, {env, config: {...config, paht: 'c'}}));
	}

	t.deepEqual(await readdir(stateDirectory), ['a', 'b']);
});
