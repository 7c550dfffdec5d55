/**
 * Losses of power under the real program, from its very first start on. All that it does to its files and directories
 * is recorded, with its syncs; then folders are rebuilt that a loss of power may leave at some point of it, with files,
 * names and whole directories missing, and the program is started on each: it opens, and each block holds what was
 * flushed last, or something written since. On its way the program is killed right before a sync, once while image and
 * anchor are being made and once before the anchor's record is durable, and goes on with what it finds: what a start
 * believes has to be durable, its own name and those above it, too.
 */
import fs from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {isDeepStrictEqual} from 'node:util';
import test from 'ava';
import {temporaryDirectory} from '../support/component-stand.js';
import {deviceDeployment} from '../support/device-deployment.js';
import {testWith} from '../support/external-tools.js';
import {NbdPeer} from '../support/nbd-peer.js';
import {buildRecorder, readRecord, rebuild, type Fate, type RecordedEvent} from '../support/recorded-writes.js';
import {runRuntime, RuntimeProcess, startRuntime} from '../support/runtime-process.js';
import {SeededRandom} from '../support/seeded-random.js';
import {SoftwareTpm, type TpmState} from '../support/swtpm.js';
import {TpmProxy} from '../support/tpm-proxy.js';

const blockSize = 4096;
const blockCount = 48;
/** For each kind of trust anchor. */
const trialCount = Number(process.env.CBE_POWER_LOSSES ?? 4);
/**
 * Of the first start's syncs, the last before which it may be killed; the making of image and anchor has some dozen.
 */
const firstSyncMax = 30;
/** Until a program that is about to be killed has ended. */
const killMsMax = 20_000;
const seed = Number(process.env.CBE_POWER_LOSSES_SEED ?? Date.now() % 1_000_000);

/** A kind of trust anchor under test. */
interface AnchorKind {
	readonly binary: string;
	readonly requirements: readonly string[];
	/** Attributes of its `<config>` beside the path. */
	readonly config: string;
	/** Attributes of `<create>` beside the dimensions. */
	readonly create: string;
	/** The file that names the newest superblock. */
	readonly recordName: string;
	/** What is synced when the record has changed: the file, or the directory in which another one took its place. */
	readonly syncName: string;
	readonly variables: Readonly<Record<string, string>>;
}

const anchorKinds: readonly AnchorKind[] = [
	{
		binary: 'trust_anchor_file',
		requirements: [],
		config: '',
		create: 'cipher="aes-256-xts" flush_log_blocks="4"',
		recordName: 'newest_superblock',
		syncName: 'newest_superblock',
		variables: {},
	},
	{
		binary: 'trust_anchor_tresor',
		requirements: [],
		config: '',
		create: 'cipher="aes-256-cbc-essiv"',
		recordName: 'superblock_hash',
		syncName: 'trust_anchor',
		variables: {CBE_PASSPHRASE: 'correct horse battery staple'},
	},
	{
		binary: 'trust_anchor_tpm2',
		requirements: ['swtpm'],
		config: 'tpm="TPM"',
		create: 'cipher="aes-256-gcm" flush_log_blocks="4"',
		recordName: 'newest_superblock',
		syncName: 'newest_superblock',
		variables: {CBE_PASSPHRASE: 'correct horse battery staple'},
	},
];

function deploymentWith({binary, config, create}: AnchorKind, tpmPath: string): string {
	return deviceDeployment({
		anchor: binary,
		anchorConfig: config.replace('TPM', tpmPath),
		create: `vbd_leaves="256" vbd_max_level="4" vbd_degree="8" ft_leaves="256" ft_max_level="4" ft_degree="8" ${create}`,
		tools: ['cbe_check'],
	});
}

/** A write or a flush, with the length of the record when it was sent and when it was acknowledged. */
interface Operation {
	readonly vba: number | undefined;
	readonly stamp: number;
	readonly sentAt: number;
	ackedAt: number;
}

function contentOf(vba: number, stamp: number): Buffer {
	const content = Buffer.alloc(blockSize, stamp % 251);
	content.writeUInt32LE(vba, 0);
	content.writeUInt32LE(stamp, 4);
	return content;
}

/** Stamps that a block may hold after a loss of power when the record had this length. */
function legalStamps(operations: readonly Operation[], vba: number, at: number): Set<number> {
	const lastFlush = operations.findLastIndex(operation => operation.vba === undefined && operation.ackedAt <= at);
	const flushed = operations
		.slice(0, Math.max(0, lastFlush))
		.findLast(operation => operation.vba === vba && operation.ackedAt < Infinity);
	const since = operations
		.slice(Math.max(0, lastFlush))
		.filter(operation => operation.vba === vba && operation.sentAt <= at);
	return new Set([flushed?.stamp ?? 0, ...since.map(({stamp}) => stamp)]);
}

