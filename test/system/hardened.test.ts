/** The hardened assembly: where keys are while it runs and after it was locked, and what a killed process costs. */
import {hkdfSync} from 'node:crypto';
import {closeSync, existsSync, openSync, readFileSync, readdirSync, readSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {blockSize} from '../../components/lib/format/geometry.js';
import type {Superblock} from '../../components/lib/format/superblock.js';
import {decodeSuperblock, isUnusedSlot} from '../../components/lib/format/superblock-codec.js';
import {unwrapKey} from '../../components/lib/crypto/wrapped-key.js';
import {masterKeyOf, type MasterKey} from '../../components/lib/anchor/master-keys.js';
import {SlotStore} from '../../components/trust_anchor_file/slot-store.js';
import {requestControl, type RuntimeStatus} from '../../runtime/supervisor/control-client.js';
import {temporaryDirectory} from '../support/component-stand.js';
import {testWith} from '../support/external-tools.js';
import {keySecret, scanMemory, textSecret, type Secret} from '../support/memory-scan.js';
import {NbdPeer} from '../support/nbd-peer.js';
import {projectFolder, runRuntime, startRuntime, RuntimeProcess} from '../support/runtime-process.js';

const requirements = ['root', 'bwrap', '/dev/fuse'];
const hardened = join(projectFolder, 'config/assemblies/hardened.xml');
const onThreads = join(projectFolder, 'deploy.xml');
const passphrase = 'Fischers Fritz fischt frische Fische, 4711 am Tag';
const superblockSlotCount = 8;

class Subject {
	readonly state = join(temporaryDirectory(), 'state');
	runtime!: RuntimeProcess;
	peer!: NbdPeer;
	/** How often `load` has written and read. */
	rounds = 0;

	static async start(t: ExecutionContext, assembly: string, variables: Record<string, string>): Promise<Subject> {
		const subject = new Subject();
		subject.runtime = await startRuntime(assembly, subject.state, {variables});
		t.teardown(async () => subject.runtime.stop('SIGKILL'));
		subject.peer = await NbdPeer.connect(join(subject.state, 'nbd.sock'));
		await subject.peer.attach();
		t.teardown(() => subject.peer.socket.destroy());
		return subject;
	}

	async run(words: readonly string[], variables: Record<string, string> = {}): Promise<string> {
		const {code, output} = await runRuntime([...words, '--state', this.state], {variables});
		if (code !== 0) {
			throw new Error(output);
		}

		return output;
	}

	async pidOf(name: string): Promise<number> {
		const {children} = (await requestControl(this.state, {op: 'status'})) as RuntimeStatus;
		return children.find(child => child.name === name)!.pid!;
	}

	/** The runtime and everything that it has started. */
	processes(): number[] {
		return descendantsOf(this.runtime.pid);
	}

	/** Keys as they can be had with passphrase, anchor and image. */
	async keys(): Promise<{readonly anchor: Secret[]; readonly crypto: Secret[]}> {
		const store = new SlotStore(join(this.state, 'trust_anchor/key_slots'));
		const {
			secrets: {masterKeys, authority},
		} = await store.openWith((await store.read())!, Buffer.from(passphrase), 'the passphrase');
		const {currentKey} = newestSuperblock(join(this.state, 'cbe.img'));
		const blockKey = unwrapKey(usedMasterKey(masterKeys, currentKey.wrapped).key, currentKey.wrapped);
		const cipherKey = Buffer.from(hkdfSync('sha256', blockKey, '', 'cbe aes-256-xts block key', 64));
		return {
			anchor: [
				...masterKeys.flatMap(({key}, i) => keySecret(`master key ${i}`, key)),
				...keySecret('authority', authority),
			],
			crypto: [
				...keySecret('block key', blockKey),
				...keySecret('cipher key', cipherKey.subarray(0, 32)),
				...keySecret('tweak key', cipherKey.subarray(32)),
			],
		};
	}

	/** Writes, flushes, reads and compares until it is told to stop. */
	async load(goesOn: () => boolean): Promise<void> {
		while (goesOn()) {
			await this.writeAndRead(this.rounds);
			this.rounds++;
			await setTimeout(1);
		}
	}

	async writeAndRead(round: number): Promise<void> {
		const offset = (round % 100) * 16 * blockSize;
		const data = Buffer.alloc(16 * blockSize, 1 + (round % 250));
		if ((await this.peer.write(offset, data)) !== 0) {
			throw new Error(`write ${round} failed`);
		}

		this.peer.request({command: 3});
		const {error} = await this.peer.simpleReply();
		const read = await this.peer.read(offset, data.length);
		if (error !== 0 || !read.equals(data)) {
			throw new Error(`round ${round} failed`);
		}
	}
}

function usedMasterKey(keys: readonly MasterKey[], wrapped: Uint8Array): MasterKey {
	return masterKeyOf(keys, wrapped)!;
}

function newestSuperblock(image: string): Superblock {
	const file = openSync(image, 'r');
	const found: Superblock[] = [];
	for (let slot = 0; slot < superblockSlotCount; slot++) {
		const block = Buffer.alloc(blockSize);
		readSync(file, block, 0, blockSize, slot * blockSize);
		if (!isUnusedSlot(block)) {
			found.push(decodeSuperblock(block));
		}
	}

	closeSync(file);
	return found.sort((one, other) => other.lastSecuredGeneration - one.lastSecuredGeneration)[0];
}

function parentOf(pid: string): number {
	try {
		return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')[1]);
	} catch {
		// It has ended meanwhile.
		return -1;
	}
}

function descendantsOf(pid: number): number[] {
	const children = readdirSync('/proc')
		.filter(name => /^\d+$/.test(name) && parentOf(name) === pid)
		.map(Number);
	return [pid, ...children.flatMap(child => descendantsOf(child))];
}

async function foundIn(pid: number, secrets: readonly Secret[]): Promise<string[]> {
	const {found, scannedBytes} = await scanMemory(pid, secrets);
	if (scannedBytes < 2 ** 18) {
		throw new Error(`only ${scannedBytes} bytes of process ${pid} could be read`);
	}

	return [...new Set(found.map(({name}) => name))];
}

async function until(holds: () => boolean): Promise<void> {
	while (!holds()) {
		await setTimeout(20);
	}
}

testWith(
	requirements,
	"no key and no passphrase is in the runtime's process while I/O runs; after a locking there is none in any process",
	async t => {
		t.timeout(180_000);
		const subject = await Subject.start(t, hardened, {CBE_PASSPHRASE: passphrase});
		await subject.writeAndRead(0);
		const keys = await subject.keys();
		const all = [...textSecret('passphrase', passphrase), ...keys.anchor, ...keys.crypto];
		const [anchor, crypto] = [await subject.pidOf('trust_anchor'), await subject.pidOf('crypto')];
		t.true(subject.processes().includes(anchor) && subject.processes().includes(crypto));

		let isScanning = true;
		const load = subject.load(() => isScanning);
		for (const pid of subject.processes().filter(one => one !== anchor && one !== crypto)) {
			t.deepEqual(await foundIn(pid, all), [], `process ${pid} of ${readFileSync(`/proc/${pid}/comm`, 'utf8')}`);
		}

		t.deepEqual(await foundIn(crypto, [...textSecret('passphrase', passphrase), ...keys.anchor]), []);
		t.deepEqual(await foundIn(anchor, textSecret('passphrase', passphrase)), []);
		// The scan does find keys where they have to be.
		t.true((await foundIn(anchor, keys.anchor)).includes('master key 0'));
		const ofCrypto = await foundIn(crypto, keys.crypto);
		t.true(ofCrypto.includes('cipher key') && ofCrypto.includes('tweak key'));
		isScanning = false;
		await load;
		t.true(subject.rounds > 0);

		for (let round = 0; round < 2; round++) {
			await subject.run(['lock']);
			for (const pid of subject.processes()) {
				t.deepEqual(
					await foundIn(pid, all),
					[],
					`locked, process ${pid} of ${readFileSync(`/proc/${pid}/comm`, 'utf8')}`,
				);
			}

			await subject.run(['unlock'], {CBE_PASSPHRASE: passphrase});
			await subject.writeAndRead(round);
			t.deepEqual(await foundIn(subject.runtime.pid, all), []);
		}

		t.is(await subject.runtime.stop(), 0);
		t.false(subject.runtime.output.includes(passphrase));
	},
);

testWith(
	requirements,
	'the same scan finds them in a runtime whose components are threads, and nothing once the keys are forgotten',
	async t => {
		t.timeout(120_000);
		const subject = await Subject.start(t, onThreads, {CBE_PASSPHRASE: passphrase});
		await subject.writeAndRead(0);
		const {anchor, crypto} = await subject.keys();
		const found = await foundIn(subject.runtime.pid, [
			...textSecret('passphrase', passphrase),
			...anchor,
			...crypto,
		]);
		t.true(
			['passphrase', 'master key 0', 'cipher key', 'tweak key'].every(name => found.includes(name)),
			found.join(),
		);
		await subject.run(['lock']);
		t.deepEqual(await foundIn(subject.runtime.pid, [...anchor, ...crypto]), []);
		t.is(await subject.runtime.stop(), 0);
	},
);

testWith(
	requirements,
	'a killed crypto server, and an anchor with a key file, come back under I/O; nothing fails and nothing is lost',
	async t => {
		t.timeout(120_000);
		const subject = await Subject.start(t, hardened, {});
		let isLoading = true;
		const load = subject.load(() => isLoading);
		await until(() => subject.rounds > 1);
		for (const name of ['crypto', 'trust_anchor', 'crypto']) {
			const pid = await subject.pidOf(name);
			process.kill(pid, 'SIGKILL');
			await until(() => !existsSync(`/proc/${pid}`));
			let next = pid;
			while (next === pid || next === null) {
				await setTimeout(50);
				next = await subject.pidOf(name);
			}

			const {rounds} = subject;
			await until(() => subject.rounds > rounds + 1);
		}

		isLoading = false;
		await load;
		t.regex(
			subject.runtime.output,
			/child "crypto" died: was ended by (?:SIGKILL|signal 9), restarting \(1 of 5\)/,
		);
		t.regex(subject.runtime.output, /child "trust_anchor" died: was ended by/);
		t.is(await subject.runtime.stop(), 0);
		t.is((await runRuntime(['run', 'cbe_check', hardened, '--state', subject.state])).code, 0);
	},
);

testWith(
	requirements,
	'a killed anchor that has its passphrase from nowhere locks the device; requests fail, and unlocking goes on',
	async t => {
		t.timeout(120_000);
		const subject = await Subject.start(t, hardened, {CBE_PASSPHRASE: passphrase});
		await subject.writeAndRead(7);
		process.kill(await subject.pidOf('trust_anchor'), 'SIGKILL');
		await subject.runtime.printed(
			'the trust anchor was restarted and is locked, so the device is, too; "runtime unlock" goes on',
		);
		t.not(await subject.peer.write(0, Buffer.alloc(blockSize)), 0);
		const {crypto} = await subject.keys();
		t.deepEqual(await foundIn(await subject.pidOf('crypto'), crypto), []);
		await subject.run(['unlock'], {CBE_PASSPHRASE: passphrase});
		const read = await subject.peer.read(7 * 16 * blockSize, blockSize);
		t.true(read.equals(Buffer.alloc(blockSize, 8)));
		await subject.writeAndRead(8);
		t.is(await subject.runtime.stop(), 0);
	},
);

testWith(requirements, 'nothing is left behind: neither by a runtime that stops nor by one that is killed', async t => {
	t.timeout(60_000);
	for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
		const subject = await Subject.start(t, hardened, {});
		const processes = subject.processes();
		t.true(processes.length >= 5, processes.join());
		await subject.runtime.stop(signal);
		const left = () =>
			processes.filter(
				pid => existsSync(`/proc/${pid}`) && !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')),
			);
		await until(() => left().length === 0);
		t.deepEqual(left(), [], signal);
	}
});

