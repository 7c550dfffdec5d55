import test from 'ava';
import {SessionError} from '../../runtime/sdk/session.js';
import {layOutPool} from '../../test/support/pool-layout.js';
import {labelOf} from '../lib/format/label.js';
import {LockOrderError, watchLockOrder} from '../lib/sync/lock-order.js';
import type {Superblock} from '../lib/format/superblock.js';
import {encodeSuperblock, decodeSuperblock} from '../lib/format/superblock-codec.js';
import {writeDurably} from '../lib/format/durable-write.js';
import {CommitInterrupted} from './commit-state.js';
import {Commit} from './commit.js';
import type {CommitServers} from './commit-actions.js';

const watch = watchLockOrder();

interface Stand {
	readonly commit: Commit;
	/** Every request to a server, in order. */
	readonly events: string[];
	/** Superblocks by the slot they were written to. */
	readonly slots: Map<number, Uint8Array>;
	/** Called before a request is answered. */
	before: (event: string) => Promise<void> | void;
	/** The device has a change that a log can name. */
	giveChange(): void;
	anchored: Uint8Array | undefined;
	intended?: Uint8Array;
}

async function freshSuperblock(): Promise<Superblock> {
	return (await layOutPool({leafCount: 20, maxLevel: 2, degree: 8})).superblock;
}

async function setUp({hasLog = false} = {}): Promise<Stand> {
	const fresh = await freshSuperblock();
	const superblock = hasLog
		? {
				...fresh,
				cipher: 'aes-256-xts' as const,
				containerId: new Uint8Array(16),
				pbaCount: fresh.pbaCount + 4,
				flushLog: {firstPba: fresh.pbaCount, blockCount: 4},
			}
		: fresh;
	/** What the device has not named in a log yet. */
	let pending = [3];
	const stand: Stand = {
		events: [],
		slots: new Map(),
		before: () => undefined,
		giveChange: () => void pending.push(4),
		anchored: undefined,
	} as unknown as Stand;
	const note = async (event: string): Promise<void> => {
		stand.events.push(event);
		// What a test does meanwhile is another client's, who holds nothing.
		await watch.apart(() => stand.before(event));
	};

	const sync = async () => {
		await note('sync');
		return {};
	};

	const {root, leafCount, maxLevel} = superblock.snapshots[0]!;
	const servers = {
		virtual_block_device: {
			async log() {
				await note('log');
				const vbas = pending;
				pending = [];
				return {changes: {vbas, addresses: vbas, leaves: vbas, labels: new Uint8Array(32 * vbas.length)}};
			},
			async store() {
				await note('store');
				return {
					tree: {root, leafCount, maxLevel, degree: superblock.degree},
					freeTree: superblock.freeTree,
					metaTree: superblock.metaTree,
					snapshots: [],
					storedBlockCount: 0,
				};
			},
		},
		block: {
			sync,
			write: async ({extents, data, durable}: {extents: number[]; data: Uint8Array; durable?: true}) => {
				const write = async () => {
					await note(`write ${extents[0]}`);
					stand.slots.set(extents[0], Uint8Array.from(data));
					return {};
				};
				return durable ? writeDurably(write, sync) : write();
			},
		},
		trust_anchor: {
			async secure({hash}: {hash: Uint8Array}) {
				await note('secure');
				stand.anchored = hash;
				return {flushKey: new Uint8Array(32)};
			},
			async intend({hash}: {hash: Uint8Array}) {
				await note('intend');
				stand.intended = hash;
				return {};
			},
		},
		free_tree: {
			async advance() {
				await note('advance');
				return {};
			},
		},
	} as unknown as CommitServers;
	return Object.assign(stand, {
		commit: new Commit(servers, {
			superblock,
			slot: 0,
			anchoredHash: labelOf(encodeSuperblock(superblock)),
			currentGeneration: 1,
		}),
	});
}

const sequence = (slot: number): string[] => ['store', 'sync', 'intend', `write ${slot}`, 'sync', 'secure', 'advance'];

test('a checkpoint goes through blocks, sync and announcement, superblock, sync, trust anchor', async t => {
	const stand = await setUp();
	stand.commit.noteChange();
	await stand.commit.checkpoint();
	t.deepEqual(stand.events, sequence(1));
	t.deepEqual(Buffer.from(stand.anchored!), labelOf(stand.slots.get(1)!));
	t.is(decodeSuperblock(stand.slots.get(1)!).lastSecuredGeneration, 1);
	t.is(stand.commit.currentGeneration, 2);
});

test('without a change nothing is secured', async t => {
	const stand = await setUp();
	await stand.commit.checkpoint();
	t.deepEqual(stand.events, []);
});

