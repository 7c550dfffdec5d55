/** The `crypto` contract, on every component that provides it. */
import {createHash, randomBytes} from 'node:crypto';
import test, {type ExecutionContext} from 'ava';
import {cipherNames, isAuthenticated, nonceLength, type CipherName} from '../../components/sessions/cipher.js';
import {crypto} from '../../components/sessions/crypto.js';
import {sealEnvelope} from '../../components/lib/crypto/key-envelope.js';
import type {Client} from '../../runtime/sdk/session.js';
import {LeasePool} from '../../runtime/transport/lease-pool.js';
import {providerNames} from '../support/component-folder.js';
import {TestEnvironment} from '../support/test-environment.js';
import {loadGolden} from '../support/golden.js';
import {startProvider} from '../support/providers.js';

const blockSize = 4096;
const blockKey = Buffer.from('60fe9b8dd81f40d12921e93669b9e226316469b8eb49fa9ec16b97cc65a373c3', 'hex');
const otherKey = Buffer.alloc(32, 9);
const names = providerNames('crypto_');

/** Payload comes from shared memory, as it does between components. */
const payload = new LeasePool(2 ** 30);

/** Ciphers that a provider has. */
function ciphersOf(name: string): CipherName[] {
	return cipherNames.filter(cipher => (cipher === 'none') === (name === 'crypto_none'));
}

/** Zeroed memory. */
function memory(length: number): Buffer {
	return payload.lease(length).bytes.fill(0);
}

type Crypto = Client<typeof crypto>;

/** Blocks at these addresses, each with a VBA and a generation of its own. */
function placed(addresses: number[]): {addresses: number[]; vbas: number[]; generations: number[]} {
	return {
		addresses,
		vbas: addresses.map(address => Math.abs(Math.trunc(address)) % 1000),
		generations: addresses.map(address => 1 + (Math.abs(Math.trunc(address)) % 7)),
	};
}

async function addKey(client: Crypto, keyId: number, cipher: CipherName, key = blockKey): Promise<void> {
	const {publicKey} = await client.recipient({});
	await client.add_key({keyId, cipher, envelope: sealEnvelope(key, publicKey, randomBytes)});
}

async function start(t: ExecutionContext, name: string) {
	// The same nonces every time, so that what is sealed twice can be compared.
	return startWith(
		t,
		name,
		new TestEnvironment({
			randomBytes: count => (count % nonceLength === 0 ? new Uint8Array(count).fill(0x5a) : randomBytes(count)),
		}),
	);
}

async function startWith(t: ExecutionContext, name: string, env: TestEnvironment) {
	const provider = await startProvider(name, crypto, {env});
	t.teardown(async () => provider.running.stop?.());
	return {env, ...provider, client: provider.connect()};
}

/** Bytes that differ from block to block and have no short period. */
function contentOf(blockCount: number): Buffer {
	const content = memory(blockCount * blockSize);
	for (let i = 0; i < content.length; i++) {
		content[i] = (i * 7 + (i >> 8) * 13 + (i >> 12) * 101) & 0xff;
	}

	return content;
}

function sha256(bytes: Uint8Array): string {
	return createHash('sha256').update(bytes).digest('hex');
}

async function seal(client: Crypto, keyId: number, addresses: number[], plain: Uint8Array) {
	const sealed = memory(plain.length);
	const {labels} = await client.seal({keyId, ...placed(addresses), plain: [plain], sealed});
	return {sealed, labels};
}

test('there are providers', t => {
	t.true(names.includes('crypto_openssl'));
	t.true(names.includes('crypto_noble'));
	t.true(names.includes('crypto_none'));
});

for (const cipher of cipherNames) {
	test(`${cipher}: all providers seal the same bytes, and open each other's`, async t => {
		const addresses = [8, 9, 2 ** 32 + 1, 4, 2 ** 40];
		const plain = contentOf(addresses.length);
		const results = [];
		for (const name of names.filter(candidate => ciphersOf(candidate).includes(cipher))) {
			const {client} = await start(t, name);
			await addKey(client, 1, cipher);
			results.push({client, ...(await seal(client, 1, addresses, plain))});
		}

		for (const {client} of results) {
			for (const {sealed, labels} of results) {
				const opened = memory(plain.length);
				t.deepEqual(await client.open({keyId: 1, ...placed(addresses), labels, sealed, plain: [opened]}), {
					mismatched: [],
				});
				t.true(opened.equals(plain));
				t.true(sealed.equals(results[0].sealed));
			}
		}
	});
}

