/**
 * What has to be right before the TPM gives the master key away: values of PCRs, the passphrase, or both. The policy is
 * part of the sealed object, so nothing outside of the TPM can weaken it.
 */
import {type AuthSession} from './auth-session.js';
import {
	createPrimary,
	createSealed,
	loadSealed,
	policyAuthValue,
	policyGetDigest,
	policyPcr,
	readPcr,
	unseal,
	withSession,
	type SealedObject,
	type SessionKind,
	type StorageKey,
} from './tpm-commands.js';
import {TpmError} from './tpm-error.js';
import type {Tpm} from './tpm.js';

/** One PCR of the SHA-256 bank as it was when the key was sealed. */
export interface PcrValue {
	readonly pcr: number;
	readonly value: Buffer;
}

export interface KeyPolicy {
	readonly pcrs: readonly number[];
	readonly demandsPassphrase: boolean;
}

/** The storage root key, made with the owner's authorization, which does not cross the bus. */
export async function openStorageKey(tpm: Tpm, ownerAuth: Uint8Array): Promise<StorageKey> {
	return withSession(tpm, {kind: 'hmac'}, async session => createPrimary(tpm, {session, authValue: ownerAuth}));
}

/** @throws TpmError where the TPM has no such PCR */
async function readPcrs(tpm: Tpm, pcrs: readonly number[]): Promise<PcrValue[]> {
	const values = [];
	for (const pcr of pcrs) {
		const value = await readPcr(tpm, pcr);
		if (!value) {
			throw new TpmError(
				'refused',
				`the TPM has no PCR ${pcr} with SHA-256; choose other PCRs, or enable that bank in the firmware's settings`,
			);
		}

		values.push({pcr, value});
	}

	return values;
}

/** Runs `job` with a session on which the policy's assertions have been made, against the present PCRs. */
async function withPolicy<T>(
	tpm: Tpm,
	options: {kind: SessionKind; saltKey: StorageKey},
	{pcrs, demandsPassphrase}: KeyPolicy,
	job: (session: AuthSession) => Promise<T>,
): Promise<T> {
	return withSession(tpm, {...options, policyProvesAuthValue: demandsPassphrase}, async session => {
		if (pcrs.length > 0) {
			await policyPcr(tpm, session, pcrs);
		}

		if (demandsPassphrase) {
			await policyAuthValue(tpm, session);
		}

		return job(session);
	});
}

export interface SealedWithPolicy {
	readonly sealed: SealedObject;
	readonly pcrValues: readonly PcrValue[];
}

/** Seals `secret` under the policy, with the PCRs as they are now. */
export async function sealUnderPolicy(
	tpm: Tpm,
	parent: StorageKey,
	policy: KeyPolicy,
	{secret, authValue}: {secret: Uint8Array; authValue: Uint8Array},
): Promise<SealedWithPolicy> {
	const pcrValues = await readPcrs(tpm, policy.pcrs);
	const policyDigest = await withPolicy(tpm, {kind: 'trial', saltKey: parent}, policy, async trial =>
		policyGetDigest(tpm, trial),
	);
	const sealed = await withSession(tpm, {kind: 'hmac', saltKey: parent}, async session =>
		createSealed(tpm, parent, session, {secret, authValue, policyDigest}),
	);
	return {sealed, pcrValues};
}

/**
 * The sealed secret. The caller wipes it. @throws TpmError, of which `policy_fail` and `bad_auth` mean what they say
 */
export async function unsealUnderPolicy(
	tpm: Tpm,
	parent: StorageKey,
	policy: KeyPolicy,
	{sealed, authValue}: {sealed: SealedObject; authValue: Uint8Array},
): Promise<Buffer> {
	const object = await withSession(tpm, {kind: 'hmac', saltKey: parent}, async session =>
		loadSealed(tpm, parent, session, sealed),
	);
	return withPolicy(tpm, {kind: 'policy', saltKey: parent}, policy, async session =>
		unseal(tpm, object, session, authValue),
	);
}

/** Numbers of the PCRs that have another value now. */
export async function changedPcrs(tpm: Tpm, sealedValues: readonly PcrValue[]): Promise<number[]> {
	const changed = [];
	for (const {pcr, value} of sealedValues) {
		if (!(await readPcr(tpm, pcr))?.equals(value)) {
			changed.push(pcr);
		}
	}

	return changed;
}
