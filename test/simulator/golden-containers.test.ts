/** Containers of the original, opened, read, written and checked through the real components. */
import {createHash} from 'node:crypto';
import test from 'ava';
import cbeCheck from '../../components/cbe_check/component.js';
import cryptoNoble from '../../components/crypto_noble/component.js';
import cryptoOpenssl from '../../components/crypto_openssl/component.js';
import {block, blockSize} from '../../components/sessions/block.js';
import {deviceControl} from '../../components/sessions/device-control.js';
import {trustAnchor} from '../../components/sessions/trust-anchor.js';
import type {Client} from '../../runtime/sdk/session.js';
import type {Assembly} from '../support/assembly.js';
import {temporaryDirectory} from '../support/component-stand.js';
import {loadGolden} from '../support/golden.js';
import {differences, finished, openDevice, readsOf, soundContainerOf, writeAnchor} from './golden-device.js';
import {MemoryAnchor} from '../support/memory-anchor.js';
import {MemoryMedium} from '../support/memory-medium.js';
import {runTool} from '../support/tool-run.js';
import {dataOf, stampOf} from './content.js';
import {Random} from './random.js';

/** Writes some blocks at random, flushing now and then, and returns what was written. */
async function writeSome(
	device: Client<typeof block>,
	blockCount: number,
	random: Random,
): Promise<Map<number, number>> {
	const written = new Map<number, number>();
	for (let i = 1; i <= 60; i++) {
		const vba = random.below(blockCount);
		written.set(vba, i);
		await device.write({extents: [vba, 1], data: dataOf([i])});
		if (random.chance(0.2)) {
			await device.sync({});
		}
	}

	return written;
}

for (const name of ['d64_a_init', 'd64_b_snaps', 'd64_c_rekeyed', 'd64_e_extended'] as const) {
	for (const [cryptoName, crypto] of Object.entries({crypto_openssl: cryptoOpenssl, crypto_noble: cryptoNoble})) {
		test(`${name} of the original opens, reads back, takes writes and stays in order, with ${cryptoName}`, async t => {
			const {image, description} = loadGolden(name);
			const medium = new MemoryMedium(image);
			const stateDirectory = temporaryDirectory();
			writeAnchor(stateDirectory, description.trust_anchor);
			const {passphrase} = description.trust_anchor;
			const current = description.snapshots.find(snapshot => snapshot.is_current)!;
			const kept = description.snapshots.filter(({keep, is_current: isCurrent}) => keep && !isCurrent);

			const first = await openDevice(medium, stateDirectory, {passphrase, crypto});
			const reads = readsOf(first);
			t.deepEqual(await differences(reads.current, current.leaves, current.vba_sha256), []);
			for (const {gen, leaves, vba_sha256: listed} of kept) {
				t.deepEqual(await differences(reads.snapshot(gen), leaves, listed), [], `snapshot ${gen}`);
			}

			const written = await writeSome(first.client('control', block), current.leaves, new Random(7));
			await first.stop();
			t.deepEqual(first.bugs, []);

			const second = await openDevice(medium, stateDirectory, {passphrase, crypto});
			const data = Buffer.alloc(blockSize);
			const listedNow = {...current.vba_sha256};
			for (const [vba, stamp] of written) {
				await readsOf(second).current(vba, data);
				t.is(stampOf(data), stamp);
				listedNow[vba] = createHash('sha256').update(data).digest('hex');
			}

			t.deepEqual(await differences(readsOf(second).current, current.leaves, listedNow), []);
			for (const {gen, leaves, vba_sha256: listed} of kept) {
				t.deepEqual(
					await differences(readsOf(second).snapshot(gen), leaves, listed),
					[],
					`snapshot ${gen} after the writes`,
				);
			}

			const {secured} = await second.client('anchor', trustAnchor).status({});
			await second.stop();
			const {exitValue, message, log} = await runTool(cbeCheck, {medium, anchor: new MemoryAnchor({secured})});
			t.is(exitValue, 0, [message, ...log.map(({text}) => text)].join('\n'));
		});
	}
}

for (const name of ['d64_d_rekeying_fixed', 'd64_f_extending_vbd', 'd64_g_extending_ft'] as const) {
	test(`${name} of the original opens in the middle of its operation and ends it; all contents are right before and after`, async t => {
		const {image, description} = loadGolden(name);
		const medium = new MemoryMedium(image, {growable: true});
		const stateDirectory = temporaryDirectory();
		writeAnchor(stateDirectory, description.trust_anchor);
		const {passphrase} = description.trust_anchor;
		const current = description.snapshots.find(snapshot => snapshot.is_current)!;
		const kept = description.snapshots.filter(({keep, is_current: isCurrent}) => keep && !isCurrent);
		const requireContents = async (assembly: Assembly, when: string) => {
			const {blockCount} = await assembly.client('control', block).geometry({});
			t.true(blockCount >= current.leaves);
			t.deepEqual(await differences(readsOf(assembly).current, blockCount, current.vba_sha256), [], when);
			for (const {gen, leaves, vba_sha256: listed} of kept) {
				t.deepEqual(
					await differences(readsOf(assembly).snapshot(gen), leaves, listed),
					[],
					`snapshot ${gen} ${when}`,
				);
			}
		};

		const first = await openDevice(medium, stateDirectory, {passphrase, crypto: cryptoOpenssl});
		await requireContents(first, 'while it goes on');
		await finished(first);
		await requireContents(first, 'at its end');
		const {state, blockCount} = await first.client('control', deviceControl).status({});
		t.is(state, 'normal');
		await first.stop();
		t.deepEqual(first.bugs, []);

		const {superblock} = await soundContainerOf(medium, stateDirectory, passphrase);
		t.is(superblock.pbaCount, description.superblock.nr_of_pbas + description.superblock.resizing_nr_of_pbas);
		t.is(superblock.previousKey, undefined);
		t.true(name === 'd64_f_extending_vbd' ? blockCount > current.leaves : blockCount === current.leaves);
		t.true(
			name === 'd64_g_extending_ft'
				? superblock.freeTree.leafCount > description.superblock.free_tree.leaves
				: superblock.freeTree.leafCount === description.superblock.free_tree.leaves,
		);
		const second = await openDevice(medium, stateDirectory, {passphrase, crypto: cryptoOpenssl});
		await requireContents(second, 'after reopening');
		await second.stop();
	});
}

