import test from 'ava';
import {goldenNames, loadGolden, type GoldenName} from '../../test/support/golden.js';
import {MemoryAnchor} from '../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {runTool, type ToolOutcome} from '../../test/support/tool-run.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {blockSize, nodeSize} from '../lib/format/geometry.js';
import {labelOf} from '../lib/format/label.js';
import {NodeBlocks} from '../lib/format/node-blocks.js';
import type {Superblock} from '../lib/format/superblock.js';
import {encodeSuperblock, decodeSuperblock} from '../lib/format/superblock-codec.js';
import checkTool from './component.js';
import {findingTextCountMax} from './findings.js';

interface Subject {
	readonly medium: MemoryMedium;
	readonly anchor: MemoryAnchor;
	readonly superblock: Superblock;
	readonly slot: number;
}

function subject(name: GoldenName): Subject {
	const {image, description} = loadGolden(name);
	const hash = Buffer.from(description.trust_anchor.superblock_hash_file, 'hex');
	const slot = description.superblock.superblock_slot;
	return {
		medium: new MemoryMedium(image),
		slot,
		anchor: new MemoryAnchor({secured: {hash, generation: null, creating: false}}),
		superblock: decodeSuperblock(image.subarray(slot * blockSize, (slot + 1) * blockSize)),
	};
}

async function check({medium, anchor}: Subject, cpuCount = 2): Promise<ToolOutcome> {
	return runTool(checkTool, {medium, anchor, cpuCount});
}

function findingsOf({log}: ToolOutcome): string[] {
	return log.filter(({level}) => level === 'error').map(({text}) => text);
}

function blockAt({medium}: Subject, address: number): Buffer {
	return medium.image.subarray(address * blockSize, (address + 1) * blockSize);
}

/** Where a block is referred to, from the root down: enough to put a changed block's hash into everything above it. */
interface Step {
	readonly address: number;
	readonly index: number;
}

/** Blocks on the way to leaf `leaf` of a tree, the root first, each with the index of the next. */
function pathTo(
	target: Subject,
	tree: {root: {address: number}; maxLevel: number; degree: number},
	leaf: number,
): Step[] {
	const steps: Step[] = [];
	let {address} = tree.root;
	for (let level = tree.maxLevel; level >= 1; level--) {
		const index = Math.floor(leaf / tree.degree ** (level - 1)) % tree.degree;
		steps.push({address, index});
		address = new NodeBlocks(Uint8Array.from(blockAt(target, address))).address(0, index);
	}

	return steps;
}

type PoolName = 'freeTree' | 'metaTree';

/** Changes the node of a leaf, and makes every hash above it and the anchor's right again: what only a bug would do. */
function forge(target: Subject, tree: PoolName | 'current', leaf: number, change: (node: Buffer) => void): Subject {
	const {superblock, slot, anchor} = target;
	const current = superblock.snapshots[superblock.currentSnapshot];
	const root = tree === 'current' ? {...current!, degree: superblock.degree} : superblock[tree];
	const steps = pathTo(target, root, leaf);
	const lowest = steps.at(-1)!;
	change(blockAt(target, lowest.address).subarray(lowest.index * nodeSize, (lowest.index + 1) * nodeSize));
	let hash = labelOf(blockAt(target, lowest.address));
	for (const {address, index} of steps.slice(0, -1).reverse()) {
		blockAt(target, address).set(hash, index * nodeSize + 16);
		hash = labelOf(blockAt(target, address));
	}

	const newRoot = {...root.root, hash: Uint8Array.from(hash)};
	const changed =
		tree === 'current'
			? {
					...superblock,
					snapshots: superblock.snapshots.map((snapshot, i) =>
						i === superblock.currentSnapshot ? {...snapshot!, root: newRoot} : snapshot,
					),
				}
			: {...superblock, [tree]: {...superblock[tree], root: newRoot}};
	const encoded = encodeSuperblock(changed);
	blockAt(target, slot).set(encoded);
	anchor.secured = {hash: labelOf(encoded), generation: null, creating: false};
	return {...target, superblock: changed};
}

for (const name of goldenNames) {
	test(`${name} passes, and every block that it accounts for is counted`, async t => {
		const {description} = loadGolden(name);
		const outcome = await check(subject(name));
		t.deepEqual(findingsOf(outcome), []);
		t.is(outcome.exitValue, 0);
		t.regex(outcome.message ?? '', new RegExp(`^no fault found: ${description.snapshots.length} snapshots, `));
		const entries = description.pba_accounting.ft_leaves + description.pba_accounting.mt_leaves;
		t.regex(outcome.message ?? '', new RegExp(`, ${entries} pool entries, `));
	});
}