test('each checkpoint takes the next slot, round and round', async t => {
	const stand = await setUp();
	for (let i = 0; i < 9; i++) {
		stand.commit.noteChange();
		await stand.commit.checkpoint();
	}

	t.deepEqual(
		stand.events.filter(event => event.startsWith('write')),
		[1, 2, 3, 4, 5, 6, 7, 0, 1].map(slot => `write ${slot}`),
	);
});

test('flushes at the same time share one checkpoint', async t => {
	const {commit, events} = await setUp();
	commit.noteChange();
	await Promise.all([commit.checkpoint(), commit.checkpoint(), commit.checkpoint()]);
	t.deepEqual(events, sequence(1));
});

test('a change during a checkpoint is secured by the next one, that all late flushes share', async t => {
	const stand = await setUp();
	let late: Array<Promise<void>> = [];
	stand.before = event => {
		if (event === 'write 1') {
			stand.commit.noteChange();
			late = [stand.commit.checkpoint(), stand.commit.checkpoint()];
		}
	};
	stand.commit.noteChange();
	await stand.commit.checkpoint();
	await Promise.all(late);
	t.deepEqual(stand.events, [...sequence(1), ...sequence(2)]);
});

test('a change of the superblock that comes while trees are stored is of the next state', async t => {
	const stand = await setUp();
	let edited: Promise<unknown> | undefined;
	stand.before = event => {
		if (event === 'store' && !edited) {
			// What was acknowledged just before, and is not in these trees any more, has to be in the state that a
			// snapshot keeps.
			stand.commit.noteChange();
			edited = stand.commit.checkpointWith({kind: 'keep_current', name: undefined, time: undefined});
		}
	};
	stand.commit.noteChange();
	await stand.commit.checkpoint();
	await edited;
	t.deepEqual(stand.events, [...sequence(1), ...sequence(2)]);
	const keptIn = (slot: number): boolean[] =>
		decodeSuperblock(stand.slots.get(slot)!).snapshots.flatMap(snapshot => (snapshot ? [snapshot.keep] : []));
	t.true(
		keptIn(1).every(keep => !keep),
		`${keptIn(1).length} snapshots`,
	);
	t.true(keptIn(2).some(Boolean));
	t.is(stand.commit.upcoming, stand.commit.latest);
});

test('two checkpoints never run at the same time, whenever the second is asked for', async t => {
	for (let delay = 0; delay < 12; delay++) {
		const stand = await setUp();
		let last: Promise<void> | undefined;
		let queued: Promise<void> | undefined;
		stand.before = event => {
			if (event === 'write 1') {
				stand.commit.noteChange();
				queued = stand.commit.checkpoint();
			}

			if (event === 'advance' && !last) {
				last = (async () => {
					// Comes so many turns of the promise queue after the first checkpoint's last reply.
					for (let i = 0; i < delay; i++) {
						await Promise.resolve();
					}

					stand.commit.noteChange();
					await stand.commit.checkpoint();
				})();
			}
		};
		stand.commit.noteChange();
		await stand.commit.checkpoint();
		await queued;
		await last;
		const count = stand.events.filter(event => event === 'store').length;
		t.deepEqual(
			stand.events,
			Array.from({length: count}, (_, i) => sequence(i + 1)).flat(),
			`${delay} turns later`,
		);
	}
});

test('a failure to store leaves everything as it was: the flush fails, the next one secures', async t => {
	const stand = await setUp();
	stand.before = event => {
		if (event === 'store') {
			throw new SessionError('device_failed', 'the medium failed');
		}
	};
	stand.commit.noteChange();
	await t.throwsAsync(stand.commit.checkpoint(), {instanceOf: SessionError, message: 'the medium failed'});
	t.true(stand.commit.isDue);
	t.is(stand.commit.currentGeneration, 1);
	stand.before = () => undefined;
	await stand.commit.checkpoint();
	t.deepEqual(stand.events, ['store', ...sequence(1)]);
});

for (const failing of ['sync', 'intend', 'write 1', 'secure']) {
	test(`after a failure at "${failing}" only a reopening tells which state counts`, async t => {
		const stand = await setUp();
		stand.before = event => {
			if (event === failing) {
				throw new SessionError('device_failed', 'it failed');
			}
		};
		stand.commit.noteChange();
		await t.throwsAsync(stand.commit.checkpoint(), {
			instanceOf: CommitInterrupted,
			message: /the checkpoint of generation 1 failed: it failed/,
		});
		t.is(stand.anchored, undefined);

		// A sync that succeeds after a failed one must not be trusted with what was written before.
		stand.before = () => undefined;
		const eventCount = stand.events.length;
		stand.commit.noteChange();
		await t.throwsAsync(stand.commit.checkpoint(), {instanceOf: CommitInterrupted});
		t.is(stand.events.length, eventCount);
	});
}

