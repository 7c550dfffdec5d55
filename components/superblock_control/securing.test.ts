import test from 'ava';
import {SessionError} from '../../runtime/sdk/session.js';
import {layOutPool} from '../../test/support/pool-layout.js';
import {labelOf} from '../container/label.js';
import {decodeSuperblock, encodeSuperblock, type Superblock} from '../container/superblock.js';
import {Securing, SecuringInterrupted, type SecuringServers} from './securing.js';

interface Stand {
	readonly securing: Securing;
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
	const superblock = hasLog ? {...fresh, cipher: 'aes-256-xts' as const, containerId: new Uint8Array(16), pbaCount: fresh.pbaCount + 4, flushLog: {firstPba: fresh.pbaCount, blockCount: 4}} : fresh;
	/** What the device has not named in a log yet. */
	let pending = [3];
	const stand: Stand = {events: [], slots: new Map(), before: () => undefined, giveChange: () => void pending.push(4), anchored: undefined} as unknown as Stand;
	const note = async (event: string): Promise<void> => {
		stand.events.push(event);
		await stand.before(event);
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
				return {tree: {root, leafCount, maxLevel, degree: superblock.degree}, freeTree: superblock.freeTree, metaTree: superblock.metaTree, snapshots: [], storedBlockCount: 0};
			},
		},
		block: {
			async sync() {
				await note('sync');
				return {};
			},
			async write({extents, data}: {extents: number[]; data: Uint8Array}) {
				await note(`write ${extents[0]}`);
				stand.slots.set(extents[0], Uint8Array.from(data));
				return {};
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
	} as unknown as SecuringServers;
	return Object.assign(stand, {securing: new Securing(servers, {superblock, slot: 0, anchoredHash: labelOf(encodeSuperblock(superblock)), currentGeneration: 1})});
}

const sequence = (slot: number): string[] => ['store', 'sync', 'intend', `write ${slot}`, 'sync', 'secure', 'advance'];

test('a securing goes through blocks, sync and announcement, superblock, sync, trust anchor', async t => {
	const stand = await setUp();
	stand.securing.noteChange();
	await stand.securing.flush();
	t.deepEqual(stand.events, sequence(1));
	t.deepEqual(Buffer.from(stand.anchored!), labelOf(stand.slots.get(1)!));
	t.is(decodeSuperblock(stand.slots.get(1)!).lastSecuredGeneration, 1);
	t.is(stand.securing.currentGeneration, 2);
});

test('without a change nothing is secured', async t => {
	const stand = await setUp();
	await stand.securing.flush();
	t.deepEqual(stand.events, []);
});

test('each securing takes the next slot, round and round', async t => {
	const stand = await setUp();
	for (let i = 0; i < 9; i++) {
		stand.securing.noteChange();
		await stand.securing.flush();
	}

	t.deepEqual(stand.events.filter(event => event.startsWith('write')), [1, 2, 3, 4, 5, 6, 7, 0, 1].map(slot => `write ${slot}`));
});

test('flushes at the same time share one securing', async t => {
	const {securing, events} = await setUp();
	securing.noteChange();
	await Promise.all([securing.flush(), securing.flush(), securing.flush()]);
	t.deepEqual(events, sequence(1));
});

test('a change during a securing is secured by the next one, that all late flushes share', async t => {
	const stand = await setUp();
	let late: Array<Promise<void>> = [];
	stand.before = event => {
		if (event === 'write 1') {
			stand.securing.noteChange();
			late = [stand.securing.flush(), stand.securing.flush()];
		}
	};
	stand.securing.noteChange();
	await stand.securing.flush();
	await Promise.all(late);
	t.deepEqual(stand.events, [...sequence(1), ...sequence(2)]);
});

test('a change of the superblock that comes while trees are stored is of the next state', async t => {
	const stand = await setUp();
	let edited: Promise<void> | undefined;
	stand.before = event => {
		if (event === 'store' && !edited) {
			// What was acknowledged just before, and is not in these trees any more, has to be in the state that a snapshot keeps.
			stand.securing.noteChange();
			edited = stand.securing.edit(superblock => ({...superblock, snapshots: superblock.snapshots.map(snapshot => snapshot && {...snapshot, keep: true})}));
		}
	};
	stand.securing.noteChange();
	await stand.securing.flush();
	await edited;
	t.deepEqual(stand.events, [...sequence(1), ...sequence(2)]);
	const keptIn = (slot: number): boolean[] => decodeSuperblock(stand.slots.get(slot)!).snapshots.flatMap(snapshot => snapshot ? [snapshot.keep] : []);
	t.true(keptIn(1).every(keep => !keep), `${keptIn(1).length} snapshots`);
	t.true(keptIn(2).some(Boolean));
	t.is(stand.securing.upcoming, stand.securing.latest);
});

test('two securings never run at the same time, whenever the second is asked for', async t => {
	for (let delay = 0; delay < 12; delay++) {
		const stand = await setUp();
		let last: Promise<void> | undefined;
		let queued: Promise<void> | undefined;
		stand.before = event => {
			if (event === 'write 1') {
				stand.securing.noteChange();
				queued = stand.securing.flush();
			}

			if (event === 'advance' && !last) {
				last = (async () => {
					// Comes so many turns of the promise queue after the first securing's last reply.
					for (let i = 0; i < delay; i++) {
						await Promise.resolve();
					}

					stand.securing.noteChange();
					await stand.securing.flush();
				})();
			}
		};
		stand.securing.noteChange();
		await stand.securing.flush();
		await queued;
		await last;
		const count = stand.events.filter(event => event === 'store').length;
		t.deepEqual(stand.events, Array.from({length: count}, (_, i) => sequence(i + 1)).flat(), `${delay} turns later`);
	}
});

