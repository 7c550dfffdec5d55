/**
 * The anchor's NV index at the opening of the anchor: what is in it, what that says of the files, and how it is made
 * anew.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import {judgeFreshness, newestOf, type Verdict} from './freshness.js';
import {
	decodeNvContent,
	encodeNvContent,
	linkDigestLength,
	nvContentLength,
	type ChainLink,
	type NvContent,
} from './nv-content.js';
import {defineNv, freeNvHandle, NvIndex, undefineNv, type NvArea, type NvState} from './nv-index.js';
import type {ChainedRecord} from './chained-record-file.js';
import type {NumberedRecord} from './secured-bytes.js';
import {openStorageKey} from './key-policy.js';
import type {Authorization} from './auth-session.js';
import {withSession} from './tpm-commands.js';
import type {Tpm} from './tpm.js';

/** What the first record of an anchor is chained to: there is nothing before it. */
export const noLink: ChainLink = {epoch: 0, digest: Buffer.alloc(linkDigestLength)};

export function nvAreaOf(handle: number, authValue: Uint8Array): NvArea {
	return {handle, byteLength: nvContentLength, authValue};
}

export type NvFinding =
	{readonly state: Exclude<NvState, 'written'>} | {readonly state: 'written'; readonly content: NvContent};

/** What the index holds, if it is ours. */
export async function inspectNv(tpm: Tpm, area: NvArea): Promise<NvFinding> {
	return NvIndex.use(tpm, area, async index => {
		const state = await index.state();
		return state === 'written' ? {state, content: decodeNvContent(await index.read())} : {state};
	});
}

/** True where `initialize` was cut short: until it has written the TPM for the first time, there is no anchor. */
export function isUnfinished({state}: NvFinding, records: readonly ChainedRecord[]): boolean {
	return (state === 'missing' || state === 'unwritten') && records.every(({secured}) => secured === null);
}

export type FreshVerdict = Extract<Verdict, {kind: 'fresh'}>;

const faults: Readonly<Record<Exclude<NvState, 'written'> | Exclude<Verdict['kind'], 'fresh'>, string>> = {
	missing:
		'the NV index of this trust anchor is not in the TPM any more: somebody removed it, or the TPM has been cleared',
	unwritten: 'the NV index of this trust anchor was made anew and is empty',
	foreign: 'the NV index of this trust anchor belongs to somebody else now',
	files_rolled_back:
		"rolled back: the record of the newest superblock is older than the TPM's: an older copy of the trust anchor's files was put back",
	tpm_rolled_back:
		"rolled back: the TPM's record is older than the one in the file: an older state of the TPM was put back",
	diverged:
		'the TPM and the record of the newest superblock do not follow each other: an older copy of one of them was put back and used',
};

/** Why the files do not count by the TPM, undefined where they do. */
export function faultOf(finding: NvFinding, records: readonly ChainedRecord[]): string | undefined {
	if (finding.state !== 'written') {
		return faults[finding.state];
	}

	const {kind} = judgeFreshness(finding.content, records);
	return kind === 'fresh' ? undefined : faults[kind];
}

/** @throws SessionError `damaged` where the files do not count by the TPM */
export function requireFresh(
	finding: NvFinding,
	records: readonly ChainedRecord[],
	{path, advice}: {path: string; advice: string},
): FreshVerdict & {content: NvContent} {
	const fault = faultOf(finding, records);
	if (finding.state !== 'written' || fault !== undefined) {
		throw new SessionError('damaged', `${path}: ${fault}; ${advice}`);
	}

	return {...(judgeFreshness(finding.content, records) as FreshVerdict), content: finding.content};
}

/** Runs `job` with a salted session of the owner, for what only the owner may do. */
async function asOwner(tpm: Tpm, ownerAuth: Uint8Array, job: (owner: Authorization) => Promise<void>): Promise<void> {
	const saltKey = await openStorageKey(tpm, ownerAuth);
	await withSession(tpm, {kind: 'hmac', saltKey}, async session => job({session, authValue: ownerAuth}));
	await tpm.release(saltKey.handle);
}

/** Makes the index, still empty. */
export async function makeNv(tpm: Tpm, ownerAuth: Uint8Array, area: NvArea): Promise<void> {
	await asOwner(tpm, ownerAuth, async owner => defineNv(tpm, owner, area));
}

export async function writeFirst(tpm: Tpm, area: NvArea, content: NvContent): Promise<void> {
	await NvIndex.use(tpm, area, async index => index.write(encodeNvContent(content), true));
}

/** Gives up an index that an unfinished `initialize` left behind, if it is ours. */
export async function removeUnwritten(tpm: Tpm, ownerAuth: Uint8Array, area: NvArea): Promise<void> {
	if ((await inspectNv(tpm, area)).state === 'unwritten') {
		await asOwner(tpm, ownerAuth, async owner => undefineNv(tpm, owner, area, false));
	}
}

/**
 * Has the TPM start over from the newest of the records, in the index of the given number or, where that is not ours,
 * in another one. Cut short at any point it leaves what another attempt goes on from.
 */
export async function startOver(
	tpm: Tpm,
	ownerAuth: Uint8Array,
	area: NvArea,
	records: readonly ChainedRecord[],
): Promise<{area: NvArea; content: NvContent}> {
	const finding = await inspectNv(tpm, area);
	const usable = finding.state === 'foreign' ? {...area, handle: await freeNvHandle(tpm)} : area;
	if (finding.state === 'missing' || finding.state === 'foreign') {
		await makeNv(tpm, ownerAuth, usable);
	}

	const {sequence, secured}: NumberedRecord = newestOf(records);
	const lastEpoch = Math.max(
		...records.map(({link}) => link.epoch),
		finding.state === 'written' ? finding.content.epoch : 0,
	);
	const content = {epoch: lastEpoch + 1, sequence, secured};
	await NvIndex.use(tpm, usable, async index => index.write(encodeNvContent(content), finding.state !== 'written'));
	return {area: usable, content};
}
