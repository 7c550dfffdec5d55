/** `runtime lock` and `runtime unlock`: the keys of a running device taken away and given again. */
import {ControlError} from '../supervisor/control-client.js';
import {callDevice, type DeviceTarget} from './device-call.js';
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';
import {givenPassphrase, passphrase, sealPassphrase, type PassphraseOrigin} from './passphrase.js';
import {PromptCancelled, isInteractive} from './terminal-prompt.js';

export interface LockOptions {
	readonly target: DeviceTarget;
	readonly json: boolean;
}

const attemptMax = 3;

export async function lock({target, json}: LockOptions): Promise<number> {
	await callDevice(target, 'lock');
	print(
		json
			? JSON.stringify({locked: true})
			: 'the device is locked: its keys are forgotten, and requests are refused until "runtime unlock"',
	);
	return exitCode.ok;
}

function isCode(error: unknown, code: string): boolean {
	return error instanceof ControlError && error.code === code;
}

/** One attempt; the passphrase is wiped. */
async function attempt(target: DeviceTarget, secret: Buffer): Promise<void> {
	const {publicKey} = (await callDevice(target, 'recipient')) as {publicKey: string};
	await callDevice(target, 'unlock', {sealed: sealPassphrase(secret, publicKey)});
}

/** Asks until the passphrase is right or the user had enough. @throws ControlError `wrong_passphrase` */
async function askUntilRight(target: DeviceTarget, origin: PassphraseOrigin): Promise<void> {
	for (let count = 1; ; count++) {
		try {
			await attempt(
				target,
				await passphrase(
					origin,
					target.child === undefined ? 'Passphrase: ' : `Passphrase of ${target.child}: `,
				),
			);
			return;
		} catch (error) {
			if (!(isCode(error, 'wrong_passphrase') && count < attemptMax && isInteractive())) {
				throw error;
			}

			complain(`[runtime] ${(error as ControlError).message}`);
		}
	}
}

/**
 * Unlocks with a passphrase that was given, else with what the anchor finds by itself, else with one that is asked for.
 */
export async function unlockDevice(target: DeviceTarget, origin: PassphraseOrigin): Promise<void> {
	const given = givenPassphrase(origin);
	if (given) {
		await attempt(target, given);
		return;
	}

	try {
		await callDevice(target, 'unlock');
	} catch (error) {
		if (!isCode(error, 'locked')) {
			throw error;
		}

		await askUntilRight(target, origin);
	}
}

export async function unlock({target, json}: LockOptions, origin: PassphraseOrigin): Promise<number> {
	try {
		await unlockDevice(target, origin);
	} catch (error) {
		if (error instanceof PromptCancelled && error.byInterrupt) {
			// As it would have ended without a question.
			process.kill(process.pid, 'SIGINT');
		}

		throw error;
	}

	print(json ? JSON.stringify({locked: false}) : 'the device is unlocked');
	return exitCode.ok;
}