/** Every block that a container refers to and that has been written, with its level. */
function referencedBlocks(target: Subject): Map<number, number> {
	const {superblock} = target;
	const found = new Map<number, number>();
	const visit = (address: number, level: number, pool: boolean) => {
		found.set(address, level);
		const nodes = new NodeBlocks(Uint8Array.from(blockAt(target, address)));
		for (let index = 0; index < 64; index++) {
			if (level > 1 && !nodes.isUnset(0, index)) {
				visit(nodes.address(0, index), level - 1, pool);
			} else if (level === 1 && !pool && nodes.generation(0, index) > 0) {
				found.set(nodes.address(0, index), 0);
			}
		}
	};

	for (const snapshot of superblock.snapshots) {
		if (snapshot) {
			visit(snapshot.root.address, snapshot.maxLevel, false);
		}
	}

	visit(superblock.freeTree.root.address, superblock.freeTree.maxLevel, true);
	visit(superblock.metaTree.root.address, superblock.metaTree.maxLevel, true);
	return found;
}

for (const name of ['d64_b_snaps', 'd64_c_rekeyed', 'd64_e_extended'] as const) {
	test(`${name}: one flipped bit in any block that is referred to is found with its PBA and level`, async t => {
		const target = subject(name);
		const blocks = referencedBlocks(target);
		t.true(blocks.size > 90);
		let offset = 0;
		for (const [address, level] of blocks) {
			offset = (offset + 1237) % blockSize;
			const block = blockAt(target, address);
			block[offset] ^= 1 << (address % 8);
			// On this thread: starting others costs far more than so few blocks.
			const outcome = await check(target, 1);
			block[offset] ^= 1 << (address % 8);
			t.is(outcome.exitValue, -1, `PBA ${address}`);
			const [finding] = findingsOf(outcome);
			t.regex(
				finding,
				new RegExp(
					`^PBA ${address} \\((snapshot \\d+|free tree|meta tree), level ${level}, .*\\): does not match`,
				),
			);
		}
	});
}

test('a flipped bit in the superblock is found', async t => {
	const target = subject('d64_b_snaps');
	blockAt(target, target.slot)[3600] ^= 1;
	const outcome = await check(target);
	t.is(outcome.exitValue, -1);
	t.regex(outcome.message ?? '', /not the state that the trust anchor last secured/);
});

test('a block that cannot be read is named, the others of its batch are checked', async t => {
	const target = subject('d64_b_snaps');
	const [bad] = [...referencedBlocks(target)].find(([, level]) => level === 0)!;
	target.medium.before = (operation, extents) => {
		for (let i = 0; i < extents.length; i += 2) {
			if (operation === 'read' && extents[i] <= bad && bad < extents[i] + extents[i + 1]) {
				throw new SessionError('device_failed', 'sector is gone');
			}
		}
	};
	const findings = findingsOf(await check(target));
	t.is(findings.length, 1);
	t.regex(findings[0], new RegExp(`^PBA ${bad} .*cannot be read: sector is gone`));
});

interface Forgery {
	readonly name: string;
	readonly tree: PoolName | 'current';
	readonly leaf: number;
	readonly change: (node: Buffer) => void;
	readonly finding: RegExp;
}

const beyond = 1_000_000n;
const forgeries: Forgery[] = [
	{
		name: 'a data block used twice',
		tree: 'current',
		leaf: 10,
		change: node => void node.writeBigUInt64LE(30n),
		finding: /PBA 30 \(snapshot 6, level 0, VBA \d+\): PBA 30 is in use at another place too/,
	},
	{
		name: 'a pool entry used twice',
		tree: 'freeTree',
		leaf: 1000,
		change: node => void node.writeBigUInt64LE(9n),
		finding: /free tree, entry \d+: PBA 9 is in use at another place too/,
	},
	{
		name: 'a meta tree entry used twice',
		tree: 'metaTree',
		leaf: 1001,
		change: node => void node.writeBigUInt64LE(9n),
		finding: /meta tree, entry 1001: PBA 9 is in use/,
	},
	{
		name: 'a data block outside of the container',
		tree: 'current',
		leaf: 199,
		change: node => void node.writeBigUInt64LE(beyond),
		finding: /PBA 1000000 \(snapshot 6, level 0, VBA 199\): the PBA lies outside/,
	},
	{
		name: 'a data block in a superblock slot',
		tree: 'current',
		leaf: 199,
		change: node => void node.writeBigUInt64LE(7n),
		finding: /PBA 7 .*outside/,
	},
	{
		name: 'a pool entry outside of the container',
		tree: 'freeTree',
		leaf: 1023,
		change: node => void node.writeBigUInt64LE(beyond),
		finding: /free tree, entry 1023: PBA 1000000 lies outside/,
	},
	{
		name: 'a node behind the last leaf',
		tree: 'current',
		leaf: 200,
		change: node => void node.writeBigUInt64LE(100n),
		finding: /node 8 is set although it lies behind the last leaf/,
	},
	{
		name: 'a missing leaf',
		tree: 'current',
		leaf: 150,
		change: node => void node.fill(0),
		finding: /node 22 is unset although leaves belong below it/,
	},
	{
		name: 'a missing pool entry',
		tree: 'metaTree',
		leaf: 500,
		change: node => void node.fill(0),
		finding: /meta tree, level 1.* node 52 is unset/,
	},
	{
		name: 'a generation of the future',
		tree: 'current',
		leaf: 199,
		change: node => void node.writeBigUInt64LE(7n, 8),
		finding: /generation 7 lies beyond the last secured one, 6/,
	},
	{
		name: 'unused bytes of a node',
		tree: 'current',
		leaf: 199,
		change: node => void node.writeUInt8(1, 60),
		finding: /unused bytes of its node/,
	},
	{
		name: 'a reserved flag of 2',
		tree: 'freeTree',
		leaf: 1023,
		change: node => void node.writeUInt8(2, 36),
		finding: /entry 1023: its reserved flag is 2/,
	},
	{
		name: 'unused bytes of an entry',
		tree: 'freeTree',
		leaf: 1023,
		change: node => void node.writeUInt8(1, 63),
		finding: /entry 1023: the unused bytes/,
	},
];