test('a failure to store leaves everything as it was: the flush fails, the next one secures', async t => {
	const stand = await setUp();
	stand.before = event => {
		if (event === 'store') {
			throw new SessionError('device_failed', 'the medium failed');
		}
	};
	stand.securing.noteChange();
	await t.throwsAsync(stand.securing.flush(), {instanceOf: SessionError, message: 'the medium failed'});
	t.true(stand.securing.isDue);
	t.is(stand.securing.currentGeneration, 1);
	stand.before = () => undefined;
	await stand.securing.flush();
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
		stand.securing.noteChange();
		await t.throwsAsync(stand.securing.flush(), {instanceOf: SecuringInterrupted, message: /securing generation 1 failed: it failed/});
		t.is(stand.anchored, undefined);

		// A sync that succeeds after a failed one must not be trusted with what was written before.
		stand.before = () => undefined;
		const eventCount = stand.events.length;
		stand.securing.noteChange();
		await t.throwsAsync(stand.securing.flush(), {instanceOf: SecuringInterrupted});
		t.is(stand.events.length, eventCount);
	});
}

test('an edit of the superblock is secured with it, or has not happened', async t => {
	const stand = await setUp();
	await stand.securing.edit(superblock => ({...superblock, rekeyingVba: 5}));
	t.is(decodeSuperblock(stand.slots.get(1)!).rekeyingVba, 5);
	stand.before = event => {
		if (event === 'store') {
			throw new SessionError('device_failed', 'the medium failed');
		}
	};
	await t.throwsAsync(stand.securing.edit(superblock => ({...superblock, rekeyingVba: 6})));
	stand.before = () => undefined;
	await stand.securing.flush();
	t.is(stand.securing.superblock.rekeyingVba, 5);
});

test('an edit that came while the state was being taken has not happened where the next securing fails', async t => {
	const stand = await setUp();
	let edited: Promise<void> | undefined;
	stand.before = event => {
		if (event === 'store' && !edited) {
			edited = stand.securing.edit(superblock => ({...superblock, rekeyingVba: 5}));
			edited.catch(() => undefined);
		} else if (event === 'store') {
			throw new SessionError('device_failed', 'the medium failed');
		}
	};
	stand.securing.noteChange();
	await stand.securing.flush();
	await t.throwsAsync(edited ?? Promise.resolve(), {message: 'the medium failed'});
	t.not(decodeSuperblock(stand.slots.get(1)!).rekeyingVba, 5);
	stand.before = () => undefined;
	stand.securing.noteChange();
	await stand.securing.flush();
	t.not(stand.securing.superblock.rekeyingVba, 5);
});

test('an edit that is secured has happened, whatever fails after it', async t => {
	const stand = await setUp();
	stand.before = event => {
		if (event === 'advance') {
			throw new SessionError('device_failed', 'the pool failed');
		}
	};
	await t.notThrowsAsync(stand.securing.edit(superblock => ({...superblock, rekeyingVba: 5})));
	t.is(stand.securing.superblock.rekeyingVba, 5);
});

test('blocks of a log that cannot be written any more count until a superblock is anchored', async t => {
	const stand = await setUp({hasLog: true});
	stand.securing.useFlushKey(new Uint8Array(32));
	stand.securing.noteChange();
	await stand.securing.commit();
	t.deepEqual([stand.securing.loggedCount, stand.securing.usedLogBlockCount], [1, 1]);
	const used: string[] = [];
	stand.before = event => {
		if (event !== 'log') {
			used.push(`${event}: ${stand.securing.usedLogBlockCount}`);
		}

		if (used.length === 1) {
			throw new SessionError('device_failed', 'bad sector');
		}
	};
	stand.giveChange();
	stand.securing.noteChange();
	await stand.securing.commit();
	t.regex(used[0], /^write \d{2,}: 1$/);
	t.deepEqual(used.slice(1), [...['store', 'sync', 'intend', 'write 1', 'sync', 'secure'].map(event => `${event}: 1`), 'advance: 0']);
	stand.giveChange();
	stand.securing.noteChange();
	await stand.securing.commit();
	t.is(stand.securing.loggedCount, 1);
});

for (const [kind, error] of [['of the session', new SessionError('no_space', 'full')], ['of another kind', new Error('broken')]] as const) {
	test(`changes that a failed write (${kind}) kept out of the log are not taken for durable: a superblock covers them`, async t => {
		const stand = await setUp({hasLog: true});
		let storeFails = true;
		stand.before = event => {
			if (event.startsWith('write') && !stand.events.includes('store')) {
				throw error;
			}

			if (event === 'store' && storeFails) {
				storeFails = false;
				throw new SessionError('device_failed', 'the medium failed');
			}
		};
		stand.securing.noteChange();
		await t.throwsAsync(stand.securing.commit());
		t.true(stand.securing.isDue);
		storeFails = false;
		await stand.securing.commit();
		t.false(stand.securing.isDue);
		t.false(stand.securing.isBehind);
		t.is(stand.events.filter(event => event === 'log').length, 1);
	});
}
