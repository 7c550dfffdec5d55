/**
 * Containers in which the original went to a limit or did something wrong: what they hold is read, and kept through
 * everything.
 */
import {createHash} from 'node:crypto';
import test, {type ExecutionContext} from 'ava';
import cbeCheck from '../../components/cbe_check/component.js';
import cryptoOpenssl from '../../components/crypto_openssl/component.js';
import {block} from '../../components/sessions/block.js';
import {deviceControl} from '../../components/sessions/device-control.js';
import {trustAnchor} from '../../components/sessions/trust-anchor.js';
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import type {Assembly} from '../support/assembly.js';
import {temporaryDirectory} from '../support/component-stand.js';
import {
	goldenNames,
	loadGoldenContent,
	specialGoldenNames,
	unreadable,
	type GoldenContent,
	type GoldenName,
	type SpecialGoldenName,
} from '../support/golden.js';
import {differences, finished, inspectMedium, openDevice, readsOf, writeAnchor} from './golden-device.js';
import {MemoryAnchor} from '../support/memory-anchor.js';
import {MemoryMedium} from '../support/memory-medium.js';
import {runTool} from '../support/tool-run.js';
import {dataOf} from './content.js';

interface Stand {
	readonly medium: MemoryMedium;
	readonly description: GoldenContent;
	open(config?: Record<string, string>): Promise<Assembly>;
}

function standOn(name: GoldenName | SpecialGoldenName): Stand {
	const {image, description} = loadGoldenContent(name);
	const medium = new MemoryMedium(image, {growable: true});
	const stateDirectory = temporaryDirectory();
	writeAnchor(stateDirectory, description.trust_anchor);
	return {
		medium,
		description,
		open: async controlConfig =>
			openDevice(medium, stateDirectory, {
				passphrase: description.trust_anchor.passphrase,
				crypto: cryptoOpenssl,
				controlConfig,
			}),
	};
}

function hashOf(data: Uint8Array): string {
	return createHash('sha256').update(data).digest('hex');
}

/** Every block of every snapshot reads as the description says, or fails where that says so. */
async function requireSnapshots(
	t: ExecutionContext,
	assembly: Assembly,
	{description: {snapshots}}: Stand,
	when: string,
): Promise<void> {
	for (const {gen, leaves, vba_sha256: listed, keep, is_current: isCurrent} of snapshots) {
		if (keep && !isCurrent) {
			t.deepEqual(
				await differences(readsOf(assembly).snapshot(gen), leaves, listed),
				[],
				`snapshot ${gen} ${when}`,
			);
		}
	}
}

async function requireCurrent(
	t: ExecutionContext,
	assembly: Assembly,
	{description: {snapshots}}: Stand,
	when: string,
): Promise<void> {
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
	t.regex(
		first.log.map(({text}) => text).join('\n'),
		/data block at PBA 51 \(level 0, VBA 39 of snapshots 5, 4, 3\) does not match .* stays unreadable/,
	);
	t.regex(
		first.log.map(({text}) => text).join('\n'),
		/the rekeying finished; 1 block was unreadable before and stays so/,
	);
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
	// The original let snapshot 6 have blocks that are newer than itself.
	for (let i = 0; i < 200; i++) {
		await device.write({extents: [i % leaves, 1], data: dataOf([1000 + i])});
		await device.sync({});
	}

	await requireSnapshots(t, assembly, stand, 'after many writes');
	await assembly.stop();
	t.deepEqual(assembly.bugs, []);
});

/** VBAs of a snapshot that were written before the rekeying lost their key, or after it has passed them. */
function withoutLost(
	{vba_sha256: listed}: GoldenContent['snapshots'][number],
	rekeyingVba: number,
): Record<string, string> {
	return Object.fromEntries(
		Object.entries(listed).map(([vba, hash]) => [vba, Number(vba) >= rekeyingVba ? unreadable : hash]),
	);
}

/** Everything below the rekeying VBA is there, everything from there on is lost, in all snapshots. */
async function requireSaved(
	t: ExecutionContext,
	assembly: Assembly,
	{description: {snapshots}}: Stand,
	when: string,
): Promise<void> {
	for (const snapshot of snapshots) {
		const read = snapshot.is_current ? readsOf(assembly).current : readsOf(assembly).snapshot(snapshot.gen);
		t.deepEqual(
			await differences(read, snapshot.leaves, withoutLost(snapshot, 33)),
			[],
			`snapshot ${snapshot.gen} ${when}`,
		);
	}
}