for (const {name, tree, leaf, change, finding} of forgeries) {
	test(`found although every hash is right: ${name}`, async t => {
		const outcome = await check(forge(subject('d64_b_snaps'), tree, leaf, change));
		t.is(outcome.exitValue, -1);
		t.true(
			findingsOf(outcome).some(text => finding.test(text)),
			findingsOf(outcome).join('\n'),
		);
	});
}

/** Leaf numbers of the free tree whose entries hold blocks that only older snapshots refer to. */
function heldEntries(target: Subject): number[] {
	const {superblock} = target;
	const held: number[] = [];
	const blocks = referencedBlocks(target);
	for (let leaf = 0; leaf < superblock.freeTree.leafCount; leaf++) {
		const {address, index} = pathTo(target, superblock.freeTree, leaf).at(-1)!;
		const entry = new NodeBlocks(Uint8Array.from(blockAt(target, address))).poolEntry(0, index);
		if (blocks.has(entry.address)) {
			held.push(leaf);
		}
	}

	return held;
}

test('a block that an older snapshot needs must not be allocatable', async t => {
	const target = subject('d64_b_snaps');
	const [leaf] = heldEntries(target);
	const outcome = await check(
		forge(target, 'freeTree', leaf, node => {
			node.writeUInt8(0, 36);
			node.writeBigUInt64LE(0n, 24);
		}),
	);
	t.regex(
		findingsOf(outcome)[0],
		new RegExp(`free tree, entry ${leaf}: PBA \\d+ is needed by an older snapshot but could be handed out`),
	);
});

test('a block that an older snapshot needs must be in the pool', async t => {
	const target = subject('d64_b_snaps');
	const [leaf] = heldEntries(target);
	const {address, index} = pathTo(target, target.superblock.freeTree, leaf).at(-1)!;
	const lost = new NodeBlocks(Uint8Array.from(blockAt(target, address))).address(0, index);
	const outcome = await check(forge(target, 'freeTree', leaf, node => void node.writeBigUInt64LE(9n)));
	const findings = findingsOf(outcome);
	t.true(findings.includes(`PBA ${lost} belongs to no tree`), findings.join('\n'));
	t.true(findings.includes(`PBA ${lost} belongs to an older snapshot but not to the pool`));
});

test('an older snapshot with a damaged branch of its own is named by its generation', async t => {
	const target = subject('d64_b_snaps');
	const oldest = target.superblock.snapshots.find(snapshot => snapshot?.root.generation === 2)!;
	blockAt(target, oldest.root.address)[100] ^= 1;
	const findings = findingsOf(await check(target));
	t.regex(findings[0], new RegExp(`^PBA ${oldest.root.address} \\(snapshot 2, level 2, `));
});

test('a container that is damaged all over reports so many findings and counts the rest', async t => {
	const target = subject('d64_b_snaps');
	for (const [address, level] of referencedBlocks(target)) {
		if (level === 0) {
			blockAt(target, address)[0] ^= 1;
		}
	}

	const outcome = await check(target);
	const findings = findingsOf(outcome);
	t.is(findings.length, findingTextCountMax + 1);
	t.regex(findings.at(-1)!, /^and \d+ more$/);
	t.regex(outcome.message ?? '', /^the container is damaged: (1 finding|\d+ findings);/);
});

test('a check that lasts shows its progress', async t => {
	const {medium, anchor} = subject('d64_b_snaps');
	const {log} = await runTool(checkTool, {medium, anchor, tickMs: 2500});
	t.true(
		log.some(({text}) => /^\d+ % checked, \d+ MiB\/s$/.test(text)),
		log.map(({text}) => text).join('\n'),
	);
});