testWith(requirements, 'an edit moves crypto into a process of its own under I/O, and another one back', async t => {
	t.timeout(120_000);
	const file = join(temporaryDirectory(), 'deploy.xml');
	const threads = readFileSync(onThreads, 'utf8');
	writeFileSync(file, threads);
	const subject = await Subject.start(t, file, {});
	let isLoading = true;
	const load = subject.load(() => isLoading);
	const generation = async () =>
		((await requestControl(subject.state, {op: 'status'})) as RuntimeStatus).deployment!.generation;
	for (const [edits, text] of [
		threads.replace('<start name="crypto">', '<start name="crypto" isolation="process">'),
		threads,
	].entries()) {
		writeFileSync(file, text);
		while ((await generation()) < edits + 2) {
			await setTimeout(50);
		}

		t.is((await subject.pidOf('crypto')) === null, text === threads);
	}

	isLoading = false;
	await load;
	t.true(subject.rounds > 0);
	t.false(/could not be applied|died/.test(subject.runtime.output), subject.runtime.output);
	t.is(await subject.runtime.stop(), 0);
});

testWith(
	[...requirements, 'script'],
	"a passphrase that is typed at the start, or for a tool, passes by the runtime's process",
	async t => {
		t.timeout(120_000);
		const folder = temporaryDirectory();
		const file = join(folder, 'deploy.xml');
		const state = join(folder, 'state');
		writeFileSync(
			file,
			readFileSync(hardened, 'utf8').replace(
				'<config path="trust_anchor"/>',
				'<config path="trust_anchor" unlock_ms="1" kdf_memory="1M"/>',
			),
		);
		const added = await runRuntime(['key', 'add', '--new-passphrase-fd', '3', '--deploy', file, '--state', state], {
			descriptor3: passphrase,
		});
		t.is(added.code, 0, added.output);
		const runtime = new RuntimeProcess(['start', file, '--state', state], {terminal: true});
		t.teardown(async () => runtime.stop('SIGKILL'));
		await runtime.answer('Passphrase of superblock_control: ', `${passphrase}\r`);
		await runtime.printed(/\] unlocked/);
		const {pid} = (await requestControl(state, {op: 'status'})) as RuntimeStatus;
		t.deepEqual(await foundIn(pid, textSecret('passphrase', passphrase)), []);
		await runtime.answer('', '\u0003');
		t.is(await runtime.ended, 0, runtime.output);

		const checking = new RuntimeProcess(['run', 'cbe_check', file, '--state', state], {terminal: true});
		await checking.answer('Passphrase: ', `${passphrase}\r`);
		t.is(await checking.ended, 0, checking.output);
		t.false(`${added.output}${runtime.output}${checking.output}`.includes(passphrase));
	},
);
