/** Containers in which the original went to a limit or did something wrong: what they hold is read, and kept through everything. */
import {createHash} from 'node:crypto';
import test, {type ExecutionContext} from 'ava';
import cryptoOpenssl from '../../components/crypto_openssl/component.js';
import {block} from '../../components/sessions/block.js';
import {deviceControl} from '../../components/sessions/device-control.js';
import type {Assembly} from '../support/assembly.js';
import {temporaryDirectory} from '../support/component-stand.js';
import {loadGoldenContent, type GoldenContent, type GoldenName, type SpecialGoldenName} from '../support/golden.js';
import {differences, finished, openDevice, readsOf, writeAnchor} from '../support/golden-device.js';
import {MemoryMedium} from '../support/memory-medium.js';
import {dataOf} from './content.js';

interface Stand {
	readonly medium: MemoryMedium;
	readonly description: GoldenContent;
	open(): Promise<Assembly>;
}

function standOn(name: GoldenName | SpecialGoldenName): Stand {
	const {image, description} = loadGoldenContent(name);
	const medium = new MemoryMedium(image, {growable: true});
	const stateDirectory = temporaryDirectory();
	writeAnchor(stateDirectory, description.trust_anchor);
	return {
		medium, description,
		open: async () => openDevice(medium, stateDirectory, {passphrase: description.trust_anchor.passphrase, crypto: cryptoOpenssl}),
	};
}

function hashOf(data: Uint8Array): string {
	return createHash('sha256').update(data).digest('hex');
}

/** Every block of every snapshot reads as the description says, or fails where that says so. */
async function requireSnapshots(t: ExecutionContext, assembly: Assembly, {description: {snapshots}}: Stand, when: string): Promise<void> {
	for (const {gen, leaves, vba_sha256: listed, keep, is_current: isCurrent} of snapshots) {
		if (keep && !isCurrent) {
			t.deepEqual(await differences(readsOf(assembly).snapshot(gen), leaves, listed), [], `snapshot ${gen} ${when}`);
		}
	}
}

async function requireCurrent(t: ExecutionContext, assembly: Assembly, {description: {snapshots}}: Stand, when: string): Promise<void> {
	const {leaves, vba_sha256: listed} = snapshots.find(({is_current: isCurrent}) => isCurrent)!;
	t.deepEqual(await differences(readsOf(assembly).current, leaves, listed), [], `the current state ${when}`);
}

test('a rekeying that meets a block which the original has damaged leaves it unreadable, says so, and rekeys the rest', async t => {
	const stand = standOn('o_rekeying_damaged');
	const first = await stand.open();
	await requireSnapshots(t, first, stand, 'while the rekeying goes on');
	await finished(first);
	await requireSnapshots(t, first, stand, 'after the rekeying');
	await requireCurrent(t, first, stand, 'after the rekeying');
	t.regex(first.log.map(({text}) => text).join('\n'), /data block at PBA 51 \(level 0, VBA 39 of snapshots 5, 4, 3\) does not match .* stays unreadable/);
	t.regex(first.log.map(({text}) => text).join('\n'), /the rekeying finished; 1 block was unreadable before and stays so/);
	await first.stop();
	t.deepEqual(first.bugs, []);
	const second = await stand.open();
	await requireSnapshots(t, second, stand, 'after reopening');
	await second.stop();
});

test('a check of the device in use looks at every reference, also at several to one place', async t => {
	const stand = standOn('o_rekeying_damaged');
	const assembly = await stand.open();
	await finished(assembly);
	const control = assembly.client('control', deviceControl);
	await control.check({});
	while ((await control.operations({})).check.phase !== 'idle') {
		await new Promise(resolve => {
			setTimeout(resolve, 10);
		});
	}

	t.is((await control.operations({})).check.lastResult, 'failed');
	t.true(assembly.log.some(({text}) => /snapshot 5: .* \(level 0, VBA 39\) does not match/.test(text)));
	await assembly.stop();
});

test('reverting to a snapshot takes its unreadable block over as unreadable; written anew, it is a block like others', async t => {
	const stand = standOn('o_rekeying_damaged');
	const assembly = await stand.open();
	await finished(assembly);
	await assembly.client('control', deviceControl).revert_snapshot({generation: 3});
	const {leaves, vba_sha256: listed} = stand.description.snapshots.find(({gen}) => gen === 3)!;
	t.deepEqual(await differences(readsOf(assembly).current, leaves, listed), []);
	const data = dataOf([77]);
	const device = assembly.client('control', block);
	await device.write({extents: [39, 1], data});
	await device.sync({});
	t.deepEqual(await differences(readsOf(assembly).current, leaves, {...listed, 39: hashOf(data)}), []);
	await assembly.stop();
	t.deepEqual(assembly.bugs, []);
});
