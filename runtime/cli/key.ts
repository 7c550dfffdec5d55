/** `runtime key`: what opens the trust anchor. */
import {z} from 'zod';
import {sharedSecret} from '../process/process-secrets.js';
import {createRecipient, openEnvelope} from '../../components/lib/crypto/key-envelope.js';
import {kernelRandomBytes} from '../sdk/kernel-random.js';
import {withAnchor, type AnchorCall, type AnchorTarget} from './anchor-call.js';
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';
import {givenPassphrase, newPassphrase, passphrase, sealPassphrase, type PassphraseOrigin} from './passphrase.js';
import {formatTable} from './table.js';
import {askConsent, isInteractive} from './terminal-prompt.js';

export interface KeyOptions {
	readonly target: AnchorTarget;
	readonly json: boolean;
	/** Where to look for what opens the anchor now, and for what shall. */
	readonly existing: PassphraseOrigin;
	readonly fresh: PassphraseOrigin;
	/** Bytes of memory that a guess of a new passphrase shall take, where that was asked for. */
	readonly memory: number | undefined;
}

const KeyList = z.object({
	state: z.enum(['empty', 'present']),
	hasKeyFile: z.boolean(),
	keys: z.array(
		z.object({
			slot: z.number(),
			kind: z.enum(['passphrase', 'recovery', 'key_file', 'damaged']),
			name: z.string(),
			derivation: z.string(),
			isWeak: z.boolean(),
		}),
	),
	slotCount: z.number(),
});

type KeyList = z.output<typeof KeyList>;

const kindNames = {
	passphrase: 'passphrase',
	recovery: 'recovery key',
	key_file: 'key file',
	damaged: 'damaged',
} as const;

async function readList(call: AnchorCall): Promise<KeyList> {
	return KeyList.parse(await call('list'));
}

async function seal(call: AnchorCall, secret: Buffer): Promise<string> {
	const {publicKey} = (await call('recipient')) as {publicKey: string};
	return sealPassphrase(secret, publicKey);
}

/** What proves that the user may: nothing where the key file does, unless a passphrase was named. */
async function existingSecret(
	call: AnchorCall,
	{existing}: KeyOptions,
	isNeeded: boolean,
): Promise<string | undefined> {
	const isNamed = existing.file !== undefined || existing.descriptor !== undefined;
	if (!isNeeded && !isNamed) {
		return undefined;
	}

	return seal(
		call,
		isNamed
			? givenPassphrase(existing)!
			: await passphrase(existing, 'Passphrase that opens it now, or recovery key: '),
	);
}

async function run(options: KeyOptions, job: (call: AnchorCall, list: KeyList) => Promise<number>): Promise<number> {
	// Before a trust anchor is started, which takes it out of the environment and may run where it does not come back
	// from.
	sharedSecret(options.existing.variable);
	return (await withAnchor(options.target, async call => job(call, await readList(call)))) ?? exitCode.usage;
}

export async function listKeys(options: KeyOptions): Promise<number> {
	return run(options, async (_call, list) => {
		if (options.json) {
			print(JSON.stringify(list));
			return exitCode.ok;
		}

		if (list.state === 'empty') {
			print(
				'there is no trust anchor yet; the first start makes one with a key file, "runtime key add" one with a passphrase',
			);
			return exitCode.ok;
		}

		const rows = list.keys.map(({slot, kind, name, derivation}) => [
			String(slot),
			kindNames[kind],
			name || '-',
			derivation || '-',
		]);
		for (const line of formatTable(['SLOT', 'KIND', 'NAME', 'COST OF A GUESS'], rows)) {
			print(line);
		}

		for (const {slot} of list.keys.filter(({isWeak}) => isWeak)) {
			complain(
				`[runtime] warning: slot ${slot} is weak: a guess of its passphrase takes less than 128 MiB of memory; "runtime key change --slot ${slot}" makes it anew`,
			);
		}

		if (list.hasKeyFile) {
			print('the key file opens the anchor without a passphrase');
		}

		return exitCode.ok;
	});
}

