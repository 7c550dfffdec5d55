/**
 * Every chain of crashes around checkpoints, in a small model: after each change of medium or trust anchor the power
 * may fail, and of each write that was not synced any sectors may have arrived. Whatever is left opens, with a state
 * that is whole, and with what was acknowledged.
 */
import test from 'ava';
import {authenticatorOf, flushKeyOf} from '../../test/support/memory-anchor.js';
import {layOutPool} from '../../test/support/pool-layout.js';
import type {Environment} from '../../runtime/sdk/component.js';
import {blockSize, superblockSlotCount} from '../lib/format/geometry.js';
import {labelOf} from '../lib/format/label.js';
import {sealSuperblock} from '../lib/container/superblock-authenticator.js';
import type {Superblock} from '../lib/format/superblock.js';
import {encodeUnusedSlot} from '../lib/format/superblock-codec.js';
import {writeDurably} from '../lib/format/durable-write.js';
import {openOrCreate, type OpeningServers} from './opening.js';
import {Commit} from './commit.js';
import {currentSnapshotOf, firstGenerationAfter} from './transition.js';

const sectorSize = 512;

/**
 * What the trees of a state are made of: two states of one generation may differ, one of them before a crash and one
 * after it.
 */
type Variant = 1 | 2;

interface AnchorRecord {
	readonly hash: Uint8Array;
	readonly generation: number;
	readonly intended: Uint8Array | null;
}

/** What a loss of power has left. */
interface Remains {
	/**
	 * The superblock slots, and behind them the trees: those of even and those of odd generations have a block each.
	 */
	readonly blocks: readonly Buffer[];
	readonly record: AnchorRecord;
	/** The newest generation of which somebody was told that it is secured. */
	readonly acknowledged: number;
	/** The crashes before, for people. */
	readonly story: readonly string[];
}

interface Write {
	readonly address: number;
	readonly content: Buffer;
}

function treesOf(generation: number, variant: number): Buffer {
	return Buffer.alloc(blockSize, `trees of generation ${generation}, variant ${variant}.`);
}

const treeAddress = (generation: number): number => superblockSlotCount + (generation % 2);

/** Trees of which not all blocks have arrived: it does not matter which. */
const tornTrees = Buffer.alloc(blockSize, 'torn trees ');

/** Which sectors have arrived: any, or of more than five none, all but one, or all. */
function masksOf(sectorCount: number): number[] {
	const all = 2 ** sectorCount - 1;
	const bits = Array.from({length: sectorCount}, (_, bit) => 1 << bit);
	return sectorCount <= 5
		? Array.from({length: all + 1}, (_, mask) => mask)
		: [0, all, ...bits.map(bit => all - bit)];
}

/** What can be there after `after` was written over `before`. */
function mixtures(address: number, before: Buffer, after: Buffer): Buffer[] {
	if (address >= superblockSlotCount) {
		return [before, tornTrees, after];
	}

	// A sector of an emptied slot is none of a superblock's (superblock.test.ts): with some of them it is as good as
	// empty.
	if (after.every(byte => byte === 0)) {
		return [before, after];
	}

	const sectors = Array.from({length: blockSize / sectorSize}, (_, i) => i * sectorSize).filter(
		offset => !before.subarray(offset, offset + sectorSize).equals(after.subarray(offset, offset + sectorSize)),
	);
	return masksOf(sectors.length).map(mask => {
		const mixed = Buffer.from(before);
		for (const [bit, offset] of sectors.entries()) {
			if (((mask >> bit) & 1) === 1) {
				after.copy(mixed, offset, offset, offset + sectorSize);
			}
		}

		return mixed;
	});
}

/** One life of the device, from its opening to the end of a checkpoint. */
class Life {
	/** All that a crash may have left at any moment. */
	readonly remains: Remains[] = [];
	readonly #blocks: Buffer[];
	readonly #variant: Variant;
	readonly #isAuthenticated: boolean;
	readonly #story: readonly string[];
	#record: AnchorRecord;
	#pendingRecord: AnchorRecord | undefined;
	#unsynced: Write[] = [];
	#acknowledged: number;

	constructor({blocks, record, acknowledged, story}: Remains, variant: Variant, isAuthenticated: boolean) {
		this.#isAuthenticated = isAuthenticated;
		this.#blocks = [...blocks];
		this.#record = record;
		this.#acknowledged = acknowledged;
		this.#story = story;
		this.#variant = variant;
	}