test('a rekeying whose old key was never stored is not resumed: what can be read is read, nothing is written, and all say why', async t => {
	const stand = standOn('d4_d_rekeying_head');
	const before = Buffer.from(stand.medium.image);
	const assembly = await stand.open();
	const device = assembly.client('control', block);
	const control = assembly.client('control', deviceControl);
	await requireSaved(t, assembly, stand, 'at first');
	t.false((await device.geometry({})).writable);
	for (const change of [device.write({extents: [0, 1], data: dataOf([1])}), device.clear({extents: [40, 1]})]) {
		t.is((await t.throwsAsync(change, {instanceOf: SessionError})).code, 'read_only');
	}

	for (const change of [
		control.rekey({}),
		control.create_snapshot({}),
		control.discard_snapshot({generation: 2}),
		control.revert_snapshot({generation: 2}),
		control.extend({tree: 'ft', blockCount: 100}),
	]) {
		const error = await t.throwsAsync(change, {instanceOf: SessionError});
		t.is(error.code, 'refused');
		t.regex(error.message, /read-only: copy what can be read/);
	}

	await device.sync({});
	t.regex((await control.status({})).restriction ?? '', /blocks from VBA 33 on.* cannot be decrypted.* read-only/);
	t.true(assembly.log.some(({text, level}) => level === 'error' && /never stored/.test(text)));
	await assembly.stop();
	t.deepEqual(assembly.bugs, []);
	t.true(stand.medium.image.equals(before), 'nothing was written');
	const {exitValue, log} = await runTool(cbeCheck, {
		medium: stand.medium,
		anchor: new MemoryAnchor({
			secured: {
				hash: Buffer.from(stand.description.trust_anchor.superblock_hash_file, 'hex'),
				generation: null,
				creating: false,
			},
		}),
	});
	t.is(exitValue, -1);
	t.deepEqual(
		log.filter(({level}) => level === 'error').map(({text}) => text.replace(/.*what was written to/, '')),
		[' VBAs 33 to 36, 60 to 66, 117 to 119, in snapshots too, cannot be decrypted'],
	);
});

test('such a rekeying is ended on demand: what was lost stays unreadable until it is written, and the device can be written again', async t => {
	const stand = standOn('d4_d_rekeying_head');
	const first = await stand.open({give_up_lost_blocks: 'yes'});
	await finished(first);
	await requireSaved(t, first, stand, 'after the end');
	const device = first.client('control', block);
	t.true((await device.geometry({})).writable);
	t.is((await first.client('control', deviceControl).status({})).restriction, undefined);
	t.true(
		first.log.some(({text}) => /the rekeying finished; \d+ blocks were unreadable before and stay so/.test(text)),
	);
	const data = dataOf([5]);
	await device.write({extents: [119, 1], data});
	await first.stop();
	t.deepEqual(first.bugs, []);
	const second = await stand.open();
	const current = stand.description.snapshots.find(({is_current: isCurrent}) => isCurrent)!;
	t.deepEqual(
		await differences(readsOf(second).current, current.leaves, {...withoutLost(current, 33), 119: hashOf(data)}),
		[],
	);
	await second.stop();
});

