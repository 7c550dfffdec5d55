import test from 'ava';
import {TestEnvironment} from '../../test/support/test-environment.js';
import type {Client} from '../../runtime/sdk/session.js';
import type {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import type {Commit} from './commit.js';
import {WrittenUsageCount} from './written-usage.js';

/** A device of which a count takes as long as the test wants. */
function stand() {
	const env = new TestEnvironment();
	const commit = {durableCount: 0, superblock: {snapshots: []}};
	const device = {usedCount: 0, isSlow: false};
	const client = {
		async count_written() {
			if (device.isSlow) {
				await new Promise(() => undefined);
			}

			return {usedCount: device.usedCount, sharedCount: 0, nextVba: null};
		},
	} as unknown as Client<typeof virtualBlockDevice>;
	const written = new WrittenUsageCount(client, commit as unknown as Commit, env);
	const ask = async () => {
		const asked = written.get();
		for (let turn = 0; turn < 10; turn++) {
			await new Promise<void>(resolve => {
				setImmediate(resolve);
			});
			env.advance(0);
		}

		env.advance(1000);
		return asked;
	};

	return {env, commit, device, ask};
}

test('while a count of a device that has been written since goes on, nothing is said of it', async t => {
	const {commit, device, ask} = stand();
	t.is((await ask())?.usedBlockCount, 0);
	Object.assign(commit, {durableCount: 1});
	Object.assign(device, {usedCount: 5, isSlow: true});
	t.is(await ask(), undefined);
});

test('a count of late is told while the next one goes on, an old one is not', async t => {
	const {env, commit, device, ask} = stand();
	device.usedCount = 7;
	t.is((await ask())?.usedBlockCount, 7);
	Object.assign(commit, {durableCount: 1});
	device.isSlow = true;
	t.is((await ask())?.usedBlockCount, 7);
	env.advance(61_000);
	t.is(await ask(), undefined);
});