/** Writes and flushes one after another until `countMax` of them, or the program's end. */
async function load(
	state: string,
	operations: Operation[],
	{countMax, sizeOfRecord, random}: {countMax: number; sizeOfRecord: () => number; random: SeededRandom},
): Promise<void> {
	const peer = await NbdPeer.connect(join(state, 'nbd.sock'));
	const closed = peer.closed().then(
		() => 'closed' as const,
		() => 'closed' as const,
	);
	void closed;
	try {
		await peer.attach();
		for (let i = 0; i < countMax; i++) {
			const vba = random.below(4) === 0 ? undefined : random.below(blockCount);
			const operation = {vba, stamp: operations.length + 1, sentAt: sizeOfRecord(), ackedAt: Infinity};
			operations.push(operation);
			if (vba === undefined) {
				peer.request({command: 3});
				const {error} = await peer.simpleReply();
				if (error !== 0) {
					return;
				}
			} else if ((await peer.write(vba * blockSize, contentOf(vba, operation.stamp))) !== 0) {
				return;
			}

			operation.ackedAt = sizeOfRecord();
		}
	} catch {
		// The program has ended; what was under way is nobody's to rely on.
	} finally {
		peer.socket.destroy();
	}
}

async function stampsIn(state: string): Promise<Array<number | string>> {
	const peer = await NbdPeer.connect(join(state, 'nbd.sock'));
	try {
		await peer.attach();
		const stamps: Array<number | string> = [];
		for (let vba = 0; vba < blockCount; vba++) {
			const block = await peer.read(vba * blockSize, blockSize);
			const stamp = block.readUInt32LE(4);
			stamps.push(
				block.equals(stamp === 0 ? Buffer.alloc(blockSize) : contentOf(vba, stamp))
					? stamp
					: `foreign content ${block.toString('hex', 0, 16)}`,
			);
		}

		return stamps;
	} finally {
		peer.socket.destroy();
	}
}

/** True where the program ends itself by the signal that the recorder sends. */
async function isKilled(run: RuntimeProcess): Promise<boolean> {
	const isOver = await Promise.race([run.ended.then(code => code === null), sleep(killMsMax, false)]);
	await run.stop('SIGKILL');
	return isOver;
}

/** The memory of a TPM through a run, so that a loss of power can be rebuilt for it, too. */
class TpmHistory {
	readonly socketPath: string;
	readonly #tpm: SoftwareTpm;
	readonly #proxy: TpmProxy;
	/** What it held from when on, and since when a command may have led to it. */
	readonly #states: Array<{readonly from: number; readonly to: number; readonly content: TpmState}> = [];

	private constructor(tpm: SoftwareTpm, proxy: TpmProxy) {
		this.#tpm = tpm;
		this.#proxy = proxy;
		this.socketPath = proxy.socketPath;
	}

	static async start(sizeOfRecord: () => number): Promise<TpmHistory> {
		const tpm = await SoftwareTpm.start();
		let from = 0;
		const proxy: TpmProxy = await TpmProxy.start(tpm.socketPath, {
			command({bytes}) {
				from = sizeOfRecord();
				return bytes;
			},
			response({bytes}) {
				history.#note(from, sizeOfRecord());
				return bytes;
			},
		});
		const history = new TpmHistory(tpm, proxy);
		history.#note(0, 0);
		return history;
	}

	/** Puts the TPM back to what a loss of power may have left in it when the record had this length. */
	async goBackTo(at: number, random: SeededRandom): Promise<void> {
		const certain = this.#states.findLastIndex(({to}) => to <= at);
		const possible = this.#states.slice(Math.max(0, certain)).filter(({from}) => from <= at);
		await this.#tpm.replace(possible[random.below(possible.length)].content);
	}

	get count(): number {
		return this.#states.length;
	}

	async stop(): Promise<void> {
		await this.#proxy.stop();
		await this.#tpm.stop();
	}

	#note(from: number, to: number): void {
		const content = this.#tpm.content;
		const newest = this.#states.at(-1)?.content;
		if (!newest || !isDeepStrictEqual(content, newest)) {
			this.#states.push({from, to, content});
		}
	}
}