	/** Replies with what counts at its end. @throws StartError where the device refuses to open */
	async run(): Promise<Remains> {
		const servers = this.#servers();
		const opened = await openOrCreate(servers, {log: () => undefined} as unknown as Environment, undefined);
		const {
			superblock,
			superblock: {lastSecuredGeneration: generation},
			slot,
			hash,
			strayedSlot,
			isLogSettled,
		} = opened;
		const variant = currentSnapshotOf(superblock).root.hash[0];
		if (!this.#blocks[treeAddress(generation)].equals(treesOf(generation, variant))) {
			throw new Error(`the trees of the opened generation ${generation} are not whole`);
		}

		if (generation < this.#acknowledged) {
			throw new Error(`opened generation ${generation}, though ${this.#acknowledged} was acknowledged`);
		}

		const commit = new Commit(servers, {
			superblock,
			slot,
			anchoredHash: hash,
			currentGeneration: firstGenerationAfter(superblock),
			strayedSlot,
			isLogSettled,
		});
		await commit.checkpointAnew();
		this.#acknowledged = commit.superblock.lastSecuredGeneration;
		return {blocks: this.#blocks, record: this.#record, acknowledged: this.#acknowledged, story: []};
	}

	#crash(moment: string): void {
		let images = [[...this.#blocks]];
		for (const {address, content} of this.#unsynced) {
			images = images.flatMap(blocks =>
				mixtures(address, blocks[address], content).map(mixed => blocks.with(address, mixed)),
			);
		}

		for (const record of [this.#record, ...(this.#pendingRecord ? [this.#pendingRecord] : [])]) {
			for (const blocks of images) {
				this.remains.push({
					blocks,
					record,
					acknowledged: this.#acknowledged,
					story: [...this.#story, `variant ${this.#variant}, ${moment}`],
				});
			}
		}
	}

	#content(address: number): Buffer {
		return this.#unsynced.findLast(write => write.address === address)?.content ?? this.#blocks[address];
	}

	async #remember(record: AnchorRecord, moment: string): Promise<void> {
		this.#pendingRecord = record;
		this.#crash(moment);
		await Promise.resolve();
		this.#record = record;
		this.#pendingRecord = undefined;
		this.#crash(`after ${moment}`);
	}

	#servers(): OpeningServers {
		const sync = async () => {
			this.#crash('sync');
			await Promise.resolve();
			for (const {address, content} of this.#unsynced) {
				this.#blocks[address] = content;
			}

			this.#unsynced = [];
			this.#crash('after sync');
			return {};
		};

		return {
			block: {
				geometry: async () => ({blockCount: 2 ** 20, writable: true, growable: true}),
				read: async ({extents: [first, count], data}: {extents: number[]; data: Uint8Array}) => {
					for (let i = 0; i < count; i++) {
						data.set(this.#content(first + i), i * blockSize);
					}

					return {};
				},
				write: async ({
					extents: [address],
					data,
					durable,
				}: {
					extents: number[];
					data: Uint8Array;
					durable?: true;
				}) => {
					const write = () => {
						this.#unsynced.push({address, content: Buffer.from(data)});
						this.#crash(`write of ${address}`);
						return {};
					};
					return durable ? writeDurably(write, sync) : write();
				},
				sync,
			},
			trust_anchor: {
				status: async () => ({
					initialized: true,
					secured: {hash: this.#record.hash, generation: this.#record.generation, creating: false},
				}),
				marks: async () => ({
					intended: this.#record.intended,
					announces: true,
					authenticated: this.#isAuthenticated,
				}),
				flush_key: async ({hash}: {hash: Uint8Array}) => ({key: flushKeyOf(hash)}),
				authenticate: async ({containerId, digest}: {containerId: Uint8Array; digest: Uint8Array}) => ({
					authenticator: authenticatorOf(containerId, digest),
				}),
				verify: async ({
					containerId,
					digest,
					authenticator,
				}: {
					containerId: Uint8Array;
					digest: Uint8Array;
					authenticator: Uint8Array;
				}) => ({isAuthentic: authenticatorOf(containerId, digest).equals(authenticator)}),
				intend: async ({hash}: {hash: Uint8Array}) => {
					await this.#remember({...this.#record, intended: hash}, 'announcement');
					return {};
				},
				secure: async ({hash, generation}: {hash: Uint8Array; generation: number}) => {
					await this.#remember({hash, generation, intended: null}, 'record');
					return {flushKey: flushKeyOf(hash)};
				},
			},
			virtual_block_device: {
				store: async ({nextGeneration}: {nextGeneration: number}) => {
					const generation = nextGeneration - 1;
					this.#unsynced.push({
						address: treeAddress(generation),
						content: treesOf(generation, this.#variant),
					});
					this.#crash('trees');
					const root = {address: treeAddress(generation), generation, hash: Buffer.alloc(32, this.#variant)};
					const pool = {maxLevel: 2, degree: 8, leafCount: 20, root};
					return {
						tree: {root, leafCount: 4, maxLevel: 1, degree: 4},
						freeTree: pool,
						metaTree: pool,
						snapshots: [],
						storedBlockCount: 1,
					};
				},
			},
			free_tree: {advance: async () => ({})},
		} as unknown as OpeningServers;
	}
}

const keyOf = ({blocks, record, acknowledged}: Remains): string =>
	[labelOf(Buffer.concat(blocks)), record.hash, record.intended ?? new Uint8Array()]
		.map(part => Buffer.from(part).toString('hex'))
		.join() + acknowledged;

const forms: Readonly<Record<string, Partial<Superblock>>> = {
	'of the original': {},
	'of version 1': {cipher: 'aes-256-xts', containerId: new Uint8Array(16).fill(9)},
	'with authenticators': {
		cipher: 'aes-256-xts',
		containerId: new Uint8Array(16).fill(9),
		features: ['emptied_leaves'],
	},
};

/** What the slots hold before. */
const pasts = {
	fresh: {before: 0, hadSnapshots: false},
	'with all slots in use': {before: superblockSlotCount + 1, hadSnapshots: false},
	'whose slots hold superblocks with snapshots that are discarded': {before: 0, hadSnapshots: true},
};

for (const [name, form] of Object.entries(forms)) {
	for (const [past, {before, hadSnapshots}] of Object.entries(pasts).filter(
		([, {hadSnapshots}]) => !hadSnapshots || form.features !== undefined,
	)) {
		test(`a container ${name}, ${past}: no crash is taken for an older anchor`, async t => {
			t.timeout(120_000);
			const superblock = {...(await layOutPool({leafCount: 20, maxLevel: 2, degree: 8})).superblock, ...form};
			superblock.snapshots = superblock.snapshots.map(
				snapshot => snapshot && {...snapshot, root: {...snapshot.root, hash: Buffer.alloc(32, 1)}},
			);
			const seal = async (content: Superblock) =>
				sealSuperblock(
					{
						authenticate: async ({containerId, digest}) => ({
							authenticator: authenticatorOf(containerId, digest),
						}),
						verify: async () => ({isAuthentic: true}),
					},
					content,
				);
			const first = await seal(superblock);
			const kept = {...superblock.snapshots[0]!, keep: true};
			const older = hadSnapshots
				? await seal({
						...superblock,
						snapshots: superblock.snapshots.map((snapshot, i) => (i === 20 ? kept : snapshot)),
					})
				: encodeUnusedSlot();
			let start: Remains = {
				blocks: [
					first,
					...Array.from({length: superblockSlotCount - 1}, () => older),
					treesOf(0, 1),
					Buffer.alloc(blockSize),
				],
				record: {hash: labelOf(first), generation: 0, intended: null},
				acknowledged: 0,
				story: [],
			};
			for (let i = 0; i < before; i++) {
				start = await new Life(start, 1, form.features !== undefined).run();
			}

			const seen = new Set([keyOf(start)]);
			const open = [start];
			for (let remains = open.pop(); remains; remains = open.pop()) {
				for (const variant of [1, 2] as const) {
					const life = new Life(remains, variant, form.features !== undefined);
					try {
						await life.run();
					} catch (error) {
						t.fail(
							`${error instanceof Error ? error.message : String(error)}, after crashes: ${remains.story.join('; ') || 'none'}`,
						);
						return;
					}

					for (const left of life.remains) {
						const key = keyOf(left);
						if (left.record.generation < start.record.generation + 2 && !seen.has(key)) {
							seen.add(key);
							open.push(left);
						}
					}
				}
			}

			t.log(`${seen.size} states`);
			t.true(seen.size > 100);
		});
	}
}
