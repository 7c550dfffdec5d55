/**
 * Published vectors on the crypto servers. They are shorter than a block, and most come with keys that the servers
 * derive themselves. So they are run in three ways: where a mode's beginning does not depend on what follows, as the
 * beginning of a block; otherwise on the primitive that the server calls; and on a reference of our own, which then
 * says what whole blocks must be, through the session.
 */
import {createDecipheriv, createHash, randomBytes} from 'node:crypto';
import {gcm} from '@noble/ciphers/aes.js';
import test from 'ava';
import {SharingSuite} from '../../components/crypto_offload/shared-key.js';
import {NobleSuite} from '../../components/crypto_noble/noble-suite.js';
import {EvpSuite} from '../../components/lib/crypto/evp-suite.js';
import {loadLibcrypto, type Libcrypto} from '../../components/lib/crypto/libcrypto.js';
import {NodeSuite} from '../../components/lib/crypto/node-suite.js';
import {crypto} from '../../components/sessions/crypto.js';
import {gcmKeyInfo, xtsKeyInfo, type CipherName} from '../../components/sessions/cipher.js';
import type {AesSuite, BlockRun} from '../../components/lib/crypto/cipher-suite.js';
import {sealEnvelope} from '../../components/lib/crypto/key-envelope.js';
import type {Client} from '../../runtime/sdk/session.js';
import {LeasePool} from '../../runtime/transport/lease-pool.js';
import {providerNames} from '../support/component-folder.js';
import {TestEnvironment} from '../support/test-environment.js';
import {startProvider} from '../support/providers.js';
import {cbcVectors, essivVectors, gcmVectors, hkdfVectors, xtsVectors} from '../support/published-vectors.js';
import {
	cbcDecrypt,
	cbcEncrypt,
	essiv,
	gcmDecrypt,
	gcmEncrypt,
	hkdf,
	unitNumber,
	xor,
	xtsDecrypt,
	xtsEncrypt,
} from '../support/reference-ciphers.js';

const blockSize = 4096;
const encrypting = providerNames('crypto_').filter(name => name !== 'crypto_none');

/** Payload comes from shared memory: what does not is worked on by no pool thread. */
const payload = new LeasePool(2 ** 28);

function shared(bytes: Uint8Array): Uint8Array {
	const lease = payload.lease(bytes.length).bytes;
	lease.set(bytes);
	return lease;
}

async function libcrypto(): Promise<Libcrypto> {
	const {libcrypto: loaded, reason} = await loadLibcrypto();
	if (!loaded) {
		throw new Error(reason);
	}

	return loaded;
}

/** What the servers work with. */
async function suites(): Promise<Array<readonly [name: string, suite: AesSuite]>> {
	const evp = new EvpSuite(await libcrypto());
	return [
		['crypto_openssl', evp],
		['crypto_openssl without libcrypto', new NodeSuite()],
		['crypto_offload', new SharingSuite(evp)],
		['crypto_noble', new NobleSuite()],
	];
}

test('the reference: AES-256-CBC', t => {
	for (const {source, key, iv, plain, sealed} of cbcVectors) {
		t.deepEqual(cbcEncrypt(key, iv, plain), sealed, source);
		t.deepEqual(cbcDecrypt(key, iv, sealed), plain, source);
	}
});

test('the reference: ESSIV', t => {
	for (const {source, key, unit, plain, sealed} of essivVectors) {
		t.deepEqual(cbcEncrypt(key, essiv(key, unitNumber(unit.readBigUInt64LE())), plain), sealed, source);
	}
});

test('the reference: XTS-AES-256', t => {
	for (const {source, key, unit, plain, sealed} of xtsVectors) {
		t.deepEqual(xtsEncrypt(key, unitNumber(unit), plain), sealed, source);
		t.deepEqual(xtsDecrypt(key, unitNumber(unit), sealed), plain, source);
	}
});

test('the reference: AES-256-GCM', t => {
	for (const {source, key, nonce, context, plain, sealed, tag, valid} of gcmVectors) {
		t.deepEqual(gcmDecrypt(key, nonce, context, sealed, tag), valid ? plain : undefined, source);
		if (valid) {
			t.deepEqual(gcmEncrypt(key, nonce, context, plain), {sealed, tag}, source);
		}
	}

	t.true(gcmVectors.some(({valid}) => valid) && gcmVectors.some(({valid}) => !valid));
});

