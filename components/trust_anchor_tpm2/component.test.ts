/** The anchor with a TPM in software: what opens it, what does not, and what a crash leaves. */
import {randomBytes} from 'node:crypto';
import {cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {trustAnchor} from '../sessions/trust-anchor.js';
import {loadComponent} from '../../test/support/component-folder.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {TestEnvironment} from '../../test/support/test-environment.js';
import {testWith} from '../../test/support/external-tools.js';
import {startProvider} from '../../test/support/providers.js';
import {SoftwareTpm} from '../../test/support/swtpm.js';
import {TpmProxy, type TpmTraffic} from '../../test/support/tpm-proxy.js';
import {openStorageKey} from './key-policy.js';
import {permanentEntity} from './auth-session.js';
import {TpmWriter} from './tpm-buffer.js';
import {ownerHierarchy, readPcr, withSession} from './tpm-commands.js';
import {TpmError} from './tpm-error.js';
import {Tpm} from './tpm.js';

const name = 'trust_anchor_tpm2';
const passphrase = 'correct horse battery staple';
const tpmEnvironment = {
	randomBytes: (count: number) => new Uint8Array(randomBytes(count)),
	sleep: async () => undefined,
};

function record(number: number, creating = false) {
	return {hash: new Uint8Array(32).fill(number), generation: number, creating};
}

interface World {
	readonly tpm: SoftwareTpm;
	readonly stateDirectory: string;
	readonly anchorDirectory: string;
	readonly recordPath: string;
	/** Every life of the component so far; those that a test leaves behind have crashed. */
	readonly lives: Array<{stop?(): Promise<void>}>;
}

async function makeWorld(t: ExecutionContext): Promise<World> {
	const tpm = await SoftwareTpm.start();
	t.teardown(async () => tpm.stop());
	const lives: World['lives'] = [];
	t.teardown(async () => {
		for (const life of lives) {
			await life.stop?.();
		}
	});
	const stateDirectory = temporaryDirectory();
	const anchorDirectory = join(stateDirectory, 'trust_anchor');
	return {tpm, stateDirectory, anchorDirectory, recordPath: join(anchorDirectory, 'newest_superblock'), lives};
}

interface StartOptions {
	readonly config?: Readonly<Record<string, string>>;
	readonly variables?: Readonly<Record<string, string>>;
}

/** One life of the component. Without `running.stop` it ends as if it had been killed. */
async function start(
	{tpm, stateDirectory, lives}: {tpm: {readonly socketPath: string}; stateDirectory: string; lives: World['lives']},
	{config, variables = {CBE_PASSPHRASE: passphrase}}: StartOptions = {},
) {
	const env = new TestEnvironment({stateDirectory, variables});
	const provider = await startProvider(name, trustAnchor, {env, config: {tpm: tpm.socketPath, ...config}});
	lives.push(provider.running);
	return {...provider, env, client: provider.connect()};
}

/** A world whose anchor is in use: initialized, with one record. */
async function makeUsedWorld(t: ExecutionContext) {
	const world = await makeWorld(t);
	const anchor = await start(world);
	await anchor.client.initialize({});
	await anchor.client.secure(record(1));
	return {world, anchor};
}

type Started = Awaited<ReturnType<typeof start>>;

function writesOf({running}: Started): unknown {
	return running.status?.().tpm_writes;
}

async function securedBy(started: Started): Promise<number | null | undefined> {
	return (await started.client.status({})).secured?.generation;
}

/** Lets the window's time pass and waits until the TPM has been written. */
async function endWindow(started: Started, milliseconds: number): Promise<void> {
	const before = writesOf(started);
	started.env.advance(milliseconds);
	while (writesOf(started) === before) {
		await new Promise(resolve => {
			setTimeout(resolve, 5);
		});
	}
}

async function raw<T>({tpm}: World, job: (tpm: Tpm) => Promise<T>): Promise<T> {
	return Tpm.use(tpm.socketPath, tpmEnvironment, job);
}

/** TPM2_PCR_Extend: what booting something else does. */
async function extendPcr(world: World, pcr: number): Promise<void> {
	await raw(world, async tpm => {
		await withSession(tpm, {kind: 'hmac'}, async session =>
			tpm.execute(
				{
					name: 'PCR_Extend',
					code: 0x182,
					handles: [permanentEntity(pcr)],
					parameters: new TpmWriter().u32(1).u16(0x000b).raw(Buffer.alloc(32, 7)).bytes(),
				},
				{session},
			),
		);
	});
}

/** TPM2_Clear by the lockout authority: what "clear TPM" in the firmware's settings does. */
async function clear(world: World): Promise<void> {
	await raw(world, async tpm => {
		await withSession(tpm, {kind: 'hmac'}, async session =>
			tpm.execute({name: 'Clear', code: 0x126, handles: [permanentEntity(0x4000_000a)]}, {session}),
		);
	});
}

testWith(['swtpm'], 'each record is in the file at once and in the TPM once for each window', async t => {
	const world = await makeWorld(t);
	const anchor = await start(world, {config: {window_seconds: '60'}});
	await anchor.client.initialize({});
	t.is(writesOf(anchor), 1);
	for (let number = 1; number <= 50; number++) {
		await anchor.client.secure(record(number));
	}

	t.is(writesOf(anchor), 1);
	t.is(anchor.running.status?.().records_not_in_tpm, 50);
	anchor.env.advance(59_999);
	t.is(anchor.running.status?.().records_not_in_tpm, 50);
	await endWindow(anchor, 1);
	t.is(writesOf(anchor), 2);
	t.is(anchor.running.status?.().records_not_in_tpm, 0);
	t.is(anchor.env.sleeperCount, 0, 'an idle anchor has no window');
	await anchor.client.secure(record(51));
	await anchor.running.stop?.();
	t.is(writesOf(anchor), 3, 'an orderly end writes the TPM');
	t.deepEqual(anchor.bugs, []);
});

testWith(['swtpm'], 'window_seconds="0" writes the TPM with each record, window_records after so many', async t => {
	const world = await makeWorld(t);
	const strict = await start(world, {config: {window_seconds: '0'}});
	await strict.client.initialize({});
	for (let number = 1; number <= 3; number++) {
		await strict.client.secure(record(number));
		t.is(writesOf(strict), 1 + number);
	}

	await strict.running.stop?.();
	t.is(writesOf(strict), 4, 'nothing is left to write at the end');
	const counting = await start(world, {config: {window_records: '3'}});
	for (let number = 4; number <= 10; number++) {
		await counting.client.secure(record(number));
	}

	t.is(writesOf(counting), 2);
	t.is(counting.running.status?.().records_not_in_tpm, 1);
});

testWith(['swtpm'], 'a crash at any point between file and TPM is no rollback', async t => {
	const world = await makeWorld(t);
	let anchor = await start(world);
	await anchor.client.initialize({});
	let number = 0;
	for (const securedBeforeCrash of [0, 1, 2, 5]) {
		for (const isCovered of [false, true]) {
			for (let i = 0; i < securedBeforeCrash; i++) {
				await anchor.client.secure(record(++number));
			}

			if (isCovered && securedBeforeCrash > 0 && anchor.running.status?.().records_not_in_tpm !== 0) {
				await endWindow(anchor, 600_000);
			}

			// Nobody stops the old one: this is a crash, of the TPM too.
			await world.tpm.restart('SIGKILL');
			anchor = await start(world);
			t.is(
				(await securedBy(anchor)) ?? 0,
				number,
				`${securedBeforeCrash} records, ${isCovered ? 'then the TPM' : 'no TPM'}`,
			);
		}
	}

	t.deepEqual(anchor.bugs, []);
});

testWith(['swtpm'], 'a crash after the TPM was written but before it answered is no rollback', async t => {
	const {world, anchor} = await makeUsedWorld(t);
	await anchor.client.secure(record(2));
	cpSync(world.anchorDirectory, join(world.stateDirectory, 'in_between'), {recursive: true});
	await anchor.running.stop?.();
	// The files as they were while the TPM was being written, the TPM as it was afterwards.
	rmSync(world.anchorDirectory, {recursive: true});
	cpSync(join(world.stateDirectory, 'in_between'), world.anchorDirectory, {recursive: true});
	t.is(await securedBy(await start(world)), 2);
});

testWith(['swtpm'], 'the first record after a crash is in the TPM at once: windows do not add up', async t => {
	const {world} = await makeUsedWorld(t);
	const second = await start(world);
	await second.client.secure(record(2));
	t.is(writesOf(second), 1);
	await second.client.secure(record(3));
	t.is(writesOf(second), 1);
	// Without any record the inherited window ends by time.
	const third = await start(world);
	await endWindow(third, 600_000);
	t.is(writesOf(third), 1);
});

testWith(['swtpm'], 'a torn record leaves the one before, and the log tells', async t => {
	const {world, anchor} = await makeUsedWorld(t);
	await anchor.client.secure(record(2));
	const before = readFileSync(world.recordPath);
	await anchor.client.secure(record(3));
	const after = readFileSync(world.recordPath);
	const changed = after.findIndex((byte, index) => byte !== before[index]);
	writeFileSync(world.recordPath, Buffer.concat([after.subarray(0, changed + 20), before.subarray(changed + 20)]));
	const again = await start(world);
	t.is(await securedBy(again), 2);
	t.true(again.env.logged.some(({text, level}) => level === 'warning' && text.includes(world.recordPath)));
	await again.client.secure(record(4));
	t.is(await securedBy(await start(world)), 4);
});

testWith(['swtpm'], 'older files are refused once the TPM has been written, and taken within the window', async t => {
	const {world, anchor} = await makeUsedWorld(t);
	const old = readFileSync(world.recordPath);
	await anchor.client.secure(record(2));
	const newest = readFileSync(world.recordPath);
	// What the window means: its own older states are not told from the newest.
	writeFileSync(world.recordPath, old);
	t.is(await securedBy(await start(world)), 1);
	writeFileSync(world.recordPath, newest);
	await anchor.running.stop?.();
	writeFileSync(world.recordPath, old);
	const refused = await start(world);
	for (const call of [refused.client.status({}), refused.client.secure(record(9)), refused.client.initialize({})]) {
		await t.throwsAsync(call, {
			code: 'damaged',
			message: /rolled back: the record of the newest superblock is older than the TPM's/,
		});
	}

	t.deepEqual(readFileSync(world.recordPath), old);
	writeFileSync(world.recordPath, newest);
	t.is(await securedBy(await start(world)), 2);
});

testWith(
	['swtpm'],
	'a state from before a crash is refused after the next start has gone on, even though it was the newest then',
	async t => {
		const {world, anchor} = await makeUsedWorld(t);
		const old = readFileSync(world.recordPath);
		await anchor.client.secure(record(2));
		const lost = readFileSync(world.recordPath);
		// Somebody puts the older state of this window back, and the anchor goes on from it.
		writeFileSync(world.recordPath, old);
		const forked = await start(world);
		await forked.client.secure(record(3));
		// The branch that was given up does not come back, although its record has the higher number of the two.
		writeFileSync(world.recordPath, lost);
		await t.throwsAsync((await start(world)).client.status({}), {code: 'damaged', message: /rolled back/});
	},
);

testWith(['swtpm'], 'a TPM whose state was put back is refused', async t => {
	const {world, anchor: first} = await makeUsedWorld(t);
	await first.running.stop?.();
	await world.tpm.saveState('old');
	for (let number = 2; number <= 5; number++) {
		const anchor = await start(world);
		await anchor.client.secure(record(number));
		await anchor.running.stop?.();
	}

	await world.tpm.saveState('new');
	await world.tpm.restoreState('old');
	const refused = await start(world);
	await t.throwsAsync(refused.client.status({}), {
		code: 'damaged',
		message: /rolled back: the TPM's record is older than the one in the file/,
	});
	await refused.running.stop?.();
	await world.tpm.restoreState('new');
	t.is(await securedBy(await start(world)), 5);
});

testWith(['swtpm'], 'a cleared TPM, and another TPM, do not open the anchor', async t => {
	const world = await makeWorld(t);
	const anchor = await start(world);
	await anchor.client.initialize({});
	await anchor.running.stop?.();
	await world.tpm.saveState('good');
	await clear(world);
	await t.throwsAsync((await start(world)).client.status({}), {
		code: 'locked',
		message: /sealed by another TPM, or this TPM has been cleared/,
	});
	await world.tpm.replace();
	await t.throwsAsync((await start(world)).client.status({}), {
		code: 'locked',
		message: /there is no recovery key, so nothing else opens it/,
	});
	await t.throwsAsync((await start(world)).client.initialize({}), {code: 'locked'});
	await world.tpm.restoreState('good');
	t.true((await (await start(world)).client.status({})).initialized);
});

testWith(['swtpm'], 'wrong passphrases open nothing, are never shown, and lock nobody out', async t => {
	const {world, anchor} = await makeUsedWorld(t);
	await anchor.running.stop?.();
	// The TPM itself would be locked after three (its default).
	for (let attempt = 0; attempt < 6; attempt++) {
		const {client, env} = await start(world, {variables: {CBE_PASSPHRASE: 'guess-of-mine'}});
		const error = await t.throwsAsync(client.status({}), {
			code: 'wrong_passphrase',
			message: /the environment variable CBE_PASSPHRASE does not open/,
		});
		t.false((error.message + JSON.stringify(env.logged)).includes('guess-of-mine'));
	}

	const none = await start(world, {variables: {}});
	await t.throwsAsync(none.client.status({}), {
		code: 'locked',
		message: /set the environment variable CBE_PASSPHRASE/,
	});
	t.is(await securedBy(await start(world)), 1);
	t.is(
		await securedBy(await start(world, {config: {passphrase_variable: 'OTHER'}, variables: {OTHER: passphrase}})),
		1,
	);
});

testWith(['swtpm'], 'a TPM that others have locked out still opens the anchor and takes its records', async t => {
	const world = await makeWorld(t);
	const anchor = await start(world, {config: {window_seconds: '0'}});
	await anchor.client.initialize({});
	// An NV index under dictionary-attack protection, and wrong passwords for it.
	await raw(world, async tpm => {
		const handle = 0x0150_0001;
		const publicArea = new TpmWriter().u32(handle).u16(0x000b).u32(0x4_0004).sized(Buffer.alloc(0)).u16(8).bytes();
		const saltKey = await openStorageKey(tpm, Buffer.alloc(0));
		await withSession(tpm, {kind: 'hmac', saltKey}, async session =>
			tpm.execute(
				{
					name: 'NV_DefineSpace',
					code: 0x12a,
					handles: [ownerHierarchy],
					secretParameter: Buffer.from('secret'),
					parameters: new TpmWriter().sized(publicArea).bytes(),
				},
				{session, encryptCommand: true},
			),
		);
		const {parameters} = await tpm.execute({
			name: 'NV_ReadPublic',
			code: 0x169,
			handles: [permanentEntity(handle)],
		});
		parameters.sized();
		const entity = {handle, name: Buffer.from(parameters.sized())};
		let last: unknown;
		for (let attempt = 0; attempt < 10; attempt++) {
			last = await withSession(tpm, {kind: 'hmac'}, async session =>
				t.throwsAsync(
					tpm.execute(
						{
							name: 'NV_Read',
							code: 0x14e,
							handles: [entity, entity],
							parameters: new TpmWriter().u16(8).u16(0).bytes(),
						},
						{session, authValue: Buffer.from('wrong')},
					),
					{instanceOf: TpmError},
				),
			);
			if (last instanceof TpmError && last.is('lockout')) {
				break;
			}
		}

		t.true(last instanceof TpmError && last.is('lockout'), 'the TPM is locked out');
	});
	await anchor.client.secure(record(1));
	await anchor.running.stop?.();
	t.is(await securedBy(await start(world)), 1);
});

testWith(['swtpm'], 'a PCR that changed is named, and keeps the key in the TPM until it is as before', async t => {
	const world = await makeWorld(t);
	const config = {passphrase: 'no', pcrs: '0,7,16'};
	const anchor = await start(world, {config, variables: {}});
	await anchor.client.initialize({});
	await anchor.client.secure(record(1));
	await anchor.running.stop?.();
	t.is(
		await securedBy(await start(world, {variables: {}})),
		1,
		'the sealed key, not the configuration, says what opens it',
	);
	await extendPcr(world, 7);
	const refused = await start(world, {config, variables: {}});
	await t.throwsAsync(refused.client.status({}), {code: 'locked', message: /PCR 7 changed since it was sealed/});
	await extendPcr(world, 16);
	await t.throwsAsync((await start(world, {config, variables: {}})).client.status({}), {
		message: /PCRs 7, 16 changed/,
	});
	// A start like the one before brings the old values back, and an unlock opens it in the same process.
	await world.tpm.restart();
	t.deepEqual(await raw(world, async tpm => readPcr(tpm, 7)), Buffer.alloc(32));
	await refused.client.unlock({});
	t.is(await securedBy(refused), 1);
});

testWith(['swtpm'], 'with PCRs and a passphrase both have to be right', async t => {
	const world = await makeWorld(t);
	const config = {pcrs: '7'};
	await (await start(world, {config})).client.initialize({});
	await t.throwsAsync((await start(world, {variables: {CBE_PASSPHRASE: 'x'}})).client.status({}), {
		code: 'wrong_passphrase',
	});
	t.true((await (await start(world)).client.status({})).initialized);
	await extendPcr(world, 7);
	await t.throwsAsync((await start(world)).client.status({}), {code: 'locked', message: /PCR 7 changed/});
});

async function withRecovery(world: World, config: Readonly<Record<string, string>> = {}): Promise<string> {
	const anchor = await start(world, {config: {recovery_file: 'paper', ...config}});
	await anchor.client.initialize({});
	await anchor.client.secure(record(1));
	await anchor.running.stop?.();
	const path = join(world.stateDirectory, 'paper');
	const text = readFileSync(path, 'latin1').trim();
	rmSync(path);
	return text;
}

testWith(
	['swtpm'],
	'the recovery key is written once, for its owner only, and stands in no log and no other file',
	async t => {
		const world = await makeWorld(t);
		const anchor = await start(world, {config: {recovery_file: 'paper'}});
		await anchor.client.initialize({});
		const path = join(world.stateDirectory, 'paper');
		const text = readFileSync(path, 'latin1').trim();
		t.regex(text, /^(?:[\dA-HJKMNP-TV-Z]{6}-){5}[\dA-HJKMNP-TV-Z]{6}$/);
		t.is(statSync(path).mode & 0o777, 0o600);
		t.true(anchor.env.logged.some(line => line.text.includes(path)));
		t.false(JSON.stringify(anchor.env.logged).includes(text.slice(0, 6)));
		for (const file of readdirSync(world.anchorDirectory)) {
			t.false(readFileSync(join(world.anchorDirectory, file), 'latin1').includes(text.slice(0, 6)));
		}

		const other = {...world, stateDirectory: join(world.stateDirectory, 'other')};
		mkdirSync(other.stateDirectory);
		const second = await start(other, {config: {recovery_file: path}});
		await t.throwsAsync(second.client.initialize({}), {
			code: 'storage_failed',
			message: /may hold the recovery key of another trust anchor/,
		});
		t.false(existsSync(join(other.stateDirectory, 'trust_anchor', 'sealed_key')));
	},
);

testWith(
	['swtpm'],
	'the recovery key opens after each loss, seals the key anew, and is not needed afterwards',
	async t => {
		const world = await makeWorld(t);
		const recovery = await withRecovery(world, {pcrs: '7'});
		let number = 1;
		async function recover(
			what: string,
			variables: Record<string, string> = {CBE_PASSPHRASE: passphrase},
		): Promise<void> {
			await t.throwsAsync((await start(world, {variables})).client.status({}), {name: 'SessionError'}, what);
			const anchor = await start(world, {
				config: {pcrs: '7'},
				variables: {...variables, CBE_RECOVERY_KEY: recovery.toLowerCase().replaceAll('-', ' ')},
			});
			t.is(await securedBy(anchor), number, what);
			t.true(
				anchor.env.logged.some(({text}) => text.includes('sealed anew')),
				what,
			);
			await anchor.client.secure(record(++number));
			await anchor.running.stop?.();
			t.is(await securedBy(await start(world, {variables})), number, `${what}: not needed afterwards`);
		}

		await extendPcr(world, 7);
		await recover('PCR changed');
		await recover('passphrase forgotten', {CBE_PASSPHRASE: 'another one'});
		await clear(world);
		await recover('TPM cleared', {CBE_PASSPHRASE: 'another one'});
		await world.tpm.replace();
		await recover('another TPM', {CBE_PASSPHRASE: 'another one'});
		await world.tpm.saveState('old');
		for (let i = 0; i < 3; i++) {
			const anchor = await start(world, {variables: {CBE_PASSPHRASE: 'another one'}});
			await anchor.client.secure(record(++number));
			await anchor.running.stop?.();
		}

		await world.tpm.restoreState('old');
		await recover('TPM rolled back', {CBE_PASSPHRASE: 'another one'});
	},
);

testWith(['swtpm'], 'where the TPM vouches for the files the recovery key changes nothing about that', async t => {
	const world = await makeWorld(t);
	const recovery = await withRecovery(world);
	const old = readFileSync(world.recordPath);
	const anchor = await start(world);
	await anchor.client.secure(record(2));
	await anchor.running.stop?.();
	const newest = readFileSync(world.recordPath);
	const forgotten = await start(world, {variables: {CBE_PASSPHRASE: 'new', CBE_RECOVERY_KEY: recovery}});
	t.is(await securedBy(forgotten), 2);
	t.is(writesOf(forgotten), 0);
	t.false(forgotten.env.logged.some(({text}) => text.includes('does not vouch')));
	writeFileSync(world.recordPath, old);
	const rolledBack = await start(world, {variables: {CBE_PASSPHRASE: 'new', CBE_RECOVERY_KEY: recovery}});
	t.is(await securedBy(rolledBack), 1);
	t.true(
		rolledBack.env.logged.some(({text, level}) => level === 'warning' && /does not vouch.*rolled back/.test(text)),
	);
	// What was given up for good does not come back.
	writeFileSync(world.recordPath, newest);
	t.is(await securedBy(await start(world, {variables: {CBE_PASSPHRASE: 'new'}})), 1);
});

testWith(['swtpm'], 'mistyped and foreign recovery keys open nothing and say so', async t => {
	const world = await makeWorld(t);
	const recovery = await withRecovery(world);
	const slip = recovery.replace(/^./, character => (character === 'Z' ? 'Y' : 'Z'));
	const foreignWorld = await makeWorld(t);
	const foreign = await withRecovery(foreignWorld);
	for (const [text, message] of [
		[slip, /checksum does not match/],
		[foreign, /of another trust anchor/],
		['x', /no recovery key/],
	] as const) {
		const {client, env} = await start(world, {variables: {CBE_RECOVERY_KEY: text}});
		const error = await t.throwsAsync(client.status({}), {code: 'wrong_passphrase', message});
		t.false((error.message + JSON.stringify(env.logged)).includes(text.slice(0, 12)) && text.length > 1);
	}
});

testWith(['swtpm'], 'locking wipes the keys and closes the window; unlocking goes on', async t => {
	const {world, anchor} = await makeUsedWorld(t);
	await anchor.client.lock({});
	t.is(writesOf(anchor), 2);
	await t.throwsAsync(anchor.client.secure(record(2)), {code: 'locked'});
	await anchor.client.unlock({});
	t.is(await securedBy(anchor), 1);
	await anchor.client.secure(record(2));
	await anchor.running.stop?.();
	t.is(writesOf(anchor), 3);
	t.is(await securedBy(await start(world)), 2);
	t.deepEqual(anchor.bugs, []);
});

for (const side of ['command', 'response'] as const) {
	testWith(
		['swtpm'],
		`an initialize that loses its TPM before any ${side} is begun anew, and leaves one index behind`,
		async t => {
			const world = await makeWorld(t);
			let isMade = false;
			for (let cutAt = 1; !isMade; cutAt++) {
				t.true(cutAt < 100);
				const proxy = await TpmProxy.start(world.tpm.socketPath, {
					[side]: ({number, bytes}: TpmTraffic) => (number === cutAt ? 'cut' : bytes),
				});
				const {client} = await start({...world, tpm: proxy});
				const cut = await client.initialize({}).then(
					() => undefined,
					(error: unknown) => error as {code?: string; message: string},
				);
				await proxy.stop();
				isMade = (await (await start(world)).client.status({})).initialized;
				if (cut) {
					t.is(cut.code, 'storage_failed', cut.message);
				} else {
					t.true(isMade);
				}
			}

			t.is(await nvIndexCount(world), 1);
			t.is(await securedBy(await start(world)), undefined);
		},
	);
}

/** How many NV indices of the owner the TPM has. */
async function nvIndexCount(world: World): Promise<number> {
	return raw(world, async tpm => {
		const {parameters} = await tpm.execute({
			name: 'GetCapability',
			code: 0x17a,
			parameters: new TpmWriter().u32(1).u32(0x0180_0000).u32(64).bytes(),
		});
		parameters.u8();
		parameters.u32();
		return Array.from({length: parameters.u32()}, () => parameters.u32()).filter(handle => handle < 0x01c0_0000)
			.length;
	});
}

testWith(['swtpm'], 'an index that was removed, or that somebody else made, is noticed', async t => {
	const {world, anchor} = await makeUsedWorld(t);
	await anchor.running.stop?.();
	const handle = await raw(world, async tpm => {
		const {parameters} = await tpm.execute({
			name: 'GetCapability',
			code: 0x17a,
			parameters: new TpmWriter().u32(1).u32(0x0180_0000).u32(1).bytes(),
		});
		parameters.u8();
		parameters.u32();
		parameters.u32();
		return parameters.u32();
	});
	// Whoever owns the TPM can remove the index, and make one of the same form, but not know its authorization value.
	const publicArea = await raw(world, async tpm => {
		const {parameters} = await tpm.execute({
			name: 'NV_ReadPublic',
			code: 0x169,
			handles: [permanentEntity(handle)],
		});
		const found = Buffer.from(parameters.sized());
		const entity = {handle, name: Buffer.from(parameters.sized())};
		await withSession(tpm, {kind: 'hmac'}, async session =>
			tpm.execute({name: 'NV_UndefineSpace', code: 0x122, handles: [ownerHierarchy, entity]}, {session}),
		);
		return found;
	});
	await t.throwsAsync((await start(world)).client.status({}), {code: 'damaged', message: /not in the TPM any more/});
	await raw(world, async tpm => {
		publicArea.writeUInt32BE(publicArea.readUInt32BE(6) & ~0x2000_0000, 6);
		await withSession(tpm, {kind: 'hmac'}, async session =>
			tpm.execute(
				{
					name: 'NV_DefineSpace',
					code: 0x12a,
					handles: [ownerHierarchy],
					secretParameter: Buffer.from('mine now'),
					parameters: new TpmWriter().sized(publicArea).bytes(),
				},
				{session},
			),
		);
	});
	await t.throwsAsync((await start(world)).client.status({}), {code: 'damaged', message: /belongs to somebody else/});
});

testWith(
	['swtpm'],
	'a TPM that is away: nothing more is secured than a window allows, and then it goes on',
	async t => {
		const {world, anchor} = await makeUsedWorld(t);
		await world.tpm.stop();
		await anchor.client.secure(record(2));
		anchor.env.advance(600_000);
		while (!anchor.env.logged.some(({level}) => level === 'error')) {
			await new Promise(resolve => {
				setTimeout(resolve, 5);
			});
		}

		await t.throwsAsync(anchor.client.secure(record(3)), {
			code: 'storage_failed',
			message: /cannot be written.*nothing more is secured/,
		});
		await world.tpm.resume();
		await anchor.client.secure(record(3));
		t.is(await securedBy(await start(world)), 3);
		const away = await start({...world, tpm: {socketPath: '/nonexistent/tpm'}});
		await t.throwsAsync(away.client.status({}), {
			code: 'storage_failed',
			message: /the TPM at \/nonexistent\/tpm cannot be used: there is none/,
		});
	},
);

testWith(['swtpm'], 'two programs on one anchor: the one that is behind writes nothing', async t => {
	const {world, anchor: one} = await makeUsedWorld(t);
	const other = await start(world);
	await other.client.secure(record(2));
	await other.running.stop?.();
	await one.running.stop?.();
	t.true(
		one.env.logged.some(
			({text, level}) => level === 'error' && text.includes('another program uses this trust anchor'),
		),
	);
	t.is(await securedBy(await start(world)), 2);
});

testWith(['swtpm'], 'an owner password is proven, and without it nothing is made', async t => {
	const world = await makeWorld(t);
	await raw(world, async tpm => {
		const saltKey = await openStorageKey(tpm, Buffer.alloc(0));
		// The answer is authorized with the new password already.
		await t.throwsAsync(
			withSession(tpm, {kind: 'hmac', saltKey}, async session =>
				tpm.execute(
					{
						name: 'HierarchyChangeAuth',
						code: 0x129,
						handles: [ownerHierarchy],
						secretParameter: Buffer.from('the owner'),
					},
					{session, encryptCommand: true},
				),
			),
			{instanceOf: TpmError, message: /not authentic/},
		);
	});
	await t.throwsAsync((await start(world)).client.initialize({}), {code: 'storage_failed', message: /CreatePrimary/});
	t.false(existsSync(join(world.anchorDirectory, 'sealed_key')));
	const variables = {CBE_PASSPHRASE: passphrase, OWNER: 'the owner'};
	const anchor = await start(world, {config: {owner_variable: 'OWNER'}, variables});
	await anchor.client.initialize({});
	t.true((await (await start(world, {config: {owner_variable: 'OWNER'}, variables})).client.status({})).initialized);
});

test('the configuration is checked', async t => {
	const {config} = await loadComponent(name);
	t.true(config.safeParse({}).success);
	t.true(config.safeParse({passphrase: 'no', pcrs: '7'}).success);
	for (const wrong of [
		{passphrase: 'no'},
		{pcrs: '24'},
		{pcrs: '-1'},
		{pcrs: 'x'},
		{window_seconds: '-1'},
		{window_seconds: '1e9'},
		{window_record: '1'},
	]) {
		t.false(config.safeParse(wrong).success, JSON.stringify(wrong));
	}
});
