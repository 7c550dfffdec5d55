/**
 * The master key in the TPM: how it gets in, and what keeps it from coming out, said so that its user knows what to do.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import {freshBytes} from './fresh-bytes.js';
import type {KeyFile} from './sealed-key-file.js';
import {changedPcrs, openStorageKey, sealUnderPolicy, unsealUnderPolicy, type KeyPolicy} from './key-policy.js';
import {authOfPassphrase, presentCost, saltLength} from './passphrase-auth.js';
import {TpmError} from './tpm-error.js';
import type {StorageKey} from './tpm-commands.js';
import type {Tpm} from './tpm.js';

/** The part of the key file that one TPM made. */
export type SealedPart = Omit<KeyFile, 'nvHandle' | 'recoverySlot'>;

/** Seals the master key for this TPM, with its PCRs as they are now. Key and passphrase stay the caller's. */
export async function sealMaster(
	tpm: Tpm,
	parent: StorageKey,
	policy: KeyPolicy,
	{masterKey, passphrase}: {masterKey: Uint8Array; passphrase: Uint8Array | undefined},
): Promise<SealedPart> {
	const salt = freshBytes(tpm.env, saltLength);
	const authValue = passphrase ? await authOfPassphrase(passphrase, salt, presentCost) : Buffer.alloc(0);
	try {
		const {sealed, pcrValues} = await sealUnderPolicy(tpm, parent, policy, {secret: masterKey, authValue});
		return {
			demandsPassphrase: policy.demandsPassphrase,
			salt,
			cost: presentCost,
			pcrValues,
			storageKeyName: Buffer.from(parent.name),
			sealed,
		};
	} finally {
		authValue.fill(0);
	}
}

export interface UnsealRequest {
	readonly file: KeyFile;
	readonly ownerAuth: Uint8Array;
	/** Undefined only where the file demands none. */
	readonly passphrase: Uint8Array | undefined;
	/** For messages: where the passphrase came from. */
	readonly passphraseName: string;
	readonly keyPath: string;
}

/** The advice for whoever cannot open the anchor in the usual way. */
function wayBack({recoverySlot}: KeyFile): string {
	return recoverySlot ? 'or open it with the recovery key' : 'there is no recovery key, so nothing else opens it';
}

/** The master key. The caller wipes it. @throws SessionError, TpmError */
export async function unsealMaster(
	tpm: Tpm,
	{file, ownerAuth, passphrase, passphraseName, keyPath}: UnsealRequest,
): Promise<Buffer> {
	const parent = await openStorageKey(tpm, ownerAuth);
	if (!Buffer.from(parent.name).equals(file.storageKeyName)) {
		throw new SessionError(
			'locked',
			`${keyPath} was sealed by another TPM, or this TPM has been cleared since; use the TPM that made it, ${wayBack(file)}`,
		);
	}

	const authValue = passphrase ? await authOfPassphrase(passphrase, file.salt, file.cost) : Buffer.alloc(0);
	try {
		const policy = {pcrs: file.pcrValues.map(({pcr}) => pcr), demandsPassphrase: file.demandsPassphrase};
		return await unsealUnderPolicy(tpm, parent, policy, {sealed: file.sealed, authValue});
	} catch (error) {
		throw error instanceof TpmError ? await explained(tpm, error, {file, keyPath, passphraseName}) : error;
	} finally {
		authValue.fill(0);
	}
}

async function explained(
	tpm: Tpm,
	error: TpmError,
	{file, keyPath, passphraseName}: Pick<UnsealRequest, 'file' | 'keyPath' | 'passphraseName'>,
): Promise<Error> {
	if (error.is('bad_auth', 'auth_fail')) {
		return new SessionError(
			'wrong_passphrase',
			`${passphraseName} does not open ${keyPath}; give the right one, ${wayBack(file)}`,
		);
	}

	if (error.is('policy_fail', 'pcr_changed', 'value')) {
		const changed = await changedPcrs(tpm, file.pcrValues);
		if (changed.length > 0) {
			return new SessionError(
				'locked',
				`${keyPath} does not open because ${changed.length === 1 ? 'PCR' : 'PCRs'} ${changed.join(', ')} changed since it was sealed: another firmware, boot loader or setting was started; start the one as before, ${wayBack(file)}`,
			);
		}
	}

	return error.is('integrity')
		? new SessionError(
				'damaged',
				`${keyPath}: the TPM does not know the key in it as its own; restore the file from a backup`,
			)
		: error;
}