test('the reference: HKDF-SHA-256', t => {
	for (const {source, ikm, salt, info, okm} of hkdfVectors) {
		t.deepEqual(hkdf(ikm, {salt, info, length: okm.length}), okm, source);
	}
});

/** A block that begins with `start`. */
function blockFrom(start: Uint8Array): Buffer {
	const block = Buffer.alloc(blockSize, 0xa5);
	block.set(start);
	return block;
}

interface OneBlock {
	readonly address: number;
	readonly plain: Uint8Array;
	readonly sealed: Uint8Array;
}

function runOf({address, plain, sealed}: OneBlock): BlockRun {
	return {
		addresses: [address],
		vbas: [3],
		generations: [5],
		first: 0,
		count: 1,
		plain,
		plainOffset: 0,
		sealed,
		sealedOffset: 0,
	};
}

/** Encrypts a block that begins with `plain` and says how it begins then; decrypting must give the block again. */
function beginningOf(
	suite: AesSuite,
	mode: 'xts' | 'cbcEssiv',
	key: Uint8Array,
	address: number,
	plain: Uint8Array,
): Buffer | undefined {
	const prepared = suite[mode](key);
	const block = blockFrom(plain);
	const sealed = Buffer.alloc(blockSize);
	const opened = Buffer.alloc(blockSize);
	prepared.encrypt(runOf({address, plain: block, sealed}));
	prepared.decrypt(runOf({address, plain: opened, sealed}));
	prepared.wipe();
	return opened.equals(block) ? sealed.subarray(0, plain.length) : undefined;
}

test('every suite: blocks begin as the vectors of XTS-AES-256 do', async t => {
	for (const [name, suite] of await suites()) {
		for (const {source, key, unit, plain, sealed} of xtsVectors) {
			t.deepEqual(beginningOf(suite, 'xts', key, unit, plain), sealed, `${name}: ${source}`);
		}
	}
});

test('every suite: blocks begin as the vector of CBC with ESSIV does', async t => {
	for (const [name, suite] of await suites()) {
		for (const {source, key, unit, plain, sealed} of essivVectors) {
			const address = Number(unit.readBigUInt64LE());
			t.is(BigInt(address), unit.readBigUInt64LE(), 'a number that is exact');
			t.deepEqual(beginningOf(suite, 'cbcEssiv', key, address, plain), sealed, `${name}: ${source}`);
		}
	}
});

test('every suite: blocks begin as the vectors of AES-256-GCM do', async t => {
	for (const [name, suite] of await suites()) {
		for (const {source, key, nonce, plain, sealed, valid} of gcmVectors) {
			if (valid) {
				const prepared = suite.gcm(key, 1);
				const result = Buffer.alloc(blockSize);
				const labels = Buffer.alloc(32);
				labels.set(nonce, 16);
				prepared.seal(runOf({address: 8, plain: blockFrom(plain), sealed: result}), labels);
				prepared.wipe();
				t.deepEqual(result.subarray(0, plain.length), sealed, `${name}: ${source}`);
			}
		}
	}
});

interface SealedMessage {
	readonly key: Uint8Array;
	readonly nonce: Uint8Array;
	readonly context: Uint8Array;
	readonly sealed: Uint8Array;
	readonly tag: Uint8Array;
}

/** As `EvpGcmKey` does it, for any length: undefined where the tag does not match. */
function openWithBinding(binding: Libcrypto, {key, nonce, context, sealed, tag}: SealedMessage): Buffer | undefined {
	const {addressOf} = binding;
	const setTag = 0x11;
	// Nothing else keeps the memory behind an address.
	const kept: Uint8Array[] = [];
	const bytesOf = (bytes: Uint8Array) => {
		const copy = Uint8Array.from(bytes);
		kept.push(copy);
		return addressOf(copy);
	};

	const length = bytesOf(new Uint8Array(16));
	const plain = Buffer.from(new ArrayBuffer(sealed.length));
	const handle = Number(binding.contextNew());
	const update = (output: number | null, input: Uint8Array) =>
		input.length === 0 || binding.cipherUpdate(handle, output, length, bytesOf(input), input.length) === 1;
	try {
		const cipher = Number(binding.cipherFetch(null, 'AES-256-GCM', null));
		const isReady =
			binding.cipherInit(handle, cipher, bytesOf(key), bytesOf(nonce), 0, null) === 1 &&
			update(null, context) &&
			update(sealed.length > 0 ? addressOf(plain) : null, sealed) &&
			binding.contextControl(handle, setTag, tag.length, bytesOf(tag)) === 1;
		if (!isReady) {
			throw new Error('libcrypto failed');
		}

		return binding.cipherFinal(handle, bytesOf(new Uint8Array(16)), length) === 1 ? plain : undefined;
	} finally {
		binding.contextFree(handle);
		kept.splice(0);
	}
}