for (const kind of anchorKinds) {
	testWith(
		['gcc', ...kind.requirements],
		`${kind.binary}: after a loss of power at any point, from the first start on, everything flushed is there`,
		async t => {
			t.timeout(240_000);
			const folder = temporaryDirectory();
			const [deployFile, disk, copy, record] = ['deploy.xml', 'disk', 'copy', 'record'].map(name =>
				join(folder, name),
			);
			const state = join(disk, 'state');
			const random = new SeededRandom(seed);
			const sizeOfRecord = () => fs.statSync(record, {throwIfNoEntry: false})?.size ?? 0;
			const tpm = kind.requirements.includes('swtpm') ? await TpmHistory.start(sizeOfRecord) : undefined;
			t.teardown(async () => tpm?.stop());
			fs.writeFileSync(deployFile, deploymentWith(kind, tpm?.socketPath ?? ''));
			fs.mkdirSync(disk);

			const recording = {
				...kind.variables,
				LD_PRELOAD: buildRecorder(folder),
				RECORD_FOLDER: disk,
				RECORD_TO: record,
			};
			const operations: Operation[] = [];
			const first = new RuntimeProcess(['start', deployFile, '--state', state], {
				variables: {...recording, RECORD_KILL: `*:${1 + random.below(firstSyncMax)}`},
			});
			await Promise.race([first.printed('[runtime] ready\n').catch(() => undefined), first.ended]);
			if (first.output.includes('[runtime] ready\n')) {
				await load(state, operations, {countMax: 400, sizeOfRecord, random});
			}

			t.true(await isKilled(first), first.output);

			/** What was not flushed may be gone with the process; what is found counts from now on. */
			const takeOver = async (killedAt: number): Promise<void> => {
				for (const [vba, found] of (await stampsIn(state)).entries()) {
					const legal = legalStamps(operations, vba, killedAt);
					t.true(
						typeof found === 'number' && legal.has(found),
						`seed ${seed}, after the kill: VBA ${vba} holds ${found}, it may hold ${[...legal].join(', ')}`,
					);
					operations.push({vba, stamp: Number(found), sentAt: sizeOfRecord(), ackedAt: sizeOfRecord()});
				}

				operations.push({vba: undefined, stamp: 0, sentAt: sizeOfRecord(), ackedAt: sizeOfRecord()});
			};

			// Its own start syncs some parts of the record, or the directory, already.
			let killedAt = sizeOfRecord();
			const second = await startRuntime(deployFile, state, {
				variables: {...recording, RECORD_KILL: `${kind.syncName}:${8 + random.below(12)}`},
			});
			const madeAt = sizeOfRecord();
			await takeOver(killedAt);
			await load(state, operations, {countMax: 400, sizeOfRecord, random});
			t.true(await isKilled(second), second.output);
			killedAt = sizeOfRecord();
			const third = await startRuntime(deployFile, state, {variables: recording});
			await takeOver(killedAt);
			await load(state, operations, {countMax: 60, sizeOfRecord, random});
			await third.stop('SIGKILL');

			const events = readRecord(record);
			const later = events.filter(({at}) => at > killedAt);
			const ofRecord = later.filter(({file}) => file.split('/').at(-1)!.startsWith(kind.recordName));
			t.true(
				ofRecord.length > 4 && later.some(({file, kind}) => file === 'state/cbe.img' && kind === 'W'),
				'what was written was recorded',
			);
			const firstOf = (file: string, kind: string) =>
				later.find(event => event.file.split('/').at(-1) === file && event.kind === kind)?.at ?? Infinity;
			for (const name of ['.', 'state', 'trust_anchor']) {
				t.true(
					firstOf(name, 'E') < firstOf('cbe.img', 'W'),
					`the names in ${name} are durable before anything is written`,
				);
			}

			t.true(
				firstOf(kind.recordName, 'E') < firstOf('cbe.img', 'W'),
				'what the start found in the record is durable before anything is written that relies on it',
			);
			t.true(tpm === undefined || tpm.count > 4);
			for (let trial = 0; trial < trialCount; trial++) {
				// First: nothing but the image has reached the medium when the record is about to be synced for the
				// first time since the kill.
				const among =
					trial === 0
						? ofRecord.filter(({kind}) => kind === 'B').slice(0, 1)
						: [later, events.filter(({at}) => at <= madeAt), ofRecord.slice(0, 8), events][trial % 4];
				const {at} = among[random.below(among.length)];
				const fates = new Map<string, Fate>(
					trial === 0
						? [
								['cbe.img', 'kept'],
								[kind.recordName, 'lost'],
							]
						: [],
				);
				const isAllLost = random.below(3) === 0;
				const fateOf = (file: string): Fate => {
					const name = file.split('/').at(-1)!;
					const fate =
						fates.get(name) ?? (isAllLost ? 'lost' : (['lost', 'kept', 'any'] as const)[random.below(3)]);
					fates.set(name, fate);
					return fate;
				};

				fs.rmSync(copy, {recursive: true, force: true});
				fs.mkdirSync(copy);
				rebuild(
					copy,
					events.filter(event => event.at <= at),
					fateOf,
					random,
				);
				await tpm?.goBackTo(at, random);
				const what = `seed ${seed}, trial ${trial}, at ${at} of ${sizeOfRecord()}, ${JSON.stringify(Object.fromEntries(fates))}`;
				const rebuilt = join(copy, 'state');
				const runtime = new RuntimeProcess(['start', deployFile, '--state', rebuilt], {
					variables: kind.variables,
				});
				await t.notThrowsAsync(runtime.printed('[runtime] ready\n'), what);
				for (const [vba, stamp] of (await stampsIn(rebuilt)).entries()) {
					const legal = legalStamps(operations, vba, at);
					t.true(
						typeof stamp === 'number' && legal.has(stamp),
						`${what}: VBA ${vba} holds ${stamp}, it may hold ${[...legal].join(', ')}\n${runtime.output}`,
					);
				}

				t.is(await runtime.stop(), 0, what);
				if (trial < 2) {
					const {code, output} = await runRuntime(['run', 'cbe_check', deployFile, '--state', rebuilt], {
						variables: kind.variables,
					});
					t.is(code, 0, `${what}: ${output}`);
				}
			}
		},
	);
}

