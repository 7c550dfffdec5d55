/**
 * Passphrases for the command line: from a file, a file descriptor, an environment variable, or typed; never an
 * argument, which every user of the machine can see. They leave this process only sealed to the trust anchor.
 */
import {closeSync, openSync, readSync} from 'node:fs';
import {sharedSecret} from '../process/process-secrets.js';
import {sealEnvelope} from '../../components/lib/crypto/key-envelope.js';
import {kernelRandomBytes} from '../sdk/kernel-random.js';
import {withoutLineEnd} from '../sdk/secret-line.js';
import {copyOfShared} from '../transport/shared-secret.js';
import {complain} from './output.js';
import {askSecret, isInteractive} from './terminal-prompt.js';

/** One byte more than any passphrase, and a line end. */
const readLengthMax = 1024 + 3;

/** Where a passphrase is looked for, in this order. */
export interface PassphraseOrigin {
	readonly file: string | undefined;
	readonly descriptor: number | undefined;
	readonly variable: string;
}

function readAll(descriptor: number): Buffer {
	const content = Buffer.alloc(readLengthMax);
	let length = 0;
	for (let count = -1; count !== 0 && length < readLengthMax; length += count) {
		count = readSync(descriptor, content, length, readLengthMax - length, null);
	}

	if (length === readLengthMax) {
		content.fill(0);
		throw new Error(`a passphrase has at most ${readLengthMax - 3} bytes`);
	}

	return content.subarray(0, length);
}

function readFile(file: string): Buffer {
	const opened = openSync(file, 'r');
	try {
		return readAll(opened);
	} finally {
		closeSync(opened);
	}
}

/** @throws Error that names what cannot be read */
function readable(name: string, read: () => Buffer): Buffer {
	try {
		return withoutLineEnd(read());
	} catch (error) {
		throw error instanceof Error && 'code' in error
			? new Error(`${name} cannot be read (${error.message})`)
			: error;
	}
}

function readFrom({file, descriptor}: PassphraseOrigin): Buffer | undefined {
	if (file !== undefined) {
		return readable(`the passphrase file ${file}`, () => readFile(file));
	}

	return descriptor === undefined
		? undefined
		: readable(`the passphrase in file descriptor ${descriptor}`, () => readAll(descriptor));
}

function requireSome(passphrase: Buffer): Buffer {
	if (passphrase.length === 0) {
		throw new Error('the passphrase is empty');
	}

	return passphrase;
}

/** A passphrase that was named on the command line, or is in the environment. The caller wipes it. */
export function givenPassphrase(origin: PassphraseOrigin): Buffer | undefined {
	const read = readFrom(origin);
	if (read) {
		return requireSome(read);
	}

	const secret = sharedSecret(origin.variable);
	if (secret?.byteLength === 0) {
		throw new Error(
			`the environment variable ${origin.variable} is set, but empty; unset it, or set it to the passphrase`,
		);
	}

	return secret && copyOfShared(secret);
}

function requireTerminal(origin: PassphraseOrigin, what: string): void {
	if (!isInteractive()) {
		throw new Error(
			`${what} is needed and there is no terminal to ask on; name a file or a descriptor (see --help), or set the environment variable ${origin.variable}`,
		);
	}
}

/** A passphrase from wherever it can be had. The caller wipes it. */
export async function passphrase(origin: PassphraseOrigin, question = 'Passphrase: '): Promise<Buffer> {
	const given = givenPassphrase(origin);
	if (given) {
		return given;
	}

	requireTerminal(origin, 'a passphrase');
	return requireSome(await askSecret(question));
}

/** A passphrase that is new, so that it is typed twice. The caller wipes it. */
export async function newPassphrase(origin: PassphraseOrigin): Promise<Buffer> {
	const fresh = await unseenPassphrase(origin);
	if (fresh.some(byte => byte > 0x7f)) {
		complain(
			'[runtime] the passphrase has characters beyond ASCII. It is taken byte by byte: another system or keyboard may send the same characters as other bytes, which do not open it. A recovery key is the way back in: "runtime key recovery"',
		);
	}

	return fresh;
}

async function unseenPassphrase(origin: PassphraseOrigin): Promise<Buffer> {
	const given = givenPassphrase(origin);
	if (given) {
		return given;
	}

	requireTerminal(origin, 'a new passphrase');
	const first = requireSome(await askSecret('New passphrase: '));
	const second = await askSecret('The same again: ');
	try {
		if (!first.equals(second)) {
			first.fill(0);
			throw new Error('the two passphrases differ; nothing was changed');
		}

		return first;
	} finally {
		second.fill(0);
	}
}

/** The passphrase as only the holder of `publicKey` (in hexadecimal) can read it. It is wiped. */
export function sealPassphrase(secret: Buffer, publicKey: string): string {
	try {
		return Buffer.from(sealEnvelope(secret, Buffer.from(publicKey, 'hex'), kernelRandomBytes)).toString('hex');
	} finally {
		secret.fill(0);
	}
}
