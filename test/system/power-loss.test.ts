/**
 * Losses of power under the real program. All that it writes to image and trust anchor is recorded, with its syncs; then folders are
 * rebuilt that a loss of power may leave at some point of it, and the program is started on each: it opens, and each block holds what was
 * flushed last, or something written since. In the middle the program is killed right before a sync of the anchor's record and
 * goes on with what it finds, so that what a start believes has to be durable.
 */
import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../support/component-stand.js';
import {testWith} from '../support/external-tools.js';
import {NbdPeer} from '../support/nbd-peer.js';
import {buildRecorder, readRecord, rebuild, type Fate} from '../support/recorded-writes.js';
import {runRuntime, startRuntime} from '../support/runtime-process.js';
import {SeededRandom} from '../support/seeded-random.js';

const blockSize = 4096;
const blockCount = 48;
const trialCount = Number(process.env.CBE_POWER_LOSSES ?? 6);
const seed = Number(process.env.CBE_POWER_LOSSES_SEED ?? Date.now() % 1_000_000);

const deployment = `<config>
	<default-route><any-service><parent/><any-child/></any-service></default-route>
	<default ram="96M"/>
	<start name="block_file"><binary name="block_file"/><provides><service name="block"/></provides><config path="cbe.img" create="yes"/></start>
	<start name="crypto"><binary name="crypto_openssl"/><provides><service name="crypto"/></provides></start>
	<start name="trust_anchor"><binary name="trust_anchor_file"/><provides><service name="trust_anchor"/></provides><config path="trust_anchor"/></start>
	<start name="cache"><binary name="cache"/><provides><service name="cache"/></provides><config size="8M"/>
		<route><service name="block"><child name="block_file"/></service></route></start>
	<start name="free_tree"><binary name="free_tree"/><provides><service name="free_tree"/></provides></start>
	<start name="virtual_block_device"><binary name="virtual_block_device"/><provides><service name="virtual_block_device"/></provides>
		<route><service name="block"><child name="block_file"/></service></route></start>
	<start name="superblock_control"><binary name="superblock_control"/><provides><service name="block"/><service name="device_control"/></provides>
		<config><create vbd_leaves="256" vbd_max_level="4" vbd_degree="8" ft_leaves="256" ft_max_level="4" ft_degree="8" flush_log_blocks="4"/></config>
		<route><service name="block"><child name="block_file"/></service></route></start>
	<start name="nbd"><binary name="nbd"/><resource name="RAM" quantum="192M"/><config><unix path="nbd.sock"/></config>
		<route><service name="block" label="device"><child name="superblock_control"/></service></route></start>
	<start name="cbe_check"><binary name="cbe_check"/><route><service name="block"><child name="block_file"/></service></route></start>
</config>`;

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
	const flushed = operations.slice(0, Math.max(0, lastFlush)).findLast(operation => operation.vba === vba && operation.ackedAt < Infinity);
	const since = operations.slice(Math.max(0, lastFlush)).filter(operation => operation.vba === vba && operation.sentAt <= at);
	return new Set([flushed?.stamp ?? 0, ...since.map(({stamp}) => stamp)]);
}

/** Writes and flushes one after another until `countMax` of them, or the program's end. */
async function load(state: string, operations: Operation[], {countMax, sizeOfRecord, random}: {countMax: number; sizeOfRecord: () => number; random: SeededRandom}): Promise<void> {
	const peer = await NbdPeer.connect(join(state, 'nbd.sock'));
	const closed = peer.closed().then(() => 'closed' as const, () => 'closed' as const);
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
			} else if (await peer.write(vba * blockSize, contentOf(vba, operation.stamp)) !== 0) {
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
			stamps.push(block.equals(stamp === 0 ? Buffer.alloc(blockSize) : contentOf(vba, stamp)) ? stamp : `foreign content ${block.toString('hex', 0, 16)}`);
		}

		return stamps;
	} finally {
		peer.socket.destroy();
	}
}