for (const name of names) {
	const ciphers = ciphersOf(name);
	const [mainCipher] = ciphers.slice(-1);
	for (const cipher of ciphers.filter(candidate => !isAuthenticated(candidate))) {
		test(`${name}, ${cipher}: labels are the SHA-256 of what lies on the medium, which depends on key and place where it is encrypted`, async t => {
			const {client, bugs} = await start(t, name);
			await addKey(client, 1, cipher);
			await addKey(client, 2, cipher, otherKey);
			const plain = Buffer.alloc(2 * blockSize);
			const {sealed, labels} = await seal(client, 1, [5, 6], plain);
			t.is(Buffer.from(labels.subarray(32)).toString('hex'), sha256(sealed.subarray(blockSize)));
			if (cipher === 'none') {
				t.true(sealed.equals(plain));
			} else {
				t.notDeepEqual(sealed.subarray(0, blockSize), sealed.subarray(blockSize));
				t.notDeepEqual((await seal(client, 2, [5, 6], plain)).sealed, sealed);
			}

			t.deepEqual(bugs, []);
		});
	}

	for (const cipher of ciphers) {
		test(`${name}, ${cipher}: segments are one run of blocks, however they are cut`, async t => {
			const {client} = await start(t, name);
			await addKey(client, 1, cipher);
			// More than the work between two turns of the event loop.
			const blockCount = 300;
			const addresses = Array.from({length: blockCount}, (_value, i) => 1000 - i);
			const plain = contentOf(blockCount);
			const cut = [1, 2, 0, 40, 257].map(count => count * blockSize);
			const parts: Buffer[] = [];
			let offset = 0;
			for (const length of cut) {
				parts.push(plain.subarray(offset, offset + length));
				offset += length;
			}

			const sealed = memory(plain.length);
			const {labels} = await client.seal({keyId: 1, ...placed(addresses), plain: parts, sealed});
			const opened = memory(plain.length);
			const openedParts = [opened.subarray(0, 70 * blockSize), opened.subarray(70 * blockSize)];
			t.deepEqual(await client.open({keyId: 1, ...placed(addresses), labels, sealed, plain: openedParts}), {
				mismatched: [],
			});
			t.true(opened.equals(plain));
			const alone = await seal(client, 1, [addresses[299]], plain.subarray(299 * blockSize));
			t.true(alone.sealed.equals(sealed.subarray(299 * blockSize)));
		});
	}

	test(`${name}: blocks that do not match their label are listed and zeroed, the others opened`, async t => {
		const {client} = await start(t, name);
		await addKey(client, 1, mainCipher);
		const blockCount = 100;
		const addresses = Array.from({length: blockCount}, (_value, i) => i);
		const plain = contentOf(blockCount);
		const {sealed, labels} = await seal(client, 1, addresses, plain);
		const altered = [0, 31, 32, 50, 51, 99];
		for (const index of altered.slice(1)) {
			sealed[index * blockSize + (index % 2 ? 0 : blockSize - 1)] ^= 0x10;
		}

		labels[31] ^= 1;
		const opened = memory(plain.length).fill(0xee);
		t.deepEqual(await client.open({keyId: 1, ...placed(addresses), labels, sealed, plain: [opened]}), {
			mismatched: altered,
		});
		for (const index of altered) {
			plain.fill(0, index * blockSize, (index + 1) * blockSize);
		}

		t.true(opened.equals(plain));
	});

	if (ciphers.includes('aes-256-gcm')) {
		test(`${name}, aes-256-gcm: a block is bound to its place, its VBA, its generation and its key`, async t => {
			const {client} = await start(t, name);
			await addKey(client, 1, 'aes-256-gcm');
			await addKey(client, 2, 'aes-256-gcm');
			const place = {keyId: 1, addresses: [8], vbas: [3], generations: [5]};
			const plain = contentOf(1);
			const sealed = memory(blockSize);
			const {labels} = await client.seal({...place, plain: [plain], sealed});
			const opened = memory(blockSize);
			t.deepEqual(await client.open({...place, labels, sealed, plain: [opened]}), {mismatched: []});
			t.true(opened.equals(plain));
			for (const other of [
				{addresses: [9]},
				{vbas: [4]},
				{vbas: [3 + 2 ** 32]},
				{generations: [6]},
				{keyId: 2},
			]) {
				t.deepEqual(
					await client.open({...place, ...other, labels, sealed, plain: [opened]}),
					{mismatched: [0]},
					JSON.stringify(other),
				);
				t.true(opened.equals(Buffer.alloc(blockSize)));
			}

			// Every byte of the label counts.
			for (let i = 0; i < labels.length; i++) {
				const altered = Uint8Array.from(labels);
				altered[i] ^= 1;
				t.deepEqual(
					await client.open({...place, labels: altered, sealed, plain: [opened]}),
					{mismatched: [0]},
					`byte ${i}`,
				);
			}
		});

		test(`${name}, aes-256-gcm: no nonce comes twice, whatever is sealed, by whichever instance`, async t => {
			const nonces = new Set<string>();
			const count = 700;
			for (let instance = 0; instance < 2; instance++) {
				const {client} = await startWith(t, name, new TestEnvironment());
				await addKey(client, 1, 'aes-256-gcm');
				for (let round = 0; round < 2; round++) {
					const {labels} = await seal(
						client,
						1,
						Array.from({length: count}, () => 8),
						memory(count * blockSize),
					);
					for (let i = 0; i < count; i++) {
						nonces.add(Buffer.from(labels.subarray(i * 32 + 16, i * 32 + 28)).toString('hex'));
					}
				}
			}

			t.is(nonces.size, 4 * count);
		});
	}

	test(`${name}: a cipher that it does not have is refused, and replaces no key`, async t => {
		const {client, bugs} = await start(t, name);
		await addKey(client, 1, mainCipher);
		const before = await seal(client, 1, [1], contentOf(1));
		for (const cipher of cipherNames.filter(candidate => !ciphers.includes(candidate))) {
			const refused = await t.throwsAsync(addKey(client, 1, cipher, otherKey), {code: 'unsupported_cipher'});
			t.regex(
				refused.message,
				cipher === 'none'
					? /not encrypted .*route crypto to crypto_none/
					: new RegExp(`has cipher ${cipher} .*route crypto to crypto_openssl`),
			);
		}

		t.true((await seal(client, 1, [1], contentOf(1))).sealed.equals(before.sealed));
		t.deepEqual(bugs, []);
	});

	if (ciphers.includes('aes-256-cbc-essiv')) {
		test(`${name}: opens every block of the original's snapshots`, async t => {
			const {image, description} = loadGolden('d64_c_rekeyed');
			const {client} = await start(t, name);
			const {id, plain: key} = description.generated_block_keys[1];
			await addKey(client, id, 'aes-256-cbc-essiv', Buffer.from(key, 'hex'));
			const snapshot = description.snapshots.find(({is_current: current}) => current);
			if (!snapshot) {
				throw new Error('the golden container has no current snapshot');
			}

			let blockCount = 0;
			for (const [vba, expected] of Object.entries(snapshot.vba_sha256)) {
				let node: {pba: number; hash: Uint8Array} = {
					pba: snapshot.pba,
					hash: Buffer.from(snapshot.hash, 'hex'),
				};
				for (let level = snapshot.max_lvl; level > 0; level--) {
					const offset = node.pba * blockSize + ((Number(vba) >> (6 * (level - 1))) & 63) * 64;
					node = {pba: Number(image.readBigUInt64LE(offset)), hash: image.subarray(offset + 16, offset + 48)};
				}

				const opened = Buffer.alloc(blockSize);
				const sealed = image.subarray(node.pba * blockSize, (node.pba + 1) * blockSize);
				t.deepEqual(
					await client.open({keyId: id, ...placed([node.pba]), labels: node.hash, sealed, plain: [opened]}),
					{mismatched: []},
				);
				t.is(sha256(opened), expected, `VBA ${vba}`);
				const again = await seal(client, id, [node.pba], opened);
				t.true(again.sealed.equals(sealed), `VBA ${vba} sealed again`);
				blockCount++;
			}

			t.true(blockCount > 0);
		});
	}

	test(`${name}: vectors that do not fit each other are refused`, async t => {
		const {client, bugs} = await start(t, name);
		await addKey(client, 1, mainCipher);
		const block = () => Buffer.alloc(blockSize);
		const labels = new Uint8Array(32);
		const sealRequests = [
			{keyId: 1, ...placed([1]), plain: [block(), block()], sealed: block()},
			{keyId: 1, ...placed([1, 2]), plain: [block()], sealed: Buffer.alloc(2 * blockSize)},
			{keyId: 1, ...placed([1]), plain: [Buffer.alloc(1000), Buffer.alloc(3096)], sealed: block()},
			{keyId: 1, ...placed([-1]), plain: [block()], sealed: block()},
			{keyId: 1, ...placed([1.5]), plain: [block()], sealed: block()},
			{keyId: 1, ...placed([2 ** 53]), plain: [block()], sealed: block()},
			{keyId: 1, ...placed([]), plain: [], sealed: Buffer.alloc(1)},
		];
		for (const request of sealRequests) {
			await t.throwsAsync(client.seal(request), {code: 'bad_request'});
			await t.throwsAsync(client.open({...request, labels}), {code: 'bad_request'});
		}

		await t.throwsAsync(
			client.open({keyId: 1, ...placed([1]), labels: new Uint8Array(31), sealed: block(), plain: [block()]}),
			{code: 'bad_request'},
		);
		t.is((await client.seal({keyId: 1, ...placed([]), plain: [], sealed: Buffer.alloc(0)})).labels.length, 0);
		t.deepEqual(bugs, []);
	});

	test(`${name}: a request waits for its key, but not for ever`, async t => {
		const {client, env} = await start(t, name);
		const early = seal(client, 1, [1], contentOf(1));
		await addKey(client, 1, mainCipher);
		t.deepEqual((await early).sealed, (await seal(client, 1, [1], contentOf(1))).sealed);

		const late = t.throwsAsync(seal(client, 2, [1], contentOf(1)), {code: 'unknown_key'});
		await addKey(client, 3, mainCipher);
		env.advance(5000);
		await late;
	});

	test(`${name}: keys end with remove_key, with the session that added them, and with the server`, async t => {
		const {client, connect, running, env} = await start(t, name);
		const owner = connect({session: 77});
		const expectUnknown = async () => {
			const refused = t.throwsAsync(seal(client, 1, [1], contentOf(1)), {code: 'unknown_key'});
			// The call gets as far as its sleep within the next turns.
			while (env.sleeperCount === 0) {
				await new Promise(resolve => {
					setImmediate(resolve);
				});
			}

			env.advance(5000);
			await refused;
		};

		await addKey(owner, 1, mainCipher);
		await seal(client, 1, [1], contentOf(1));
		await owner.remove_key({keyId: 1});
		await owner.remove_key({keyId: 1});
		await expectUnknown();

		await addKey(owner, 1, mainCipher);
		await client.remove_key({keyId: 1});
		await seal(client, 1, [1], contentOf(1));
		running.clientGone?.('crypto', 77);
		await expectUnknown();

		await addKey(owner, 1, mainCipher);
		await running.stop?.();
		await expectUnknown();
	});

	test(`${name}: a key removed in the middle of a batch serves it to its end`, async t => {
		const {client} = await start(t, name);
		await addKey(client, 1, mainCipher);
		const addresses = Array.from({length: 600}, (_value, i) => i);
		const plain = contentOf(600);
		const whole = await seal(client, 1, addresses, plain);
		const running = seal(client, 1, addresses, plain);
		await client.remove_key({keyId: 1});
		t.true((await running).sealed.equals(whole.sealed));
	});

	test(`${name}: a client may replace its key, but not the one of another`, async t => {
		const {client, connect} = await start(t, name);
		await addKey(client, 1, mainCipher);
		const first = await seal(client, 1, [1], contentOf(1));
		const stranger = connect({client: 'other_device'});
		await addKey(stranger, 1, mainCipher);
		const refused = await t.throwsAsync(addKey(stranger, 1, mainCipher, otherKey), {code: 'bad_request'});
		t.regex(refused.message, /"client".*crypto server of its own/);
		t.deepEqual((await seal(client, 1, [1], contentOf(1))).sealed, first.sealed);

		const {client: alone} = await start(t, name);
		await addKey(alone, 1, mainCipher, otherKey);
		await addKey(alone, 1, mainCipher);
		t.deepEqual((await seal(alone, 1, [1], contentOf(1))).sealed, first.sealed);
	});

	test(`${name}: envelopes for others, and of no block key, are refused`, async t => {
		const {client} = await start(t, name);
		const {client: other} = await start(t, name);
		const {publicKey} = await client.recipient({});
		const envelope = sealEnvelope(blockKey, publicKey, randomBytes);
		await t.throwsAsync(other.add_key({keyId: 1, cipher: mainCipher, envelope}), {code: 'bad_envelope'});
		await t.throwsAsync(client.add_key({keyId: 1, cipher: mainCipher, envelope: envelope.subarray(1)}), {
			code: 'bad_envelope',
		});
		const short = sealEnvelope(blockKey.subarray(1), publicKey, randomBytes);
		await t.throwsAsync(client.add_key({keyId: 1, cipher: mainCipher, envelope: short}), {code: 'bad_envelope'});
		await t.throwsAsync(client.add_key({keyId: 0, cipher: mainCipher, envelope}), {code: 'bad_request'});
		await client.add_key({keyId: 1, cipher: mainCipher, envelope});
	});
}
