/**
 * Checks a container without changing it. Guarantee: exit value 0 says that every block that the last secured state or
 * one of its snapshots refers to is the one that was stored, and that every block has exactly one owner.
 */
import {z} from 'zod';
import {defineTool, optional, unfinishedExitValue, type ToolResult} from '../../runtime/sdk/component.js';
import type {Client} from '../../runtime/sdk/session.js';
import {openContainer} from '../lib/container/open-container.js';
import {addKeys, removeKeys} from '../lib/container/key-delivery.js';
import {readNames} from '../lib/container/snapshot-directory.js';
import {reportFailure} from '../lib/container/tool-failure.js';
import {block} from '../sessions/block.js';
import {isAuthenticated} from '../sessions/cipher.js';
import {crypto} from '../sessions/crypto.js';
import {trustAnchor} from '../sessions/trust-anchor.js';
import {checkContainer, type CheckResult} from './container-check.js';

function summary({
	snapshots,
	freeTree,
	metaTree,
	snapshotCount,
	heldCount,
	loggedCount,
	progress,
}: CheckResult): string {
	return [
		`${snapshotCount} snapshots`,
		`${snapshots.data} data blocks`,
		`${snapshots.unread} without content`,
		`${snapshots.inner + freeTree.inner + metaTree.inner} inner blocks`,
		`${freeTree.unread + metaTree.unread} pool entries`,
		`${heldCount} blocks held for older snapshots`,
		...(loggedCount > 0 ? [`${loggedCount} blocks of the flush log`] : []),
		`${progress.blocksRead} blocks read in ${progress.seconds.toFixed(1)} s (${progress.rate.toFixed(0)} MiB/s)`,
	].join(', ');
}

function resultOf(result: CheckResult, log: (text: string, level: 'error') => void): ToolResult {
	const {findings} = result;
	if (findings.count === 0) {
		return {exitValue: 0, message: `no fault found: ${summary(result)}`};
	}

	for (const text of findings.texts) {
		log(text, 'error');
	}

	const more = findings.count - findings.texts.length;
	if (more > 0) {
		log(`and ${more} more`, 'error');
	}

	return {
		exitValue: -1,
		message: `the container is damaged: ${findings.count} ${findings.count === 1 ? 'finding' : 'findings'}; ${summary(result)}`,
	};
}

export default defineTool({
	requires: {block, trust_anchor: trustAnchor, crypto: optional(crypto)},
	config: z.strictObject({}),
	run: async ({sessions, env}) =>
		reportFailure(async () => {
			const {
				slot,
				superblock: opened,
				log,
			} = await openContainer({block: sessions.block, trustAnchor: sessions.trust_anchor});
			env.log(
				`checking generation ${opened.lastSecuredGeneration} (superblock slot ${slot}, state ${opened.state}, ${opened.pbaCount} blocks)`,
			);
			/** @param server where there is something that only keys can check; it has them */
			const check = async (server?: Client<typeof crypto>): Promise<ToolResult> => {
				const {superblock, fault} = await readNames({block: sessions.block, crypto: server}, opened);
				if (fault?.kind === 'unreadable') {
					return {exitValue: unfinishedExitValue, message: fault.text};
				}

				const result = await checkContainer({
					superblock,
					namesFault: fault?.text,
					log,
					medium: sessions.block,
					env,
					...(server && {crypto: server}),
				});
				return resultOf(result, (text, level) => env.log(text, level));
			};

			const sealed = isAuthenticated(opened.cipher) ? 'data' : opened.innerBlocks && 'inner blocks';
			if (!sealed) {
				return check();
			}

			const {crypto: server} = sessions;
			if (!server) {
				return {
					exitValue: unfinishedExitValue,
					message: `the ${sealed === 'data' ? `data has cipher ${opened.cipher}` : 'inner blocks are encrypted'} and can only be checked with its keys: route the service "crypto" of "${env.name}" to a crypto server`,
				};
			}

			await addKeys({crypto: server, trust_anchor: sessions.trust_anchor}, opened);
			try {
				return await check(server);
			} finally {
				await removeKeys({crypto: server}, opened);
			}
		}, unfinishedExitValue),
});
