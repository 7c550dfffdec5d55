/** `lock` and `unlock`, and where passphrases come from. */
import {randomBytes} from 'node:crypto';
import {closeSync, openSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {Refusal, withAnsweringRuntime} from '../../test/support/answering-runtime.js';
import {capturing} from '../../test/support/captured-output.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {PassphraseRecipient} from '../../test/support/passphrase-recipient.js';
import type {ControlRequest} from '../supervisor/control-request.js';
import {lock, unlock} from './lock.js';
import {givenPassphrase, newPassphrase, passphrase, sealPassphrase} from './passphrase.js';

const nowhere = {file: undefined, descriptor: undefined, variable: 'CBE_TEST_NO_SUCH_PASSPHRASE'};

function fileWith(content: string | Uint8Array): string {
	const file = join(temporaryDirectory(), 'passphrase');
	writeFileSync(file, content);
	return file;
}

test('a passphrase comes from a file or a descriptor, without its line end', t => {
	for (const [content, expected] of [
		['geheim', 'geheim'],
		['geheim\n', 'geheim'],
		['geheim\r\n', 'geheim'],
		['geheim\n\n', 'geheim\n'],
		[' ge heim ', ' ge heim '],
	]) {
		const file = fileWith(content);
		t.is(givenPassphrase({...nowhere, file})?.toString(), expected, JSON.stringify(content));
		const descriptor = openSync(file, 'r');
		t.is(givenPassphrase({...nowhere, descriptor})?.toString(), expected);
		closeSync(descriptor);
	}

	t.is(givenPassphrase(nowhere), undefined);
	const longest = randomBytes(1024).map(byte => byte | 32);
	t.deepEqual(givenPassphrase({...nowhere, file: fileWith(longest)}), Buffer.from(longest));
});

test('what is no passphrase is refused by its name', t => {
	const missing = join(temporaryDirectory(), 'nothing');
	t.throws(() => givenPassphrase({...nowhere, file: missing}), {
		message: `the passphrase file ${missing} cannot be read (ENOENT: no such file or directory, open '${missing}')`,
	});
	t.throws(() => givenPassphrase({...nowhere, descriptor: 999}), {
		message: /^the passphrase in file descriptor 999 cannot be read \(EBADF/,
	});
	t.throws(() => givenPassphrase({...nowhere, file: fileWith('')}), {message: 'the passphrase is empty'});
	t.throws(() => givenPassphrase({...nowhere, file: fileWith('\n')}), {message: 'the passphrase is empty'});
	t.throws(() => givenPassphrase({...nowhere, file: fileWith('x'.repeat(2000))}), {
		message: 'a passphrase has at most 1024 bytes',
	});
});

test('a sealed passphrase is what its recipient reads, and the one that was sealed is wiped', t => {
	const recipient = new PassphraseRecipient();
	const secret = Buffer.from('geheim');
	const sealed = sealPassphrase(secret, recipient.publicKey);
	t.deepEqual(secret, Buffer.alloc(6));
	t.is(recipient.open(sealed), 'geheim');
});

test.serial('a new passphrase beyond ASCII is taken, with a warning', async t => {
	const file = fileWith('Straße');
	const {result, error} = await capturing(async () => newPassphrase({...nowhere, file}));
	t.is(result.toString(), 'Straße');
	t.regex(error, /characters beyond ASCII/);
	const plain = await capturing(async () => newPassphrase({...nowhere, file: fileWith('plain')}));
	t.is(plain.error, '');
	t.is((await passphrase({...nowhere, file})).toString(), 'Straße');
});

/** A locked device that opens with one passphrase; with none of its own where `opensAlone`. */
class LockedDevice {
	readonly recipient = new PassphraseRecipient();
	readonly asked: string[] = [];
	readonly #opensAlone: boolean;

	constructor(opensAlone: boolean) {
		this.#opensAlone = opensAlone;
	}

	answer(request: ControlRequest): unknown {
		if (request.op !== 'call' || request.service !== 'device_control') {
			throw new Refusal('unexpected', JSON.stringify(request));
		}

		this.asked.push(`${request.child ?? 'first'}.${request.operation}`);
		if (request.operation === 'recipient') {
			return {publicKey: this.recipient.publicKey};
		}

		const sealed = request.request?.['sealed'] as string | undefined;
		if (request.operation === 'unlock' && sealed === undefined && !this.#opensAlone) {
			throw new Refusal('locked', 'the trust anchor is locked');
		}

		if (sealed !== undefined && this.recipient.open(sealed) !== 'geheim') {
			throw new Refusal('wrong_passphrase', 'the passphrase does not open the trust anchor');
		}

		return {};
	}
}

async function withDevice<T>(device: LockedDevice, use: (stateDirectory: string) => Promise<T>) {
	const stateDirectory = temporaryDirectory();
	return capturing(async () =>
		withAnsweringRuntime(
			stateDirectory,
			request => device.answer(request),
			async () => use(stateDirectory),
		),
	);
}

test.serial('lock asks the device that is meant, and says that it is locked', async t => {
	const device = new LockedDevice(true);
	const said = await withDevice(device, async stateDirectory => lock({target: {stateDirectory}, json: false}));
	t.is(said.result, 0);
	t.regex(said.out, /^the device is locked: .*"runtime unlock"\n$/);
	const json = await withDevice(device, async stateDirectory =>
		lock({target: {stateDirectory, child: 'second'}, json: true}),
	);
	t.deepEqual(JSON.parse(json.out), {locked: true});
	t.deepEqual(device.asked, ['first.lock', 'second.lock']);
});

test.serial('unlock with a passphrase that was given seals it to the anchor, and asks for nothing else', async t => {
	const device = new LockedDevice(true);
	const origin = {...nowhere, file: fileWith('geheim\n')};
	const said = await withDevice(device, async stateDirectory =>
		unlock({target: {stateDirectory}, json: false}, origin),
	);
	t.is(said.out, 'the device is unlocked\n');
	t.deepEqual(device.asked, ['first.recipient', 'first.unlock']);
	const wrong = {...nowhere, file: fileWith('falsch\n')};
	await t.throwsAsync(
		withDevice(device, async stateDirectory => unlock({target: {stateDirectory}, json: false}, wrong)),
		{message: 'the passphrase does not open the trust anchor'},
	);
});

test.serial('unlock has the anchor open by itself where no passphrase is given', async t => {
	const device = new LockedDevice(true);
	const said = await withDevice(device, async stateDirectory =>
		unlock({target: {stateDirectory}, json: true}, nowhere),
	);
	t.deepEqual(JSON.parse(said.out), {locked: false});
	t.deepEqual(device.asked, ['first.unlock']);
});
