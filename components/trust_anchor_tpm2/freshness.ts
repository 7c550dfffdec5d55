/**
 * Decides which record counts, by what the TPM holds. A record counts where it is the one in the TPM, or where it
 * follows exactly that content and is newer.
 *
 * A crash can fall between any two of: a record is written, the TPM is written, the next record is written. Each leaves
 * a record that counts, as the TPM is only ever given a record that lies in the file already, and a record is only
 * chained to content that the TPM has confirmed.
 */
import {encodeNvContent, linkTo, type NvContent} from './nv-content.js';
import type {ChainedRecord} from './chained-record-file.js';

export type Verdict =
	/**
	 * `isCovered`: the TPM holds this very record; otherwise an older one of the same window could be passed off for
	 * it.
	 */
	| {readonly kind: 'fresh'; readonly newest: ChainedRecord; readonly isCovered: boolean}
	/** The files are older than the TPM: an older copy of them was put back. */
	| {readonly kind: 'files_rolled_back'}
	/** The TPM is older than the files: its state was put back. */
	| {readonly kind: 'tpm_rolled_back'}
	/** Neither follows the other: both went on after one of them had been put back. */
	| {readonly kind: 'diverged'};

function isInTpm(record: ChainedRecord, content: NvContent): boolean {
	return encodeNvContent({...record, epoch: content.epoch}).equals(encodeNvContent(content));
}

/** The newest of the records, of which there is at least one. */
export function newestOf(records: readonly ChainedRecord[]): ChainedRecord {
	return [...records].sort((one, other) => other.sequence - one.sequence)[0];
}

export function judgeFreshness(content: NvContent, records: readonly ChainedRecord[]): Verdict {
	const {digest} = linkTo(content);
	if (records.some(({link}) => link.epoch > content.epoch)) {
		return {kind: 'tpm_rolled_back'};
	}

	const counting = records.filter(
		record => isInTpm(record, content) || (record.link.digest.equals(digest) && record.sequence > content.sequence),
	);
	if (counting.length > 0) {
		const newest = newestOf(counting);
		return {kind: 'fresh', newest, isCovered: isInTpm(newest, content)};
	}

	return {kind: newestOf(records).link.epoch < content.epoch ? 'files_rolled_back' : 'diverged'};
}
