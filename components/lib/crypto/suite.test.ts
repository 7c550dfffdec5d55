import {createCipheriv, createHash, randomBytes} from 'node:crypto';
import test from 'ava';
import type {AesSuite, BlockRun} from './cipher-suite.js';
import {EvpSuite} from './evp-suite.js';
import {loadLibcrypto} from './libcrypto.js';
import {NodeSuite} from './node-suite.js';
import {openSuite} from './suite.js';

const key = Buffer.from('1032547698badcfe1032547698badcfefedcba98765432100123456789abcdef', 'hex');
const xtsKey = Buffer.concat([key, Buffer.from(key).reverse()]);
const addresses = [0, 7, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1];
const vbas = addresses.map((_, i) => i * 2 ** 33);
const generations = addresses.map((_, i) => i + 1);
const content = Buffer.from(
	Array.from({length: addresses.length * 4096}, (_value, index) => (index * 31 + (index >> 8)) & 0xff),
);

function tweakOf(address: number, length: number): Buffer {
	const tweak = Buffer.alloc(length);
	tweak.writeBigUInt64LE(BigInt(address));
	return tweak;
}

/** What the format document says, in the slowest and plainest way. */
const oracle = {
	xts: (address: number, block: Buffer) => createCipheriv('aes-256-xts', xtsKey, tweakOf(address, 16)).update(block),
	cbcEssiv(address: number, block: Buffer) {
		const salt = createHash('sha256').update(key).digest();
		const iv = createCipheriv('aes-256-ecb', salt, null).setAutoPadding(false).update(tweakOf(address, 16));
		return createCipheriv('aes-256-cbc', key, iv).setAutoPadding(false).update(block);
	},
};

async function suites(): Promise<AesSuite[]> {
	const {libcrypto, reason} = await loadLibcrypto();
	if (!libcrypto) {
		throw new Error(reason);
	}

	return [new EvpSuite(libcrypto), new NodeSuite()];
}

/** All blocks in one run, at odd offsets of larger buffers. */
function wholeRun(): Omit<BlockRun, 'plain' | 'sealed'> & {plain: Buffer; sealed: Buffer} {
	const plain = Buffer.alloc(content.length + 11);
	const sealed = Buffer.alloc(content.length + 5);
	content.copy(plain, 3);
	return {
		addresses: [99, ...addresses],
		vbas: [99, ...vbas],
		generations: [99, ...generations],
		first: 1,
		count: addresses.length,
		plain,
		plainOffset: 3,
		sealed,
		sealedOffset: 5,
	};
}

for (const mode of ['xts', 'cbcEssiv'] as const) {
	test(`${mode}: both implementations give what the format says, and take it back`, async t => {
		const expected = Buffer.concat(
			addresses.map((address, i) => oracle[mode](address, content.subarray(i * 4096, (i + 1) * 4096))),
		);
		for (const suite of await suites()) {
			const prepared = suite[mode](mode === 'xts' ? xtsKey : key);
			const run = wholeRun();
			for (let round = 0; round < 2; round++) {
				prepared.encrypt(run);
				t.true(run.sealed.subarray(5).equals(expected), suite.name);
				run.plain.fill(0xee);
				prepared.decrypt(run);
				t.true(run.plain.subarray(3, 3 + content.length).equals(content), suite.name);
				t.deepEqual(
					[...run.plain.subarray(0, 3), ...run.plain.subarray(3 + content.length)],
					Array.from({length: 11}, () => 0xee),
					suite.name,
				);
			}

			prepared.wipe();
		}
	});
}

/** AES-256-GCM as the format document says, in the plainest way. */
function gcmOracle(index: number, nonce: Uint8Array, keyId: number): {sealed: Buffer; tag: Buffer} {
	const context = Buffer.alloc(40);
	context.write('CBE gcm\x01', 'latin1');
	context.writeBigUInt64LE(BigInt(addresses[index]), 8);
	context.writeBigUInt64LE(BigInt(vbas[index]), 16);
	context.writeBigUInt64LE(BigInt(generations[index]), 24);
	context.writeUInt32LE(keyId, 32);
	const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(context);
	const sealed = cipher.update(content.subarray(index * 4096, (index + 1) * 4096));
	cipher.final();
	return {sealed, tag: cipher.getAuthTag()};
}

