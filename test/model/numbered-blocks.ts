/**
 * What lies in the blocks of the model, by number: 0 is blank, a block that was torn while it got content `n` is `-n`.
 * A hash is the number of the content, so nothing but the very content has it; authenticity is certain for the same
 * reason.
 */
import type {LogEntry} from '../../components/lib/format/flush-log.js';
import type {Superblock} from '../../components/lib/format/superblock.js';
import {currentSnapshotOf} from '../../components/superblock_control/transition.js';

export const vbaCount = 2;
export const placeCount = 6;
export const slotCount = 8;
export const logBlockCount = 4;
/** Addresses: slots, places of data, log, the two places of the snapshot directory. */
export const firstPlace = slotCount;
export const firstLogBlock = firstPlace + placeCount;
export const firstDirectory = firstLogBlock + logBlockCount;
export const addressCount = firstDirectory + 2;

/** Where the blocks of the device lie and what they are: place and data code of VBA 0, those of VBA 1. */
export type Tree = readonly [number, number, number, number];

const versionMax = 15;

/** Data of a VBA: which write of it, and under which key. Below all other contents. */
export function dataCode(vba: number, version: number, keyId: number): number {
	return 1 + vba + vbaCount * version + vbaCount * (versionMax + 1) * (keyId - 1);
}

export const versionOf = (code: number): number => Math.floor((code - 1) / vbaCount) % (versionMax + 1);
export const keyIdOf = (code: number): number => 1 + Math.floor((code - 1) / (vbaCount * (versionMax + 1)));

const firstOther = 1000;

export function treeBytes(tree: Tree): Uint8Array {
	return Uint8Array.from(tree);
}

export function treeOfBytes(bytes: Uint8Array): Tree {
	return [bytes[0], bytes[1], bytes[2], bytes[3]];
}

/** The tree of a superblock's current state. */
export function currentTree(superblock: Superblock): Tree {
	return treeOfBytes(currentSnapshotOf(superblock).root.hash);
}

/** Places of a tree, one bit each. */
export function placesOf([first, , second]: Tree): number {
	return (1 << first) | (1 << second);
}

/** Places of all trees of a superblock. */
export function placesOfAll({snapshots}: Superblock): number {
	let places = 0;
	for (const snapshot of snapshots) {
		if (snapshot) {
			places |= placesOf(treeOfBytes(snapshot.root.hash));
		}
	}

	return places;
}

export function hashOf(content: number): Uint8Array {
	return Uint8Array.of(content % 256, Math.floor(content / 256) % 256, Math.floor(content / 65_536));
}

export function contentOf(hash: Uint8Array): number {
	return hash[0] + 256 * hash[1] + 65_536 * hash[2];
}

/** A log entry of one change. */
export interface Entry extends LogEntry {
	/** Content before it in the log. */
	readonly previous: number;
	readonly position: number;
	readonly flush: {readonly number: number; readonly left: number};
}

/** All contents of an exploration but data. */
export class Contents {
	readonly #byKey = new Map<string, number>();
	readonly #values: Array<Superblock | Entry | undefined> = [];
	readonly #known = new WeakMap<Superblock, number>();

	#number(key: string, value: Superblock | Entry | undefined): number {
		let content = this.#byKey.get(key);
		if (content === undefined) {
			content = firstOther + this.#values.length;
			this.#values.push(value);
			this.#byKey.set(key, content);
		}

		return content;
	}

	superblock(superblock: Superblock): number {
		let content = this.#known.get(superblock);
		if (content === undefined) {
			const {
				state,
				rekeyingVba,
				currentKey,
				previousKey,
				lastSecuredGeneration,
				currentSnapshot,
				snapshots,
				snapshotDirectory,
				sealedBlockCounts,
			} = superblock;
			const kept = snapshots
				.map(
					(snapshot, slot) =>
						snapshot &&
						[slot, snapshot.root.generation, snapshot.keep, snapshot.root.hash.join('.')].join(':'),
				)
				.filter(text => text !== undefined);
			const directory = snapshotDirectory && `${snapshotDirectory.place}:${contentOf(snapshotDirectory.hash)}`;
			content = this.#number(
				[
					's',
					state,
					rekeyingVba,
					currentKey.id,
					previousKey?.id,
					lastSecuredGeneration,
					currentSnapshot,
					kept.join(),
					directory,
					sealedBlockCounts?.current,
					sealedBlockCounts?.previous,
				].join('|'),
				superblock,
			);
			this.#known.set(superblock, content);
		}

		return content;
	}

	entry(entry: Omit<Entry, 'hash'>): number {
		const {
			previous,
			position,
			generation,
			flush,
			changes: {vbas, addresses, labels},
		} = entry;
		const hash = new Uint8Array(3);
		const content = this.#number(
			['e', previous, position, generation, flush.number, flush.left, vbas[0], addresses[0], labels[0]].join('|'),
			{...entry, hash},
		);
		hash.set(hashOf(content));
		return content;
	}

	directory(data: Uint8Array): number {
		return this.#number(`d${Buffer.from(data).toString('latin1')}`, undefined);
	}

	/** The superblock with this content; undefined where it is none. */
	superblockOf(content: number): Superblock | undefined {
		const value = this.#values[content - firstOther];
		return value && 'snapshots' in value ? value : undefined;
	}

	entryOf(content: number): Entry | undefined {
		const value = this.#values[content - firstOther];
		return value && 'changes' in value ? value : undefined;
	}
}
