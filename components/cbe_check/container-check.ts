/**
 * Checks a whole container: the snapshots' trees together, then free tree, meta tree and flush log, then who owns what.
 */
import type {Environment} from '../../runtime/sdk/component.js';
import type {Client} from '../../runtime/sdk/session.js';
import {newestChanges, type LeafChanges, type LogEntry} from '../lib/format/flush-log.js';
import {superblockSlotCount} from '../lib/format/geometry.js';
import {labelLength} from '../lib/format/label.js';
import {hasLostPreviousKey, newestGenerationOf, type Superblock} from '../lib/format/superblock.js';
import type {block} from '../sessions/block.js';
import {isAuthenticated} from '../sessions/cipher.js';
import type {crypto} from '../sessions/crypto.js';
import {BlockVerifier, pieceBlockCount} from './block-verifier.js';
import {BoundedJobs} from './bounded-jobs.js';
import {DataOpener} from './data-opener.js';
import {Findings} from './findings.js';
import {LabelPool} from './label-pool.js';
import {Ownership} from './ownership.js';
import {Progress} from './check-progress.js';
import {referenceText, type CheckedTree, type Reference} from './reference.js';
import {TreeWalk, type NewerNodes, type RootedTree, type WalkCounts, type WalkParts} from './tree-walk.js';

/** Ranges of lost VBAs that a finding names. */
const keylessRangeMax = 50;

export interface CheckResult {
	readonly findings: Findings;
	readonly snapshots: WalkCounts;
	readonly freeTree: WalkCounts;
	readonly metaTree: WalkCounts;
	readonly snapshotCount: number;
	readonly heldCount: number;
	/** Blocks that the flush log names. */
	readonly loggedCount: number;
	readonly progress: Progress;
}

export interface CheckArguments {
	readonly superblock: Superblock;
	/** Why the names of the snapshots are not the ones that were stored, where they are not. */
	readonly namesFault?: string | undefined;
	/** What was flushed after the superblock. */
	readonly log: readonly LogEntry[];
	readonly medium: Client<typeof block>;
	readonly env: Pick<Environment, 'log' | 'now' | 'leaseWhenFree' | 'cpuCount'>;
	/** A crypto server that has the container's keys, where there is something that only they can check. */
	readonly crypto?: Client<typeof crypto>;
}

/** The valid snapshots, the current one first, then from the newest to the oldest. */
function snapshotTrees({snapshots, currentSnapshot, degree, fresh, features}: Superblock): RootedTree[] {
	const trees: RootedTree[] = [];
	for (const [slot, snapshot] of snapshots.entries()) {
		if (snapshot) {
			const {root, leafCount, maxLevel} = snapshot;
			trees.push({
				name: `snapshot ${root.generation}`,
				generation: root.generation,
				root,
				leafCount,
				maxLevel,
				degree,
				current: slot === currentSnapshot,
				fresh: fresh?.virtualBlockDevice,
				emptiesLeaves: features?.includes('emptied_leaves') === true,
			});
		}
	}

	return trees.sort((a, b) => Number(b.current) - Number(a.current) || b.root.generation - a.root.generation);
}

/** No damage, but a reader that goes on from the newest snapshot alone would write over blocks of the secured state. */
function warnOfLateTrees(superblock: Superblock, env: Pick<Environment, 'log'>): void {
	const {snapshots, currentSnapshot, freeTree, metaTree, lastSecuredGeneration} = superblock;
	const newest = snapshots[currentSnapshot]?.root.generation ?? 0;
	const pool = Math.max(freeTree.root.generation, metaTree.root.generation);
	const last = newestGenerationOf(superblock);
	if (newest < last) {
		const later =
			newest < pool ? `the pool's trees of ${pool}` : `the last secured state of ${lastSecuredGeneration}`;
		env.log(
			`the newest snapshot is of generation ${newest}, ${later}: this program goes on from ${last}, the original would go back; a flush after a write mends it`,
			'warning',
		);
	}
}

/** No damage yet: the pool holds for a snapshot what is as old as it is. */
function warnOfNewerNodes(newer: ReadonlyMap<CheckedTree, NewerNodes>, env: Pick<Environment, 'log'>): void {
	for (const [{name}, {count, first}] of newer) {
		const nodes = `${name}: ${count} of its nodes ${count === 1 ? 'is' : 'are'} newer than itself (${count === 1 ? '' : 'the first: '}${referenceText(first)}, generation ${first.generation})`;
		env.log(
			`${nodes}: their blocks are not held for it once the device has others in their place; copy what you need of it before anything is written`,
			'warning',
		);
	}
}

interface LogCheck {
	readonly verifier: BlockVerifier;
	readonly findings: Findings;
	readonly superblock: Superblock;
	/** The tree that the log changes. */
	readonly device: RootedTree;
}

