/** The commands about keys: what opens the trust anchor, locking and unlocking. */
import {resolve} from 'node:path';
import {InvalidArgumentError, type Command} from 'commander';
import type {KeyOptions} from './key.js';
import type {LockOptions} from './lock.js';
import type {PassphraseOrigin} from './passphrase.js';
import {parseBytes} from './quantity.js';

/** Takes the exit code of a command. */
type End = (code: number) => void;

export interface PassphraseFlags {
	readonly passphraseFile?: string;
	readonly passphraseFd?: number;
}

interface KeyFlags extends PassphraseFlags {
	readonly state: string;
	readonly deploy?: string;
	readonly anchor?: string;
	readonly json?: true;
	readonly newPassphraseFile?: string;
	readonly newPassphraseFd?: number;
	readonly kdfMemory?: number;
}

interface DeviceFlags extends PassphraseFlags {
	readonly state: string;
	readonly device?: string;
	readonly json?: true;
}

function wholeNumber(text: string): number {
	if (!/^\d{1,4}$/.test(text)) {
		throw new InvalidArgumentError('write a number in decimal digits.');
	}

	return Number(text);
}

function guessMemory(text: string): number {
	const byteLength = parseBytes(text);
	if (
		byteLength === undefined ||
		byteLength < 2 ** 20 ||
		byteLength > 2 ** 29 ||
		!Number.isInteger(Math.log2(byteLength))
	) {
		throw new InvalidArgumentError('write 1M, 2M, 4M and so on, up to 512M.');
	}

	return byteLength;
}

function slotNumber(text: string): number {
	if (!/^[0-7]$/.test(text)) {
		throw new InvalidArgumentError('slots have the numbers 0 to 7; "runtime key list" shows those in use.');
	}

	return Number(text);
}

/** Where the passphrase of a command is looked for. */
export function existingOrigin({passphraseFile, passphraseFd}: PassphraseFlags): PassphraseOrigin {
	return {file: passphraseFile, descriptor: passphraseFd, variable: 'CBE_PASSPHRASE'};
}

export function withPassphraseOptions(command: Command): Command {
	return command
		.option('--passphrase-file <file>', 'read the passphrase from a file; one line end at its end does not count')
		.option('--passphrase-fd <number>', 'read the passphrase from an open file descriptor', wholeNumber);
}

function withNewPassphraseOptions(command: Command): Command {
	return command
		.option('--new-passphrase-file <file>', 'read the new passphrase from a file')
		.option('--new-passphrase-fd <number>', 'read the new passphrase from an open file descriptor', wholeNumber)
		.option(
			'--kdf-memory <size>',
			'how much memory a guess of the new passphrase shall take, such as 256M (unless given: 128M or more, as this machine does in a second)',
			guessMemory,
		);
}

function withAnchorOptions(command: Command): Command {
	return command
		.option('--state <dir>', 'the state directory, whether a runtime uses it or not', 'var')
		.option(
			'--deploy <file>',
			'the deployment file that names the trust anchor; needed where no runtime runs and it is not the default one',
		)
		.option('--anchor <child>', 'the child that is the trust anchor; needed where there are several')
		.option('--json', 'as one JSON document');
}

function keyOptions(flags: KeyFlags): KeyOptions {
	return {
		target: {stateDirectory: resolve(flags.state), deploy: flags.deploy, child: flags.anchor},
		json: flags.json ?? false,
		existing: existingOrigin(flags),
		fresh: {file: flags.newPassphraseFile, descriptor: flags.newPassphraseFd, variable: 'CBE_NEW_PASSPHRASE'},
		memory: flags.kdfMemory,
	};
}

function addKey(runtime: Command, end: End): void {
	const key = runtime
		.command('key')
		.description('list, add, change or remove what opens the trust anchor')
		.addHelpText(
			'after',
			'\nPassphrases are typed, or come from a file, a file descriptor, or the environment variables CBE_PASSPHRASE and\nCBE_NEW_PASSPHRASE; never from the command line.\n\nExamples:\n  runtime key list\n  runtime key add --name laptop\n  runtime key recovery\n  runtime key change\n  runtime key remove 0',
		);
	withAnchorOptions(key.command('list').description('show the key slots')).action(async (flags: KeyFlags) => {
		const {listKeys} = await import('./key.js');
		end(await listKeys(keyOptions(flags)));
	});
	withNewPassphraseOptions(
		withPassphraseOptions(
			withAnchorOptions(
				key.command('add').description('add a passphrase; where there is no trust anchor yet, make one'),
			),
		),
	)
		.option('--name <name>', 'a name for the slot, seen by everybody', '')
		.action(async (flags: KeyFlags & {name: string}) => {
			const {addKey: add} = await import('./key.js');
			end(await add(keyOptions(flags), flags.name));
		});
	withPassphraseOptions(
		withAnchorOptions(key.command('recovery').description('add a recovery key and print it, to be written down')),
	)
		.option('--name <name>', 'a name for the slot, seen by everybody', '')
		.action(async (flags: KeyFlags & {name: string}) => {
			const {addRecoveryKey} = await import('./key.js');
			end(await addRecoveryKey(keyOptions(flags), flags.name));
		});
	withNewPassphraseOptions(
		withPassphraseOptions(
			withAnchorOptions(
				key
					.command('change')
					.description(
						'put a new passphrase, or a new key file, in the place of an old one; no data is written anew',
					),
			),
		),
	)
		.option('--slot <number>', 'the slot to change; unless given, the one that the passphrase opens', slotNumber)
		.action(async (flags: KeyFlags & {slot?: number}) => {
			const {changeKey} = await import('./key.js');
			end(await changeKey(keyOptions(flags), flags.slot));
		});
	withPassphraseOptions(withAnchorOptions(key.command('remove').description('give a slot up; the last one stays')))
		.argument('<slot>', 'its number, as "runtime key list" shows it', slotNumber)
		.option('--yes', 'do not ask before the key file is removed')
		.action(async (slot: number, flags: KeyFlags & {yes?: true}) => {
			const {removeKey} = await import('./key.js');
			end(await removeKey(keyOptions(flags), slot, flags.yes ?? false));
		});
}

function lockOptions({state, device, json}: DeviceFlags): LockOptions {
	return {target: {stateDirectory: resolve(state), child: device}, json: json ?? false};
}

function withDeviceOptions(command: Command): Command {
	return command
		.option('--state <dir>', 'the state directory of the running runtime', 'var')
		.option('--device <child>', 'the child that serves the device; needed where there are several')
		.option('--json', 'as one JSON document');
}

function addLock(runtime: Command, end: End): void {
	withDeviceOptions(runtime.command('lock'))
		.description('take the keys away from a running device: everything is secured, then requests are refused')
		.action(async (flags: DeviceFlags) => {
			const {lock} = await import('./lock.js');
			end(await lock(lockOptions(flags)));
		});
	withPassphraseOptions(withDeviceOptions(runtime.command('unlock')))
		.description('give a locked device its keys again, with a passphrase or a recovery key')
		.addHelpText('after', '\nExamples:\n  runtime unlock\n  runtime unlock --passphrase-file /run/keys/disk')
		.action(async (flags: DeviceFlags) => {
			const {unlock} = await import('./lock.js');
			end(await unlock(lockOptions(flags), existingOrigin(flags)));
		});
}

export function addKeyCommands(runtime: Command, end: End): void {
	addKey(runtime, end);
	addLock(runtime, end);
}
