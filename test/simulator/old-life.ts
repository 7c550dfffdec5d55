/**
 * Containers that an earlier program has made and used: what it left, and its trust anchor, whose record announces
 * nothing.
 */
import {layOutOldContainer} from '../support/old-container.js';
import {oracleCipherOf} from './oracle-cipher.js';
import type {Plan} from './plan.js';
import type {Random} from './random.js';
import type {AnchorState} from './simulated-anchor.js';
import {SimulatedMedium} from './simulated-medium.js';

const cipherNumbers: Readonly<Record<string, number>> = {'aes-256-xts': 1, 'aes-256-gcm': 2};

function treeOf({create}: Plan, tree: 'vbd' | 'ft'): {leafCount: number; degree: number; maxLevel: number} {
	return {
		leafCount: Number(create[`${tree}_leaves`]),
		degree: Number(create[`${tree}_degree`]),
		maxLevel: Number(create[`${tree}_max_level`]),
	};
}

/** The container of the plan, fresh, with the newest layout that earlier programs knew for its cipher. */
export function oldContainer(plan: Plan, random: Random): {medium: SimulatedMedium; anchor: AnchorState} {
	const {cipher, inner_blocks: innerBlocks, flush_log_blocks: flushLogBlocks = '0'} = plan.create;
	const cipherNumber = cipherNumbers[cipher];
	const {pbaCount, blocks, hash} = layOutOldContainer({
		device: treeOf(plan, 'vbd'),
		pool: treeOf(plan, 'ft'),
		wrappedKey: random.bytes(32),
		extension:
			cipherNumber === undefined
				? undefined
				: {
						cipherNumber,
						containerId: random.bytes(16),
						flushLogBlockCount: Number(flushLogBlocks),
						...(innerBlocks === 'encrypted' && {sealInner: oracleCipherOf(plan.crypto).sealInner}),
					},
	});
	return {
		medium: new SimulatedMedium(random.fork(), pbaCount, {durable: blocks, allocated: new Set(blocks.keys())}),
		anchor: {
			initialized: true,
			secured: {hash, generation: 0, creating: false},
			marks: {intended: null, announces: false, authenticated: false},
		},
	};
}
