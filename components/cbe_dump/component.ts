/**
 * Prints what lies in a container, for people and programs. Guarantee: it changes nothing and prints no key, not even
 * a wrapped one, and no data.
 */
import {z} from 'zod';
import {defineTool, optional} from '../../runtime/sdk/component.js';
import type {Client} from '../../runtime/sdk/session.js';
import {readSuperblockSearch} from '../lib/container/open-container.js';
import {innerKeyId} from '../lib/container/inner-blocks.js';
import {openSuperblock} from '../lib/format/open-superblock.js';
import {ContainerError} from '../lib/format/superblock-search.js';
import {addInnerKey} from '../lib/container/key-delivery.js';
import {hasSealedNames, readNames} from '../lib/container/snapshot-directory.js';
import type {Superblock} from '../lib/format/superblock.js';
import {reportFailure} from '../lib/container/tool-failure.js';
import {block} from '../sessions/block.js';
import {crypto} from '../sessions/crypto.js';
import {trustAnchor} from '../sessions/trust-anchor.js';
import {formatRecord, type DumpRecord} from './dump-record.js';
import {nameRecords, superblockRecords} from './superblock-dump.js';
import {treeRecords, type DumpedTree, type LeafRange} from './tree-dump.js';

const treeNames = ['vbd', 'ft', 'mt'] as const;

type TreeName = (typeof treeNames)[number];

/** Leaves of each tree that are printed unless the configuration says otherwise. */
const leafCountDefault = 4096;

function leafNumber(text: string) {
	return z
		.string()
		.regex(/^\d{1,15}$/, text)
		.transform(Number);
}

const Config = z.strictObject({
	/** How much is printed: superblocks alone, inner blocks too, leaves too. */
	detail: z.enum(['superblock', 'trees', 'leaves']).default('superblock'),
	/** The tree to print; all three where it is not given. */
	tree: z.enum(treeNames).optional(),
	/** The snapshot whose tree is printed as `vbd`; the current one where it is not given. */
	snapshot: z
		.string()
		.regex(/^\d{1,15}$/, 'the generation of a snapshot is required')
		.transform(Number)
		.optional(),
	/** The first leaf of each tree to print, with `detail="leaves"`. */
	first: leafNumber('the number of a leaf is required').default(0),
	/** How many leaves of each tree to print, with `detail="leaves"`. */
	count: leafNumber('a number of leaves is required').default(leafCountDefault),
	/** `json`: one object a line. */
	format: z.enum(['text', 'json']).default('text'),
});

type Config = z.output<typeof Config>;

function snapshotTree(
	{snapshots, currentSnapshot, degree, fresh, features}: Superblock,
	generation: number | undefined,
): DumpedTree {
	const snapshot =
		generation === undefined
			? snapshots[currentSnapshot]
			: snapshots.find(candidate => candidate?.root.generation === generation);
	if (!snapshot) {
		const names = snapshots.flatMap(candidate => (candidate ? [candidate.root.generation] : []));
		throw new ContainerError(
			'no_snapshot',
			`there is no snapshot ${generation ?? currentSnapshot}; there are ${names.join(', ')}`,
		);
	}

	return {
		...snapshot,
		degree,
		pool: false,
		fresh: fresh?.virtualBlockDevice,
		emptiesLeaves: features?.includes('emptied_leaves') === true,
	};
}

function treeOf(superblock: Superblock, name: TreeName, snapshot: number | undefined): DumpedTree {
	switch (name) {
		case 'vbd': {
			return snapshotTree(superblock, snapshot);
		}

		case 'ft': {
			return {...superblock.freeTree, pool: true};
		}

		case 'mt': {
			return {...superblock.metaTree, pool: true};
		}
	}
}

function wantedLeaves({detail, first, count}: Config): LeafRange | undefined {
	return detail === 'leaves' ? {first, end: first + count} : undefined;
}

interface TreesDump {
	readonly superblock: Superblock;
	readonly medium: Client<typeof block>;
	readonly innerServer: Client<typeof crypto> | undefined;
	readonly config: Config;
	readonly print: (record: DumpRecord) => void;
}

async function dumpTrees({superblock, medium, innerServer, config, print}: TreesDump): Promise<void> {
	for (const name of config.tree ? [config.tree] : treeNames) {
		const tree = treeOf(superblock, name, config.snapshot);
		print({
			kind: 'tree',
			depth: 0,
			fields: {tree: name, leaves: tree.leafCount, max_level: tree.maxLevel, degree: tree.degree},
		});
		const leaves = wantedLeaves(config);
		for await (const record of treeRecords({medium, tree, innerServer, leaves})) {
			print(record);
		}

		if (leaves && leaves.end < tree.leafCount) {
			print({
				kind: 'rest',
				depth: 1,
				fields: {tree: name, first: leaves.end, leaves: tree.leafCount - leaves.end},
			});
		}
	}
}

export default defineTool({
	requires: {block, trust_anchor: trustAnchor, crypto: optional(crypto)},
	config: Config,
	run: async ({config, sessions, env}) =>
		reportFailure(async () => {
			const print = (record: DumpRecord) => env.log(formatRecord(record, config.format));
			const search = await readSuperblockSearch({block: sessions.block, trustAnchor: sessions.trust_anchor});
			for (const record of superblockRecords(search)) {
				print(record);
			}

			// The superblocks are worth seeing where none can be opened, too.
			const {superblock} = openSuperblock(search);
			/** @param innerServer with the key of the inner blocks, where these are encrypted */
			const dump = async (innerServer?: Client<typeof crypto>): Promise<void> => {
				const {superblock: named, fault} = await readNames(
					{block: sessions.block, crypto: innerServer},
					superblock,
				);
				if (fault) {
					env.log(fault.text, 'warning');
				}

				for (const record of nameRecords(named)) {
					print(record);
				}

				if (config.detail !== 'superblock') {
					await dumpTrees({superblock, medium: sessions.block, config, print, innerServer});
				}
			};

			const sealed = [
				...(hasSealedNames(superblock) ? ['the names of the snapshots'] : []),
				...(superblock.innerBlocks && config.detail !== 'superblock' ? ['the inner blocks'] : []),
			];
			if (sealed.length === 0 || !superblock.containerId) {
				await dump();
				return {exitValue: 0};
			}

			const {crypto: server} = sessions;
			if (!server) {
				return {
					exitValue: -1,
					message: `${sealed.join(' and ')} are encrypted: route the service "crypto" of "${env.name}" to a crypto server`,
				};
			}

			await addInnerKey({crypto: server, trust_anchor: sessions.trust_anchor}, superblock.containerId);
			try {
				await dump(server);
			} finally {
				await server.remove_key({keyId: innerKeyId});
			}

			return {exitValue: 0};
		}),
});