test('with all snapshot slots kept nothing is acknowledged that cannot be secured; discarding a snapshot helps', async t => {
	const stand = standOn('o_snaps48');
	const first = await stand.open();
	const device = first.client('control', block);
	const control = first.client('control', deviceControl);
	for (const change of [device.write({extents: [0, 1], data: dataOf([1])}), device.clear({extents: [1, 1]})]) {
		const error = await t.throwsAsync(change, {instanceOf: SessionError});
		t.is(error.code, 'no_space');
		t.regex(error.message, /snapshot discard/);
	}

	for (const change of [
		control.rekey({}),
		control.revert_snapshot({generation: 5}),
		control.extend({tree: 'vbd', blockCount: 100}),
	]) {
		t.is((await t.throwsAsync(change, {instanceOf: SessionError})).code, 'refused');
	}

	await device.sync({});
	t.regex((await control.status({})).restriction ?? '', /all 48 snapshot slots/);
	await requireSnapshots(t, first, stand, 'before');
	await control.discard_snapshot({generation: 7});
	t.is((await control.status({})).restriction, undefined);
	const data = dataOf([3]);
	await device.write({extents: [0, 1], data});
	await device.sync({});
	t.is((await t.throwsAsync(control.create_snapshot({}), {instanceOf: SessionError})).code, 'refused');
	await first.stop();
	t.deepEqual(first.bugs, []);

	const second = await stand.open();
	const left = {
		...stand,
		description: {...stand.description, snapshots: stand.description.snapshots.filter(({gen}) => gen !== 7)},
	};
	await requireSnapshots(t, second, left, 'after the discard and a write');
	const current = stand.description.snapshots.find(({is_current: isCurrent}) => isCurrent)!;
	t.deepEqual(
		await differences(readsOf(second).current, current.leaves, {...current.vba_sha256, 0: hashOf(data)}),
		[],
	);
	t.deepEqual(
		await differences(readsOf(second).snapshot(current.gen), current.leaves, current.vba_sha256),
		[],
		'the state that was kept',
	);
	await second.stop();
	t.deepEqual(second.bugs, []);
});

/** What has to happen before a container takes changes like any other. */
const preparations: Partial<
	Record<GoldenName | SpecialGoldenName, (control: Client<typeof deviceControl>) => Promise<unknown>>
> = {
	o_snaps48: async control => {
		for (const generation of [1, 2, 3]) {
			await control.discard_snapshot({generation});
		}
	},
};

const changedNames = [...goldenNames, ...specialGoldenNames].filter(name => name !== 'd4_d_rekeying_head');

for (const name of changedNames) {
	test(`${name} takes writes, a snapshot, a rekeying and extensions; all that was there is there after reopening`, async t => {
		const stand = standOn(name);
		const current = stand.description.snapshots.find(({is_current: isCurrent}) => isCurrent)!;
		const first = await stand.open();
		const device = first.client('control', block);
		const control = first.client('control', deviceControl);
		await finished(first);
		await requireSnapshots(t, first, stand, 'at first');
		await requireCurrent(t, first, stand, 'at first');
		await preparations[name]?.(control);
		const names = (await control.list_snapshots({})).snapshots.map(({generation}) => generation);
		await control.extend({tree: 'ft', blockCount: 700});
		await finished(first);
		const changed: Record<string, string> = {...current.vba_sha256};
		const write = async (stamp: number) => {
			for (let vba = stamp % 7; vba < current.leaves; vba += 7) {
				const data = dataOf([stamp + vba]);
				await device.write({extents: [vba, 1], data});
				changed[vba] = hashOf(data);
			}

			await device.sync({});
		};

		await write(1001);
		const {generation} = await control.create_snapshot({});
		const kept = {...changed};
		await write(2003);
		await control.rekey({});
		await finished(first);
		await control.extend({tree: 'vbd', blockCount: 100});
		await finished(first);
		await first.stop();
		t.deepEqual(first.bugs, []);

		const second = await stand.open();
		t.deepEqual(await differences(readsOf(second).current, current.leaves, changed), []);
		t.deepEqual(await differences(readsOf(second).snapshot(generation), current.leaves, kept), []);
		const left = {
			...stand,
			description: {
				...stand.description,
				snapshots: stand.description.snapshots.filter(({gen}) => names.includes(gen)),
			},
		};
		await requireSnapshots(t, second, left, 'at the end');
		const {secured} = await second.client('anchor', trustAnchor).status({});
		await second.stop();
		t.deepEqual(second.bugs, []);
		const {log} = await runTool(cbeCheck, {medium: stand.medium, anchor: new MemoryAnchor({secured})});
		const {problems, badData} = inspectMedium(stand.medium, secured!.hash);
		// The one block that the original has lost is in three snapshots.
		const isLost = name === 'o_rekeying_damaged';
		t.deepEqual(problems, []);
		t.deepEqual(
			badData.map(({vba, snapshot}) => `${vba} ${snapshot}`).sort(),
			isLost ? ['39 3', '39 4', '39 5'] : [],
		);
		t.deepEqual(
			log.filter(({level}) => level === 'error').map(({text}) => text.replace(/^PBA \d+ /, '')),
			isLost ? ['(snapshot 5, level 0, VBA 39): does not match the hash in its parent'] : [],
		);
	});
}