const inodes: Readonly<Record<string, number>> = {folder: 2, file: 3, 'file.new': 4};

/** One after another, each by the thread 1. */
function eventsOf(
	...steps: ReadonlyArray<readonly [kind: RecordedEvent['kind'], file: string, data?: Buffer, offset?: number]>
): RecordedEvent[] {
	return steps.map(([kind, file, data = Buffer.alloc(0), offset = 0], i) => ({
		kind,
		at: i + 1,
		file,
		inode: inodes[file.split('/').at(-1)!] ?? 1,
		thread: 1,
		offset,
		length: data.length,
		data,
	}));
}

/** What is left in the file, block by block; undefined where there is none. */
function left(events: readonly RecordedEvent[], fate: Fate, file: string): number[] | undefined {
	const folder = temporaryDirectory();
	rebuild(folder, events, () => fate, new SeededRandom(1));
	const path = join(folder, file);
	return fs.existsSync(path)
		? Array.from({length: 3}, (_, i) => fs.readFileSync(path)[i * blockSize] ?? 0)
		: undefined;
}

const block = (value: number) => Buffer.alloc(blockSize, value);

test('the rebuilding keeps what was synced, and loses, keeps or tears what was not', t => {
	const events = eventsOf(
		['C', 'file'],
		['B', '.'],
		['E', '.'],
		['W', 'file', block(1)],
		['B', 'file'],
		['W', 'file', block(2), blockSize],
		['E', 'file'],
		['W', 'file', block(3), 2 * blockSize],
	);
	t.deepEqual(left(events, 'lost', 'file'), [1, 0, 0]);
	t.deepEqual(left(events, 'kept', 'file'), [1, 2, 3]);
});

test('the rebuilding loses names whose directory was not synced, with all that is below, and renames', t => {
	const made = eventsOf(
		['M', 'folder'],
		['C', 'folder/file'],
		['W', 'folder/file', block(1)],
		['B', 'folder/file'],
		['E', 'folder/file'],
		['B', 'folder'],
		['E', 'folder'],
	);
	t.is(left(made, 'lost', 'folder/file'), undefined);
	t.deepEqual(left(made, 'kept', 'folder/file'), [1, 0, 0]);
	const named = [...made, ...eventsOf(['B', '.'], ['E', '.'])];
	t.deepEqual(left(named, 'lost', 'folder/file'), [1, 0, 0]);
	const replaced = [
		...named,
		...eventsOf(
			['C', 'folder/file.new'],
			['W', 'folder/file.new', block(2)],
			['B', 'folder/file.new'],
			['E', 'folder/file.new'],
			['R', 'folder/file.new', Buffer.from('folder/file')],
		),
	];
	t.deepEqual(
		[left(replaced, 'lost', 'folder/file'), left(replaced, 'kept', 'folder/file')],
		[
			[1, 0, 0],
			[2, 0, 0],
		],
	);
	t.is(left(replaced, 'kept', 'folder/file.new'), undefined);
	t.deepEqual(left([...replaced, ...eventsOf(['B', 'folder'], ['E', 'folder'])], 'lost', 'folder/file'), [2, 0, 0]);
	t.is(left([...named, ...eventsOf(['U', 'folder/file'])], 'kept', 'folder/file'), undefined);
});