test('an edit of the superblock is secured with it, or has not happened', async t => {
	const stand = await setUp();
	await stand.commit.checkpointWith({kind: 'rekey', rekeyingVba: 5});
	t.is(decodeSuperblock(stand.slots.get(1)!).rekeyingVba, 5);
	stand.before = event => {
		if (event === 'store') {
			throw new SessionError('device_failed', 'the medium failed');
		}
	};
	await t.throwsAsync(stand.commit.checkpointWith({kind: 'rekey', rekeyingVba: 6}));
	stand.before = () => undefined;
	await stand.commit.checkpoint();
	t.is(stand.commit.superblock.rekeyingVba, 5);
});

test('an edit that came while the state was being taken has not happened where the next checkpoint fails', async t => {
	const stand = await setUp();
	let edited: Promise<unknown> | undefined;
	stand.before = event => {
		if (event === 'store' && !edited) {
			edited = stand.commit.checkpointWith({kind: 'rekey', rekeyingVba: 5});
			edited.catch(() => undefined);
		} else if (event === 'store') {
			throw new SessionError('device_failed', 'the medium failed');
		}
	};
	stand.commit.noteChange();
	await stand.commit.checkpoint();
	await t.throwsAsync(edited ?? Promise.resolve(), {message: 'the medium failed'});
	t.not(decodeSuperblock(stand.slots.get(1)!).rekeyingVba, 5);
	stand.before = () => undefined;
	stand.commit.noteChange();
	await stand.commit.checkpoint();
	t.not(stand.commit.superblock.rekeyingVba, 5);
});

test('an edit that is secured has happened, whatever fails after it', async t => {
	const stand = await setUp();
	stand.before = event => {
		if (event === 'advance') {
			throw new SessionError('device_failed', 'the pool failed');
		}
	};
	await t.notThrowsAsync(stand.commit.checkpointWith({kind: 'rekey', rekeyingVba: 5}));
	t.is(stand.commit.superblock.rekeyingVba, 5);
});

test('blocks of a log that cannot be written any more count until a superblock is anchored', async t => {
	const stand = await setUp({hasLog: true});
	stand.commit.useFlushKey(new Uint8Array(32));
	stand.commit.noteChange();
	await stand.commit.flush();
	t.deepEqual([stand.commit.flushCount, stand.commit.usedLogBlockCount], [1, 1]);
	const used: string[] = [];
	stand.before = event => {
		if (event !== 'log') {
			used.push(`${event}: ${stand.commit.usedLogBlockCount}`);
		}

		if (used.length === 1) {
			throw new SessionError('device_failed', 'bad sector');
		}
	};
	stand.giveChange();
	stand.commit.noteChange();
	await stand.commit.flush();
	t.regex(used[0], /^write \d{2,}: 1$/);
	t.deepEqual(used.slice(1), [
		...['store', 'sync', 'intend', 'write 1', 'sync', 'secure'].map(event => `${event}: 1`),
		'advance: 0',
	]);
	stand.giveChange();
	stand.commit.noteChange();
	await stand.commit.flush();
	t.is(stand.commit.flushCount, 1);
});

test('changes that a failed write kept out of the log are not taken for durable: a superblock covers them', async t => {
	const stand = await setUp({hasLog: true});
	let storeFails = true;
	stand.before = event => {
		if (event.startsWith('write') && !stand.events.includes('store')) {
			throw new SessionError('no_space', 'full');
		}

		if (event === 'store' && storeFails) {
			storeFails = false;
			throw new SessionError('device_failed', 'the medium failed');
		}
	};
	stand.commit.noteChange();
	await t.throwsAsync(stand.commit.flush());
	t.true(stand.commit.isDue);
	storeFails = false;
	await stand.commit.flush();
	t.false(stand.commit.isDue);
	t.false(stand.commit.isBehind);
	t.is(stand.events.filter(event => event === 'log').length, 1);
});

for (const [what, failing, error] of [
	['the sync behind it fails', 'sync', new SessionError('device_failed', 'the medium failed')],
	['nobody says that no sync was tried', 'write', new Error('broken')],
] as const) {
	test(`a write to the log half-way: where ${what} only a reopening tells which state counts`, async t => {
		const stand = await setUp({hasLog: true});
		stand.before = event => {
			if (event.startsWith(failing)) {
				throw error;
			}
		};
		stand.commit.noteChange();
		await t.throwsAsync(stand.commit.flush(), {instanceOf: CommitInterrupted});
		stand.before = () => undefined;
		await t.throwsAsync(stand.commit.flush(), {instanceOf: CommitInterrupted});
		t.is(stand.anchored, undefined);
		t.false(stand.events.includes('store'));
	});
}

test('who waits for a commit while it holds what the commit needs is found at once', async t => {
	const {commit} = await setUp();
	commit.noteChange();
	await t.throwsAsync(
		commit.holdStill(async () => commit.checkpoint()),
		{instanceOf: LockOrderError, message: '"commit" is asked for by who holds "trees and superblock"'},
	);
	await commit.checkpoint();
	t.false(commit.isBehind);
});