testWith(['gcc'], 'after a loss of power at any point everything flushed is there, also where a run before was killed between a record and its sync', async t => {
	const folder = temporaryDirectory();
	const [deployFile, state, base, record] = ['deploy.xml', 'state', 'base', 'record'].map(name => join(folder, name));
	const random = new SeededRandom(seed);
	fs.writeFileSync(deployFile, deployment);
	await (await startRuntime(deployFile, state)).stop();
	fs.cpSync(state, base, {recursive: true});

	const recording = {LD_PRELOAD: buildRecorder(folder), RECORD_FOLDER: state, RECORD_TO: record};
	const sizeOfRecord = () => fs.statSync(record).size;
	const operations: Operation[] = [];
	// Two parts of the record are synced by the start.
	const killed = await startRuntime(deployFile, state, {variables: {...recording, RECORD_KILL: `newest_superblock:${4 + random.below(12)}`}});
	await load(state, operations, {countMax: 400, sizeOfRecord, random});
	await killed.ended;
	const killedAt = sizeOfRecord();
	const second = await startRuntime(deployFile, state, {variables: recording});
	// What was not flushed may be gone with the process; what is found counts from now on.
	for (const [vba, found] of (await stampsIn(state)).entries()) {
		const legal = legalStamps(operations, vba, killedAt);
		t.true(typeof found === 'number' && legal.has(found), `seed ${seed}, after the kill: VBA ${vba} holds ${found}, it may hold ${[...legal].join(', ')}`);
		operations.push({vba, stamp: Number(found), sentAt: sizeOfRecord(), ackedAt: sizeOfRecord()});
	}

	operations.push({vba: undefined, stamp: 0, sentAt: sizeOfRecord(), ackedAt: sizeOfRecord()});
	await load(state, operations, {countMax: 60, sizeOfRecord, random});
	await second.stop('SIGKILL');

	const events = readRecord(record);
	const later = events.filter(({at}) => at > killedAt);
	const ofRecord = later.filter(({file}) => file.endsWith('newest_superblock'));
	t.true(ofRecord.length > 4 && later.some(({file, kind}) => file === 'cbe.img' && kind === 'W'), 'what was written was recorded');
	const firstOf = (file: string, kind: string) => later.find(event => event.file.split('/').at(-1) === file && event.kind === kind)?.at ?? Infinity;
	t.true(firstOf('.', 'E') < firstOf('cbe.img', 'W') && firstOf('trust_anchor', 'E') < firstOf('cbe.img', 'W'), 'so are the names of image and anchor');
	t.true(firstOf('newest_superblock', 'E') < firstOf('cbe.img', 'W'), 'what the start found in the record is durable before anything is written that relies on it');
	for (let trial = 0; trial < trialCount; trial++) {
		// First: nothing but the image has reached the medium when the record is about to be synced for the first time since the kill.
		const among = trial === 0 ? ofRecord.filter(({kind}) => kind === 'B').slice(0, 1) : [events, ofRecord.slice(0, 8), ofRecord, later][trial % 4];
		const {at} = among[random.below(among.length)];
		const drawn = () => (['lost', 'kept', 'any'] as Fate[])[random.below(3)];
		const fates: Readonly<Record<string, Fate>> = trial === 0 ? {'cbe.img': 'kept', newest_superblock: 'lost'} : {'cbe.img': drawn(), newest_superblock: drawn()};
		const what = `seed ${seed}, trial ${trial}, at ${at} of ${sizeOfRecord()}, ${JSON.stringify(fates)}`;
		const copy = join(folder, 'copy');
		fs.rmSync(copy, {recursive: true, force: true});
		fs.cpSync(base, copy, {recursive: true});
		rebuild(copy, events.filter(event => event.at <= at), file => fates[file.split('/').at(-1) ?? ''] ?? 'kept', random);
		const runtime = await startRuntime(deployFile, copy);
		const stamps = await stampsIn(copy);
		for (const [vba, stamp] of stamps.entries()) {
			const legal = legalStamps(operations, vba, at);
			t.true(typeof stamp === 'number' && legal.has(stamp), `${what}: VBA ${vba} holds ${stamp}, it may hold ${[...legal].join(', ')}\n${runtime.output}`);
		}

		t.is(await runtime.stop(), 0, what);
		if (trial === 0) {
			const {code, output} = await runRuntime(['run', 'cbe_check', deployFile, '--state', copy]);
			t.is(code, 0, `${what}: ${output}`);
		}
	}
});

test('the rebuilding keeps what was synced, and loses, keeps or tears what was not', t => {
	const copy = temporaryDirectory();
	const block = (value: number) => Buffer.alloc(blockSize, value);
	const event = (kind: 'W' | 'B' | 'E', at: number, offset = 0, data = Buffer.alloc(0)) => ({kind, at, file: 'file', offset, length: data.length, data});
	const events = [event('W', 1, 0, block(1)), event('B', 2), event('W', 3, blockSize, block(2)), event('E', 4), event('W', 5, 2 * blockSize, block(3))];
	for (const [fate, expected] of [['lost', [1, 0, 0]], ['kept', [1, 2, 3]]] as const) {
		fs.writeFileSync(join(copy, 'file'), Buffer.alloc(3 * blockSize));
		rebuild(copy, events, () => fate, new SeededRandom(1));
		const content = fs.readFileSync(join(copy, 'file'));
		t.deepEqual(expected.map((_, i) => content[i * blockSize]), [...expected]);
	}
});
