/** The project's own check, as a user would run it, on the medium as a crash or an orderly end left it. */
import cbeCheck from '../../components/cbe_check/component.js';
import {blockSize} from '../../components/sessions/block.js';
import {MemoryAnchor} from '../support/memory-anchor.js';
import {MemoryMedium} from '../support/memory-medium.js';
import {runTool} from '../support/tool-run.js';
import {quickCryptoHandlers} from './quick-crypto.js';
import {SimulationFailure} from './simulation-failure.js';
import type {Subject} from './subject.js';

/** Larger containers take too long to check over and over. */
const blockCountMax = 3000;

/** @throws SimulationFailure where the check finds a fault */
export async function checkMedium({medium, anchor: {secured, content}, setup: {counts, plan}}: Subject): Promise<void> {
	// The real crypto servers need a world to run in. Without one, what only keys can judge is left to the oracle.
	const isUnreadable =
		plan.crypto !== 'quick' && (plan.create.inner_blocks === 'encrypted' || plan.create.cipher === 'aes-256-gcm');
	if (!secured || secured.creating || medium.blockCount > blockCountMax || isUnreadable) {
		return;
	}

	counts.checks++;
	const image = Buffer.concat(
		Array.from({length: medium.blockCount}, (_, address) => medium.content(address)),
		medium.blockCount * blockSize,
	);
	const anchor = Object.assign(
		new MemoryAnchor({secured, share: wrapped => Uint8Array.from(wrapped)}),
		content.marks,
	);
	const {exitValue, message, log} = await runTool(cbeCheck, {
		medium: new MemoryMedium(image),
		anchor,
		...(plan.crypto === 'quick' && {crypto: quickCryptoHandlers()}),
		cpuCount: 1,
	});
	if (exitValue !== 0) {
		throw new SimulationFailure(`cbe_check: ${message}: ${log.map(({text}) => text).join('; ')}`);
	}
}