function unlessThrown(job: () => Uint8Array): Buffer | undefined {
	try {
		return Buffer.from(job());
	} catch {
		return undefined;
	}
}

function openWithNode({key, nonce, context, sealed, tag}: SealedMessage): Buffer | undefined {
	return unlessThrown(() => {
		const decipher = createDecipheriv('aes-256-gcm', key, nonce, {authTagLength: 16})
			.setAAD(context)
			.setAuthTag(tag);
		return Buffer.concat([decipher.update(sealed), decipher.final()]);
	});
}

function openWithNoble({key, nonce, context, sealed, tag}: SealedMessage): Buffer | undefined {
	return unlessThrown(() => gcm(key, nonce, context).decrypt(Buffer.concat([sealed, tag])));
}

test('every primitive: the vectors of AES-256-GCM with their context and tag, and the altered ones are refused', async t => {
	const binding = await libcrypto();
	const primitives = {
		libcrypto: (message: SealedMessage) => openWithBinding(binding, message),
		'node:crypto': openWithNode,
		noble: openWithNoble,
	};
	for (const [name, open] of Object.entries(primitives)) {
		for (const vector of gcmVectors) {
			t.deepEqual(open(vector), vector.valid ? vector.plain : undefined, `${name}: ${vector.source}`);
		}
	}
});

type Crypto = Client<typeof crypto>;

async function addKey(client: Crypto, cipher: CipherName, key: Uint8Array): Promise<void> {
	const {publicKey} = await client.recipient({});
	await client.add_key({keyId: 1, cipher, envelope: sealEnvelope(key, publicKey, randomBytes)});
}

function sha256(bytes: Uint8Array): Buffer {
	return createHash('sha256').update(bytes).digest();
}

/** Numbers of `count` blocks, of which one is above 2^32. */
function placesOf(count: number): {addresses: number[]; vbas: number[]; generations: number[]} {
	return {
		addresses: Array.from({length: count}, (_, i) => (i === 1 ? 2 ** 40 + 77 : 1000 + i)),
		vbas: Array.from({length: count}, (_, i) => 2 ** 33 + i),
		generations: Array.from({length: count}, (_, i) => 2 + i),
	};
}

