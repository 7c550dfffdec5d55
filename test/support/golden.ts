/** The golden containers: images and descriptions written by the original implementation. */
import {readFileSync} from 'node:fs';
import {gunzipSync} from 'node:zlib';

// Compiled tests run from dist/test/support.
const directory = new URL('../../../test/golden/', import.meta.url);

export const goldenNames = [
	'd64_a_init',
	'd64_b_snaps',
	'd64_c_rekeyed',
	'd64_d_rekeying_fixed',
	'd64_e_extended',
	'd64_f_extending_vbd',
	'd64_g_extending_ft',
] as const;

export type GoldenName = (typeof goldenNames)[number];

/** Containers of the original in which it has done something wrong, or goes to a limit. */
export const specialGoldenNames = [
	'd4_d_rekeying_head',
	'o_deep5_d4',
	'o_full_pool_d8',
	'o_rekeying_damaged',
	'o_snaps48',
	'o_snapshot_then_power_cut',
] as const;

export type SpecialGoldenName = (typeof specialGoldenNames)[number];

/** What stands in the list of hashes for a block that cannot be read. */
export const unreadable = 'ERR';

interface GoldenTree {
	readonly gen: number;
	readonly pba: number;
	readonly hash: string;
	readonly max_lvl: number;
	readonly degree: number;
	readonly leaves: number;
}

export interface GoldenSnapshot {
	readonly idx: number;
	readonly gen: number;
	readonly keep: boolean;
	readonly pba: number;
	readonly hash: string;
	readonly max_lvl: number;
	readonly leaves: number;
	readonly is_current: boolean;
	/** SHA-256 of the plaintext by VBA; what is not listed was never written. */
	readonly vba_sha256: Readonly<Record<string, string>>;
}

export interface GoldenDescription {
	readonly image_sha256: string;
	readonly trust_anchor: {
		readonly superblock_hash_file: string;
		readonly encrypted_private_key_file: string;
		readonly passphrase: string;
		readonly master_key: string;
	};
	readonly generated_block_keys: ReadonlyArray<{readonly id: number; readonly plain: string}>;
	readonly superblock: {
		readonly superblock_slot: number;
		readonly state: number;
		readonly rekeying_vba: number;
		readonly resizing_nr_of_pbas: number;
		readonly resizing_nr_of_leaves: number;
		readonly current_key: {readonly id: number; readonly on_disc: string};
		readonly previous_key: {readonly id: number; readonly on_disc: string};
		readonly last_secured_generation: number;
		readonly curr_snap_idx: number;
		readonly degree: number;
		readonly nr_of_pbas: number;
		readonly free_tree: GoldenTree;
		readonly meta_tree: GoldenTree;
	};
	readonly snapshots: readonly GoldenSnapshot[];
	readonly pba_accounting: {
		readonly vbd_current: number;
		readonly ft_leaves: number;
		readonly ft_inner: number;
		readonly mt_leaves: number;
		readonly mt_inner: number;
	};
}

/** What all descriptions have. */
export interface GoldenContent {
	readonly trust_anchor: Pick<
		GoldenDescription['trust_anchor'],
		'superblock_hash_file' | 'encrypted_private_key_file' | 'passphrase'
	>;
	readonly snapshots: ReadonlyArray<Pick<GoldenSnapshot, 'gen' | 'keep' | 'leaves' | 'is_current' | 'vba_sha256'>>;
}

interface Golden<D> {
	readonly image: Buffer;
	readonly description: D;
}

function load<D>(name: string): Golden<D> {
	return {
		image: gunzipSync(readFileSync(new URL(`${name}.img.gz`, directory))),
		description: JSON.parse(readFileSync(new URL(`${name}.json`, directory), 'utf8')) as D,
	};
}

/** Reads a golden container; the image belongs to the caller. */
export function loadGolden(name: GoldenName): Golden<GoldenDescription> {
	return load(name);
}

/** The same, with what the descriptions of all containers have. */
export function loadGoldenContent(name: GoldenName | SpecialGoldenName): Golden<GoldenContent> {
	return load(name);
}