export async function addKey(options: KeyOptions, name: string): Promise<number> {
	return run(options, async (call, list) => {
		const existing = list.state === 'empty' ? undefined : await existingSecret(call, options, !list.hasKeyFile);
		const secret = await newPassphrase(options.fresh);
		const {slot} = (await call('add', {
			existing,
			secret: await seal(call, secret),
			name,
			memory: options.memory,
		})) as {slot: number};
		if (options.json) {
			print(JSON.stringify({slot}));
		} else {
			print(`slot ${slot} holds the new passphrase`);
			print(
				list.hasKeyFile
					? `the key file still opens the anchor without one; "runtime key remove ${list.keys.find(({kind}) => kind === 'key_file')?.slot ?? 0}" removes it`
					: 'a recovery key is the way back in if it is forgotten: "runtime key recovery"',
			);
		}

		return exitCode.ok;
	});
}

export async function addRecoveryKey(options: KeyOptions, name: string): Promise<number> {
	return run(options, async (call, list) => {
		const existing = await existingSecret(call, options, !list.hasKeyFile);
		const recipient = createRecipient(kernelRandomBytes);
		const reply = (await call('add_recovery', {
			existing,
			recipient: Buffer.from(recipient.publicKey).toString('hex'),
			name,
		})) as {slot: number; sealed: string};
		const text = openEnvelope(Buffer.from(reply.sealed, 'hex'), recipient);
		try {
			if (options.json) {
				print(JSON.stringify({slot: reply.slot, recovery_key: text.toString()}));
			} else {
				complain(
					`slot ${reply.slot} holds the recovery key. Write it down, and keep it away from the device; it is not shown again:`,
				);
				print(text.toString());
			}
		} finally {
			text.fill(0);
		}

		return exitCode.ok;
	});
}

export async function changeKey(options: KeyOptions, slot: number | undefined): Promise<number> {
	return run(options, async (call, list) => {
		const isPassphrase = (kind: string) => kind === 'passphrase';
		const kind =
			slot === undefined
				? list.keys.some(key => isPassphrase(key.kind))
					? 'passphrase'
					: list.keys.at(0)?.kind
				: list.keys.find(key => key.slot === slot)?.kind;
		const existing = await existingSecret(
			call,
			options,
			!list.hasKeyFile || (slot === undefined && kind === 'passphrase'),
		);
		const secret = kind === 'key_file' ? undefined : await seal(call, await newPassphrase(options.fresh));
		const reply = (await call('change', {existing, slot, secret, memory: options.memory})) as {slot: number};
		print(
			options.json
				? JSON.stringify(reply)
				: `slot ${reply.slot} was changed; no data was written anew. If the old one was stolen, run "runtime rekey", too`,
		);
		return exitCode.ok;
	});
}

export async function removeKey(options: KeyOptions, slot: number, isAgreed: boolean): Promise<number> {
	return run(options, async (call, list) => {
		const isKeyFile = list.keys.find(key => key.slot === slot)?.kind === 'key_file';
		if (isKeyFile && list.keys.length > 1 && !isAgreed) {
			if (!isInteractive()) {
				throw new Error('without the key file every start needs a passphrase; say --yes to remove it');
			}

			if (
				!(await askConsent(
					`Slot ${slot} is the key file. Without it the anchor opens with a passphrase or a recovery key only. Remove it?`,
				))
			) {
				complain('[runtime] nothing was changed');
				return exitCode.failed;
			}
		}

		const existing = await existingSecret(call, options, (!list.hasKeyFile || isKeyFile) && list.keys.length > 1);
		await call('remove', {existing, slot});
		print(options.json ? JSON.stringify({removed: slot}) : `slot ${slot} was removed`);
		return exitCode.ok;
	});
}