for (const name of encrypting) {
	test(`${name}: blocks through the session are those of the CBC vectors`, async t => {
		const {running, connect} = await startProvider(name, crypto, {env: new TestEnvironment()});
		const client = connect();
		for (const [index, {source, key, iv, plain, sealed}] of cbcVectors.entries()) {
			// The first one in a batch that is so large that the threads of a pool come in time to help, also on a busy
			// machine.
			const {addresses, vbas, generations} = placesOf(index > 0 ? 2 : name === 'crypto_offload' ? 3000 : 300);
			await addKey(client, 'aes-256-cbc-essiv', key);
			// What the server's IV adds is taken off again, and the vector's comes in its place.
			const blocks = addresses.map(address => {
				const block = blockFrom(plain);
				block.set(xor(xor(plain.subarray(0, 16), iv), essiv(key, unitNumber(address))));
				return block;
			});
			const input = Buffer.concat(blocks);
			const result = shared(new Uint8Array(input.length));
			const {labels} = await client.seal({
				keyId: 1,
				addresses,
				vbas,
				generations,
				plain: [shared(input)],
				sealed: result,
			});
			const opened = shared(new Uint8Array(input.length));
			t.deepEqual(
				await client.open({keyId: 1, addresses, vbas, generations, labels, sealed: result, plain: [opened]}),
				{mismatched: []},
			);
			t.true(input.equals(opened), source);
			for (let i = 0; i < addresses.length; i++) {
				t.deepEqual(
					Buffer.from(result.subarray(i * blockSize, i * blockSize + sealed.length)),
					sealed,
					`${source}, block ${i}`,
				);
			}
		}

		if (name === 'crypto_offload') {
			const {pool_blocks: poolBlocks} = running.status?.() as {pool_blocks: number};
			t.true(poolBlocks > 0);
		}

		await running.stop?.();
	});

	test(`${name}: whole blocks through the session are those of the reference`, async t => {
		const nonce = Buffer.from('cafebabefacedbaddecaf888', 'hex');
		const env = new TestEnvironment({
			randomBytes: count =>
				count % 12 === 0 ? Buffer.concat(Array.from({length: count / 12}, () => nonce)) : randomBytes(count),
		});
		const {running, connect} = await startProvider(name, crypto, {env});
		const client = connect();
		const blockKey = Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex');
		const derived = (info: string, length: number) => hkdf(blockKey, {info: Buffer.from(info), length});
		const count = 3;
		const {addresses, vbas, generations} = placesOf(count);
		const plain = Buffer.concat(
			addresses
				.map((_, i) => sha256(Buffer.of(i)))
				.map(seed =>
					Buffer.concat(
						Array.from({length: blockSize / 32}, (_, i) => sha256(Buffer.concat([seed, Buffer.of(i)]))),
					),
				),
		);
		const contextOf = (i: number) => {
			const context = Buffer.alloc(40);
			context.write('CBE gcm\x01', 'latin1');
			for (const [field, value] of [addresses[i], vbas[i], generations[i]].entries()) {
				context.writeBigUInt64LE(BigInt(value), 8 + 8 * field);
			}

			context.writeUInt32LE(1, 32);
			return context;
		};

		const expected: Partial<Record<CipherName, (block: Buffer, i: number) => {sealed: Buffer; label: Buffer}>> = {
			'aes-256-cbc-essiv'(block, i) {
				const sealed = cbcEncrypt(blockKey, essiv(blockKey, unitNumber(addresses[i])), block);
				return {sealed, label: sha256(sealed)};
			},
			'aes-256-xts'(block, i) {
				const sealed = xtsEncrypt(derived(xtsKeyInfo, 64), unitNumber(addresses[i]), block);
				return {sealed, label: sha256(sealed)};
			},
			'aes-256-gcm'(block, i) {
				const {sealed, tag} = gcmEncrypt(derived(gcmKeyInfo, 32), nonce, contextOf(i), block);
				return {sealed, label: Buffer.concat([tag, nonce, Buffer.alloc(4)])};
			},
		};
		for (const [cipher, blockOf] of Object.entries(expected)) {
			await addKey(client, cipher as CipherName, blockKey);
			const blocks = addresses.map((_, i) => blockOf(plain.subarray(i * blockSize, (i + 1) * blockSize), i));
			const sealed = shared(new Uint8Array(plain.length));
			const {labels} = await client.seal({
				keyId: 1,
				addresses,
				vbas,
				generations,
				plain: [shared(plain)],
				sealed,
			});
			t.true(Buffer.concat(blocks.map(block => block.sealed)).equals(sealed), cipher);
			t.deepEqual(Buffer.from(labels), Buffer.concat(blocks.map(block => block.label)), cipher);
			const opened = shared(new Uint8Array(plain.length));
			t.deepEqual(
				await client.open({
					keyId: 1,
					addresses,
					vbas,
					generations,
					labels: Buffer.concat(blocks.map(block => block.label)),
					sealed,
					plain: [opened],
				}),
				{mismatched: []},
			);
			t.true(plain.equals(opened), cipher);
		}

		await running.stop?.();
	});
}

test('crypto_none: blocks stay as they are, under their SHA-256', async t => {
	const {running, connect} = await startProvider('crypto_none', crypto, {env: new TestEnvironment()});
	const client = connect();
	await addKey(client, 'none', randomBytes(32));
	const {addresses, vbas, generations} = placesOf(1);
	const sealed = new Uint8Array(blockSize);
	// Of 4096 zeroes, as sha256sum says.
	const label = Buffer.from('ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7', 'hex');
	const {labels} = await client.seal({
		keyId: 1,
		addresses,
		vbas,
		generations,
		plain: [new Uint8Array(blockSize)],
		sealed,
	});
	t.deepEqual(Buffer.from(labels), label);
	t.deepEqual(sealed, new Uint8Array(blockSize));
	await running.stop?.();
});