/**
 * The blocks that the flush log names, of each VBA the newest; they become part of the tree when the device is opened.
 */
async function checkLog(
	{vbas, addresses, labels}: LeafChanges,
	{verifier, findings, superblock, device}: LogCheck,
): Promise<void> {
	const generation = superblock.lastSecuredGeneration + 1;
	const tree: RootedTree = {...device, name: 'flush log', generation};
	const references: Reference[] = [];
	for (const [i, address] of addresses.entries()) {
		const reference = {
			address,
			generation,
			hash: labels.subarray(i * labelLength, (i + 1) * labelLength),
			level: 0,
			position: vbas[i],
			tree,
			oldest: tree,
		};
		if (address < superblockSlotCount || address >= superblock.pbaCount || vbas[i] >= device.leafCount) {
			findings.add(`${referenceText(reference)}: does not fit the container`);
		} else {
			references.push(reference);
		}
	}

	for (let first = 0; first < references.length; first += pieceBlockCount) {
		await verifier.verify(references.slice(first, first + pieceBlockCount));
	}
}

export async function checkContainer({
	superblock,
	namesFault,
	log,
	medium,
	env,
	crypto,
}: CheckArguments): Promise<CheckResult> {
	const findings = new Findings();
	if (namesFault !== undefined) {
		findings.add(namesFault);
	}

	const trees = snapshotTrees(superblock);
	const freeTree: RootedTree = {
		name: 'free tree',
		generation: superblock.freeTree.root.generation,
		current: true,
		...superblock.freeTree,
	};
	const metaTree: RootedTree = {
		name: 'meta tree',
		generation: superblock.metaTree.root.generation,
		current: true,
		...superblock.metaTree,
	};
	const deviceLeafCount = Math.max(...trees.map(({leafCount}) => leafCount));
	const progress = new Progress(env, deviceLeafCount + freeTree.leafCount + metaTree.leafCount);
	const pool = new LabelPool(env.cpuCount);
	const ownership = new Ownership(superblock, findings);
	warnOfLateTrees(superblock, env);
	const parts: WalkParts = {
		verifier: new BlockVerifier({
			medium,
			env,
			pool,
			findings,
			progress,
			opener: crypto && isAuthenticated(superblock.cipher) ? new DataOpener(crypto, superblock) : undefined,
			innerServer: superblock.innerBlocks && crypto,
		}),
		// One piece for each thread to hash, one more to be read meanwhile.
		jobs: new BoundedJobs(2 * env.cpuCount),
		ownership,
		findings,
		progress,
		lastGeneration: newestGenerationOf(superblock),
		keylessFrom: hasLostPreviousKey(superblock) ? superblock.rekeyingVba : Infinity,
	};
	const snapshotWalk = new TreeWalk(trees, {parts, leavesBefore: 0});
	const freeWalk = new TreeWalk([freeTree], {
		parts,
		leavesBefore: deviceLeafCount,
		claimEntry: (entry, place) => ownership.claimPoolEntry(entry, place),
	});
	const metaWalk = new TreeWalk([metaTree], {
		parts,
		leavesBefore: deviceLeafCount + freeTree.leafCount,
		claimEntry: ({address}, place) => ownership.claim(address, place),
	});
	const logged = newestChanges(log);
	const walks = [snapshotWalk, freeWalk, metaWalk];
	try {
		// Pool entries are judged by what older snapshots need, so the snapshots come first.
		for (const walk of walks) {
			await walk.run();
		}

		await checkLog(logged, {verifier: parts.verifier, findings, superblock, device: trees[0]});
	} finally {
		await parts.jobs.finish().catch(() => undefined);
		await pool.close();
	}

	for (const {newer} of walks) {
		warnOfNewerNodes(newer, env);
	}

	const {keyless} = snapshotWalk.counts;
	if (keyless.length > 0) {
		const shown = keyless
			.slice(0, keylessRangeMax)
			.map(({first, last}) => (first === last ? String(first) : `${first} to ${last}`));
		findings.add(
			`the key of the blocks from VBA ${superblock.rekeyingVba} on was never stored by the rekeying that goes on (the original leaves it so): what was written to VBAs ${shown.join(', ')}${keyless.length > shown.length ? ', …' : ''}, in snapshots too, cannot be decrypted`,
		);
	}

	if (walks.every(({counts}) => counts.gaps === 0)) {
		ownership.reportLeftovers();
	} else {
		findings.add('who owns the remaining blocks cannot be said because of the damage above');
	}

	return {
		findings,
		progress,
		snapshotCount: trees.length,
		heldCount: ownership.heldCount,
		loggedCount: logged.vbas.length,
		snapshots: snapshotWalk.counts,
		freeTree: freeWalk.counts,
		metaTree: metaWalk.counts,
	};
}
