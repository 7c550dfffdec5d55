/** Somebody between the anchor and its TPM: what they see, and what becomes of answers that are not the TPM's. */
import {randomBytes} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {trustAnchor} from '../sessions/trust-anchor.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {TestEnvironment} from '../../test/support/test-environment.js';
import {testWith} from '../../test/support/external-tools.js';
import {startProvider} from '../../test/support/providers.js';
import {SoftwareTpm} from '../../test/support/swtpm.js';
import {TpmProxy, type TpmProxyOptions, type TpmTraffic} from '../../test/support/tpm-proxy.js';
import {deriveFrom} from './master-derived.js';
import {readRecordFile} from './chained-record-file.js';
import {TpmReader} from './tpm-buffer.js';
import {TpmError} from './tpm-error.js';

const passphrase = 'correct horse battery staple';
const unsealCode = 0x15e;
const nvReadCode = 0x14e;

async function start(t: ExecutionContext, socketPath: string, stateDirectory: string, drawn: Buffer[] = []) {
	const env = new TestEnvironment({
		stateDirectory,
		variables: {CBE_PASSPHRASE: passphrase},
		randomBytes(count) {
			const bytes = randomBytes(count);
			drawn.push(Buffer.from(bytes));
			return bytes;
		},
	});
	const provider = await startProvider('trust_anchor_tpm2', trustAnchor, {env, config: {tpm: socketPath}});
	t.teardown(async () => provider.running.stop?.());
	return {...provider, client: provider.connect()};
}

testWith(['swtpm'], 'neither passphrase nor master key crosses the bus in clear', async t => {
	const tpm = await SoftwareTpm.start();
	t.teardown(async () => tpm.stop());
	const proxy = await TpmProxy.start(tpm.socketPath);
	t.teardown(async () => proxy.stop());
	const directory = temporaryDirectory();
	const drawn: Buffer[] = [];
	const anchor = await start(t, proxy.socketPath, directory, drawn);
	// The service draws the key pair of its envelopes before, and the master key as the first thing of `initialize`.
	const before = drawn.length;
	await anchor.client.initialize({});
	const masterKey = drawn[before];
	t.is(
		readRecordFile(
			readFileSync(join(directory, 'trust_anchor', 'newest_superblock')),
			deriveFrom(masterKey, 'record'),
		).length,
		1,
		'this is the master key',
	);
	t.true((await (await start(t, proxy.socketPath, directory)).client.status({})).initialized);
	const crossed = Buffer.concat(proxy.crossed);
	t.true(crossed.length > 1000);
	t.false(crossed.includes(masterKey));
	t.false(crossed.includes(passphrase));
});

const answers: Array<[string, (bytes: Buffer) => Buffer | 'cut']> = [
	['short', bytes => bytes.subarray(0, 9)],
	['cut off', bytes => Buffer.concat([bytes.subarray(0, 2), Buffer.from([0, 0, 0, 14]), bytes.subarray(6, 14)])],
	[
		'of a huge length',
		bytes => Buffer.concat([bytes.subarray(0, 2), Buffer.from('ffffffff', 'hex'), bytes.subarray(6)]),
	],
	['of no length', bytes => Buffer.concat([bytes.subarray(0, 2), Buffer.alloc(4), bytes.subarray(6)])],
	['garbage', bytes => randomBytes(bytes.length)],
	['endless', () => Buffer.alloc(100_000, 1)],
	[
		'altered in its last byte',
		bytes => Buffer.concat([bytes.subarray(0, -1), Buffer.of(bytes[bytes.length - 1] ^ 1)]),
	],
	[
		'altered in its middle',
		bytes => Buffer.concat([bytes.subarray(0, 18), Buffer.of(bytes[18] ^ 1), bytes.subarray(19)]),
	],
	['none', () => 'cut'],
];

testWith(['swtpm'], "answers that are not the TPM's are errors, and change nothing", async t => {
	const tpm = await SoftwareTpm.start();
	t.teardown(async () => tpm.stop());
	const directory = temporaryDirectory();
	const good = await start(t, tpm.socketPath, directory);
	await good.client.initialize({});
	for (const code of [unsealCode, nvReadCode]) {
		for (const [what, answer] of answers) {
			// A short answer is followed by nothing: the end of the connection stands for the time that would pass.
			const options: TpmProxyOptions = {
				response: (traffic: TpmTraffic) => (traffic.code === code ? answer(traffic.bytes) : traffic.bytes),
			};
			const proxy = await TpmProxy.start(tpm.socketPath, options);
			const starting = start(t, proxy.socketPath, directory);
			if (what === 'short') {
				setTimeout(() => void proxy.stop(), 2000);
			}

			const {client, bugs} = await starting;
			const error = await t.throwsAsync(client.status({}), {code: 'storage_failed'}, `${what}, command ${code}`);
			t.regex(error.message, /^the TPM at .* cannot be used: /);
			t.deepEqual(bugs, []);
			if (what !== 'short') {
				await proxy.stop();
			}
		}
	}

	t.true((await (await start(t, tpm.socketPath, directory)).client.status({})).initialized);
});

test('lengths are checked before they are believed', t => {
	for (const bytes of ['', '00', 'ffff', '000501']) {
		t.throws(() => new TpmReader(Buffer.from(bytes, 'hex')).sized(), {instanceOf: TpmError});
	}

	t.throws(() => new TpmReader(Buffer.alloc(8, 0xff)).u64(), {instanceOf: TpmError});
	const reader = new TpmReader(Buffer.from('0001aa', 'hex'));
	t.deepEqual(reader.sized(), Buffer.of(0xaa));
	reader.end();
});
