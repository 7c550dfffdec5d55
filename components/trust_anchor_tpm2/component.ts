/**
 * trust_anchor_tpm2: the master key sealed to a TPM 2.0, and the record of the newest superblock in its memory.
 *
 * Guarantee: the key leaves the TPM only for the right passphrase and the right PCRs, and crosses the bus encrypted.
 * After a crash at any point the newest record counts; older copies of the files are refused, but for those of the last
 * window.
 */
import {dirname} from 'node:path';
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {whyUnmakable, whyUnwritable} from '../../runtime/sdk/host-path.js';
import {serveTrustAnchor} from '../lib/anchor/anchor-service.js';
import {
	anchorDirectoryObstacles,
	emptyVariableObstacles,
	passphraseObstacles,
	passphraseReach,
} from '../lib/anchor/passphrase-source.js';
import {trustAnchor} from '../sessions/trust-anchor.js';
import {pcrCount} from './sealed-key-file.js';
import {Tpm2Store} from './tpm2-store.js';

/** `0,2,7`: numbers of PCRs. */
const PcrList = z.string().transform((text, context) => {
	const pcrs = text
		.split(',')
		.map(part => part.trim())
		.filter(part => part !== '')
		.map(part => (/^\d{1,2}$/.test(part) ? Number(part) : NaN));
	if (pcrs.some(pcr => !(pcr < pcrCount))) {
		context.addIssue({
			code: 'custom',
			message: `"${text}" is no list of PCRs; write numbers from 0 to ${pcrCount - 1}, e.g. 0,2,7`,
		});
		return z.NEVER;
	}

	return [...new Set(pcrs)].sort((one, other) => one - other);
});

/** 23 days; timers take no more. */
const windowSecondsMax = 2_000_000;

const config = z
	.strictObject({
		/** Directory of the anchor's files. */
		path: z.string().min(1).default('trust_anchor'),
		/** The TPM's device, or the unix socket of an emulator. */
		tpm: z.string().min(1).default('/dev/tpmrm0'),
		/** Whether a new anchor demands a passphrase. */
		passphrase: z.enum(['yes', 'no']).default('yes'),
		/** The file that holds the passphrase, and else the environment variable that does. */
		passphrase_file: z.string().min(1).optional(),
		passphrase_variable: z.string().min(1).default('CBE_PASSPHRASE'),
		/** PCRs (SHA-256 bank) whose values a new anchor demands to be as they are when it is made. */
		pcrs: PcrList.default([]),
		/** How long a record may wait until it is in the TPM, too; 0 writes the TPM with each record. */
		window_seconds: z.coerce.number().int().min(0).max(windowSecondsMax).default(600),
		/** How many records may wait until they are in the TPM, too; 0 is no limit. */
		window_records: z.coerce.number().int().min(0).default(0),
		/** Where the recovery key of a new anchor is written to; without it there is none. */
		recovery_file: z.string().min(1).optional(),
		/** The environment variable that holds the recovery key when it is needed. */
		recovery_variable: z.string().min(1).default('CBE_RECOVERY_KEY'),
		/** The environment variable that holds the password of the TPM's owner hierarchy, where it has one. */
		owner_variable: z.string().min(1).default('CBE_TPM_OWNER_PASSWORD'),
	})
	.refine(
		({passphrase, pcrs}) => passphrase === 'yes' || pcrs.length > 0,
		'neither a passphrase nor PCRs would keep the key in the TPM; leave passphrase="yes", or name PCRs',
	);

export default defineComponent({
	provides: {trust_anchor: trustAnchor},
	config,
	obstacles(
		{
			path,
			tpm,
			passphrase_file: file,
			passphrase_variable: variable,
			recovery_file: recovery,
			recovery_variable: recoveryVariable,
		},
		context,
	) {
		const tpmPath = context.resolvePath(tpm);
		const reason = whyUnwritable(tpmPath);
		const recoveryReason =
			recovery === undefined ? undefined : whyUnmakable(context.resolvePath(recovery), context.stateDirectory);
		return [
			...anchorDirectoryObstacles(path, context),
			...passphraseObstacles({file, variable}, context),
			...emptyVariableObstacles(recoveryVariable, 'recovery_variable', 'the recovery key', context),
			...(reason === undefined
				? []
				: [
						{
							at: ['tpm'],
							what: `the TPM ${tpmPath} cannot be used: ${reason}`,
							remedy: 'enable the TPM in the firmware, put this user into the group of the device (tss), or name another one with tpm="…"',
						},
					]),
			...(recoveryReason === undefined
				? []
				: [
						{
							at: ['recovery_file'],
							what: `the recovery key cannot be written: ${recoveryReason}`,
							remedy: 'make the folder, or correct the path',
						},
					]),
		];
	},
	reach(
		{path, tpm, passphrase_file: file, passphrase_variable, recovery_variable, recovery_file, owner_variable},
		variable,
	) {
		const {files, variables, secrets} = passphraseReach({file, variable: passphrase_variable}, variable);
		return {
			files: [
				{path, writable: true, made: 'directory'},
				{path: tpm, writable: true},
				...files,
				...(recovery_file === undefined ? [] : [{path: dirname(recovery_file), writable: true}]),
			],
			variables,
			secrets: [...secrets, recovery_variable, owner_variable],
			sockets: true,
		};
	},
	async start({config, env}) {
		const store = new Tpm2Store(
			{
				directory: env.resolvePath(config.path),
				tpmPath: env.resolvePath(config.tpm),
				policy: {pcrs: config.pcrs, demandsPassphrase: config.passphrase === 'yes'},
				window: {
					seconds: config.window_seconds,
					records: config.window_records === 0 ? Infinity : config.window_records,
				},
				passphrase: {file: config.passphrase_file, variable: config.passphrase_variable},
				recoveryVariable: config.recovery_variable,
				ownerVariable: config.owner_variable,
				recoveryPath: config.recovery_file === undefined ? undefined : env.resolvePath(config.recovery_file),
			},
			env,
		);
		const {running} = await serveTrustAnchor(store, env);
		return {
			...running,
			status: () => ({
				...running.status?.(),
				tpm_writes: store.writeCount,
				records_not_in_tpm: store.uncoveredCount,
			}),
		};
	},
});
