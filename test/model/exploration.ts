/** Goes through every world that can come of the first one, each once. */
import {
	Contents,
	firstDirectory,
	firstLogBlock,
	hashOf,
	addressCount,
	dataCode,
	firstPlace,
	logBlockCount,
	treeBytes,
} from './numbered-blocks.js';
import type {Superblock} from '../../components/lib/format/superblock.js';
import {keyOf, Protocol, Violation, type Budget, type Rules, type World} from './commit-world.js';

export interface Found {
	/** What does not hold. */
	readonly violation: string;
	/** The steps that lead there. */
	readonly story: readonly string[];
}

export interface Exploration {
	readonly worldCount: number;
	/** Undefined where every invariant holds in every world. */
	readonly found: Found | undefined;
}

const key = {wrapped: new Uint8Array(32).fill(1), id: 1};

/** The superblock of a device of two blocks. */
function firstSuperblock(): Superblock {
	const tree = [firstPlace, dataCode(0, 0, 1), firstPlace + 1, dataCode(1, 0, 1)] as const;
	const pool = {root: {hash: hashOf(0), address: 0, generation: 0}, maxLevel: 1, degree: 4, leafCount: 4};
	return {
		state: 'normal',
		rekeyingVba: 0,
		resizing: {pbaCount: 0, leafCount: 0},
		previousKey: undefined,
		currentKey: key,
		snapshots: [
			{root: {hash: treeBytes(tree), address: 100, generation: 0}, leafCount: 2, maxLevel: 1, keep: false},
			...Array.from({length: 3}, () => undefined),
		],
		currentSnapshot: 0,
		lastSecuredGeneration: 0,
		degree: 2,
		firstPba: 0,
		pbaCount: addressCount,
		freeTree: pool,
		metaTree: pool,
		cipher: 'aes-256-gcm',
		containerId: new Uint8Array(16),
		sealedBlockCounts: {current: 2 ** 20, previous: 0},
		features: ['emptied_leaves', 'snapshot_names'],
		flushLog: {firstPba: firstLogBlock, blockCount: logBlockCount},
		snapshotDirectory: {firstPba: firstDirectory, place: 0, hash: new Uint8Array(32)},
	};
}

interface Step {
	readonly text: string;
	readonly before: Step | undefined;
}

function storyOf(step: Step | undefined): string[] {
	const story: string[] = [];
	for (let last = step; last; last = last.before) {
		story.unshift(last.text);
	}

	return story;
}

/** @param worldCountMax where the search ends, whatever is left */
export function explore(rules: Rules, budget: Budget, worldCountMax = Infinity): Exploration {
	const {stackTraceLimit} = Error;
	// Refusals of older anchors come by the hundred thousand, and nobody reads where they were made.
	Error.stackTraceLimit = 0;
	try {
		return search(new Protocol(rules, new Contents()), budget, worldCountMax);
	} finally {
		Error.stackTraceLimit = stackTraceLimit;
	}
}

function search(protocol: Protocol, budget: Budget, worldCountMax: number): Exploration {
	const start = protocol.start(firstSuperblock(), budget);
	const seen = new Set([keyOf(protocol, start)]);
	const open: Array<{world: World; step: Step | undefined}> = [{world: start, step: undefined}];
	for (let next = open.pop(); next; next = open.pop()) {
		const {world, step} = next;
		let text = '';
		try {
			protocol.successors(world, (done, after) => {
				text = done;
				const name = keyOf(protocol, after);
				if (!seen.has(name)) {
					seen.add(name);
					open.push({world: after, step: {text: done, before: step}});
				}
			});
		} catch (error) {
			if (!(error instanceof Violation)) {
				throw error;
			}

			return {
				worldCount: seen.size,
				found: {violation: error.message, story: [...storyOf(step), `(behind ${text || 'that'})`]},
			};
		}

		if (seen.size > worldCountMax) {
			break;
		}
	}

	return {worldCount: seen.size, found: undefined};
}