/**
 * What the original's checker demands of the bytes, beside hashes and owners, which cbe_check demands, too (format
 * section 2).
 */
function strayBytes(image: Buffer, slot: number): string[] {
	const superblock = image.subarray(slot * blockSize, (slot + 1) * blockSize);
	const found: string[] = [];
	const requireZero = (bytes: Buffer, what: string) => {
		if (bytes.some(byte => byte !== 0)) {
			found.push(`${what} should be zero`);
		}
	};

	const unusedSnapshot =
		'00'.repeat(32) + 'ff'.repeat(16) + '0000000100000000' + '05000000' + '00' + 'ffffffff' + '00' + '00'.repeat(6);
	requireZero(superblock.subarray(3713), 'the end of the superblock');
	for (let i = 0; i < 48; i++) {
		const snapshot = superblock.subarray(97 + i * 72, 97 + (i + 1) * 72);
		if (snapshot[60] > 1 || snapshot[65] > 1) {
			found.push(`snapshot slot ${i}: a boolean is neither 0 nor 1`);
		}

		if (snapshot[60] === 0 && snapshot.toString('hex') !== unusedSnapshot) {
			found.push(`snapshot slot ${i}: ${snapshot.toString('hex')} is no unused slot`);
		}

		if (snapshot[60] === 1) {
			requireZero(snapshot.subarray(61, 65), `id of snapshot slot ${i}`);
			requireZero(snapshot.subarray(66), `end of snapshot slot ${i}`);
			found.push(
				...strayNodes(image, {
					pba: Number(snapshot.readBigUInt64LE(32)),
					level: snapshot.readUInt32LE(56),
					isPool: false,
				}),
			);
		}
	}

	for (const offset of [3585, 3649]) {
		found.push(
			...strayNodes(image, {
				pba: Number(superblock.readBigUInt64LE(offset + 8)),
				level: superblock.readUInt32LE(offset + 48),
				isPool: true,
			}),
		);
	}

	return found;
}

function strayNodes(image: Buffer, {pba, level, isPool}: {pba: number; level: number; isPool: boolean}): string[] {
	const found: string[] = [];
	for (let index = 0; index < 64; index++) {
		const node = image.subarray(pba * blockSize + index * 64, pba * blockSize + (index + 1) * 64);
		if (
			isPool && level === 1
				? node[36] > 1 || node.subarray(37).some(byte => byte !== 0)
				: node.subarray(48).some(byte => byte !== 0)
		) {
			found.push(`node ${index} of PBA ${pba}: ${node.toString('hex')}`);
		}

		const child = Number(node.readBigUInt64LE(0));
		if (level > 1 && child !== 0) {
			found.push(...strayNodes(image, {pba: child, level: level - 1, isPool}));
		}
	}

	return found;
}

test("a container in the original's form has nothing that the original would reject, after all that can be done to it", async t => {
	const {image, description} = loadGolden('d64_b_snaps');
	const medium = new MemoryMedium(image, {growable: true});
	const stateDirectory = temporaryDirectory();
	writeAnchor(stateDirectory, description.trust_anchor);
	const {passphrase} = description.trust_anchor;
	const assembly = await openDevice(medium, stateDirectory, {passphrase, crypto: cryptoOpenssl});
	const device = assembly.client('control', block);
	const control = assembly.client('control', deviceControl);
	const random = new Random(11);
	await writeSome(device, 200, random);
	const {generation} = await control.create_snapshot({});
	await device.clear({extents: [10, 60]});
	await writeSome(device, 200, random);
	await control.revert_snapshot({generation});
	await control.rekey({});
	await writeSome(device, 200, random);
	await finished(assembly);
	await control.extend({tree: 'ft', blockCount: 300});
	await finished(assembly);
	await control.extend({tree: 'vbd', blockCount: 700});
	await finished(assembly);
	const {blockCount} = await device.geometry({});
	const written = await writeSome(device, blockCount, random);
	await device.clear({extents: [0, 5]});
	await control.discard_snapshot({generation});
	await control.rekey({});
	await finished(assembly);
	await assembly.stop();
	t.deepEqual(assembly.bugs, []);

	const {slot, superblock} = await soundContainerOf(medium, stateDirectory, passphrase);
	t.is(superblock.cipher, 'aes-256-cbc-essiv');
	t.is(superblock.state, 'normal');
	t.is(superblock.currentKey.id, 3);
	t.deepEqual(strayBytes(medium.image, slot), []);
	t.true(written.size > 0);
});
