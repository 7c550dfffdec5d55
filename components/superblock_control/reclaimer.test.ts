import test from 'ava';
import type {Client} from '../../runtime/sdk/session.js';
import {TestEnvironment} from '../../test/support/test-environment.js';
import type {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import {Reclaimer} from './reclaimer.js';
import type {Commit} from './commit.js';

type Remainder = 'nothing' | 'more' | 'unsecured';

/** A device that replies as told, and remembers what it was asked. */
function stand(replies: Remainder[]) {
	const env = new TestEnvironment();
	const asked: Array<{lastSecuredGeneration: number; snapshotGone: number | null}> = [];
	const superblock = {lastSecuredGeneration: 1, snapshots: []};
	const device = {
		async reclaim(request: {lastSecuredGeneration: number; snapshotGone: number | null}) {
			asked.push(request);
			const remainder = replies.shift();
			if (!remainder) {
				throw new Error('the medium is gone');
			}

			return {remainder};
		},
	} as unknown as Client<typeof virtualBlockDevice>;
	return {
		env,
		asked,
		superblock,
		reclaimer: new Reclaimer(device, {superblock} as unknown as Commit, {env, endLeaf: () => 96}),
	};
}

async function settle(): Promise<void> {
	for (let turn = 0; turn < 5; turn++) {
		await new Promise<void>(resolve => {
			setImmediate(resolve);
		});
	}
}

test('nothing is asked for where nothing was cleared', async t => {
	const {asked, reclaimer} = stand([]);
	reclaimer.noteSecured();
	await settle();
	t.deepEqual(asked, []);
});

test('it begins with the checkpoint after a clearing, and goes on until there is no more', async t => {
	const {env, asked, reclaimer} = stand(['more', 'more', 'nothing']);
	reclaimer.noteCleared();
	await settle();
	t.is(asked.length, 0);
	reclaimer.noteSecured();
	for (let step = 0; step < 3; step++) {
		await settle();
		env.advance(0);
	}

	t.deepEqual(
		asked,
		Array.from({length: 3}, () => ({lastSecuredGeneration: 1, snapshots: [], snapshotGone: null, endLeaf: 96})),
	);
	reclaimer.noteSecured();
	await settle();
	t.is(asked.length, 3);
});

test('what was not secured is asked for after the next checkpoint', async t => {
	const {env, asked, superblock, reclaimer} = stand(['unsecured', 'nothing']);
	reclaimer.noteCleared();
	reclaimer.noteSecured();
	await settle();
	env.advance(0);
	await settle();
	superblock.lastSecuredGeneration = 2;
	reclaimer.noteSecured();
	await settle();
	t.deepEqual(
		asked.map(({lastSecuredGeneration}) => lastSecuredGeneration),
		[1, 2],
	);
});

test('what is cleared and secured in a pause between steps is not forgotten', async t => {
	const {env, asked, reclaimer} = stand(['nothing', 'nothing']);
	reclaimer.noteCleared();
	reclaimer.noteSecured();
	await settle();
	t.is(env.sleeperCount, 1);
	reclaimer.noteCleared();
	reclaimer.noteSecured();
	env.advance(0);
	await settle();
	t.is(asked.length, 2);
});

test('snapshots that are gone are said once', async t => {
	const {env, asked, reclaimer} = stand(['more', 'nothing']);
	reclaimer.noteSnapshotGone(5);
	reclaimer.noteSnapshotGone(7);
	await settle();
	env.advance(0);
	await settle();
	t.deepEqual(
		asked.map(({snapshotGone}) => snapshotGone),
		[5, 7],
	);
});

test('a failure is logged, and stopping ends it without a pause', async t => {
	const {env, asked, reclaimer} = stand(['more', 'more', 'nothing']);
	reclaimer.noteCleared();
	const stopping = reclaimer.stop();
	await stopping;
	t.is(asked.length, 3);
	reclaimer.noteCleared();
	reclaimer.noteSecured();
	await settle();
	t.regex(env.logged[0].text, /giving spare blocks back to the medium stopped: the medium is gone/);
});