test('gcm: both implementations give what the format says, take it back, and refuse what was altered', async t => {
	for (const suite of await suites()) {
		const prepared = suite.gcm(key, 7);
		const run = wholeRun();
		const labels = Buffer.alloc(32 * (1 + addresses.length));
		for (let i = 0; i < addresses.length; i++) {
			randomBytes(12).copy(labels, 32 * (i + 1) + 16);
		}

		prepared.seal(run, labels);
		for (let i = 0; i < addresses.length; i++) {
			const label = labels.subarray(32 * (i + 1), 32 * (i + 2));
			const {sealed, tag} = gcmOracle(i, label.subarray(16, 28), 7);
			t.true(run.sealed.subarray(5 + i * 4096, 5 + (i + 1) * 4096).equals(sealed), suite.name);
			t.true(label.subarray(0, 16).equals(tag), suite.name);
		}

		run.plain.fill(0xee);
		t.deepEqual(prepared.open(run, labels), [], suite.name);
		t.true(run.plain.subarray(3, 3 + content.length).equals(content), suite.name);
		run.sealed[5 + 4096] ^= 1;
		labels[32 * 4 + 31] = 1;
		t.deepEqual(prepared.open(run, labels), [1, 3], suite.name);
		t.deepEqual(run.plain.subarray(3 + 4096, 3 + 8192), Buffer.alloc(4096), suite.name);
		t.deepEqual(run.plain.subarray(3 + 8192, 3 + 12288), content.subarray(8192, 12288), suite.name);
		prepared.wipe();
	}
});

test('keys of both modes can be used in turn', async t => {
	for (const suite of await suites()) {
		const prepared = {cbcEssiv: suite.cbcEssiv(key), xts: suite.xts(xtsKey)};
		for (const mode of ['cbcEssiv', 'xts', 'cbcEssiv'] as const) {
			const run = wholeRun();
			prepared[mode].encrypt(run);
			t.deepEqual(
				run.sealed.subarray(5, 5 + 4096),
				oracle[mode](0, content.subarray(0, 4096)),
				`${suite.name} ${mode}`,
			);
		}
	}
});

test('sealed and plain may be the same memory', async t => {
	for (const suite of await suites()) {
		const memory = Buffer.from(content);
		const run = {
			addresses,
			vbas,
			generations,
			first: 0,
			count: addresses.length,
			plain: memory,
			plainOffset: 0,
			sealed: memory,
			sealedOffset: 0,
		};
		const prepared = suite.xts(xtsKey);
		prepared.encrypt(run);
		t.deepEqual(memory.subarray(0, 4096), oracle.xts(0, content.subarray(0, 4096)));
		prepared.decrypt(run);
		t.true(memory.equals(content));
	}
});

test('the label is the SHA-256 of each block', async t => {
	for (const suite of await suites()) {
		const sealed = randomBytes(3 * 4096 + 1);
		const labels = Buffer.alloc(3 * 32 + 7);
		suite.label(sealed, 1, 3, labels, 7);
		for (let i = 0; i < 3; i++) {
			const expected = createHash('sha256')
				.update(sealed.subarray(1 + i * 4096, 1 + (i + 1) * 4096))
				.digest();
			t.deepEqual(labels.subarray(7 + i * 32, 7 + (i + 1) * 32), expected, suite.name);
		}
	}
});

test('a node binary without libcrypto gets node:crypto, and the log says so', async t => {
	const warnings: string[] = [];
	const suite = await openSuite(
		text => void warnings.push(text),
		async () => ({reason: 'no symbol EVP_Digest'}),
	);
	t.is(suite.name, 'node:crypto');
	t.is(warnings.length, 1);
	t.regex(warnings[0], /no symbol EVP_Digest.*node:crypto/);
});

test('this node binary allows direct calls', async t => {
	const suite = await openSuite(() => t.fail());
	t.is(suite.name, 'libcrypto');
});
