/**
 * Accepts another state of the image as the one that counts: the one deliberate way to go on with a restored backup, of
 * the image or of the trust anchor.
 *
 * Guarantee: without confirmation nothing is changed; of the image nothing is written but superblocks newer than the
 * adopted one, what is left of an announced one, and the first block of a flush log that is given up; a state is
 * adopted only where the trust anchor opens and shares its keys, and the state was written with this anchor, where
 * superblocks carry authenticators, and is whole at its roots.
 */
import {z} from 'zod';
import {defineTool, type Environment, type ToolResult} from '../../runtime/sdk/component.js';
import type {Client} from '../../runtime/sdk/session.js';
import {readSuperblockSearch, type ContainerSessions} from '../lib/container/open-container.js';
import type {SuperblockSearch, Secured} from '../lib/format/superblock-search.js';
import type {Superblock} from '../lib/format/superblock.js';
import {reportFailure} from '../lib/container/tool-failure.js';
import {block} from '../sessions/block.js';
import {createRecipient, openEnvelope} from '../lib/crypto/key-envelope.js';
import {trustAnchor} from '../sessions/trust-anchor.js';
import {candidateWithoutLog, clearBeyond, findCandidate, recordOf, refusalOf, type Candidate} from './adoption.js';

/** Confirms the adoption where the configuration does not. */
const confirmationVariable = 'CBE_ADOPT';

/** A trust anchor that cannot open the container's keys has no say over it. @throws SessionError, EnvelopeError */
async function requireOpenableKeys(
	anchor: Client<typeof trustAnchor>,
	{currentKey, previousKey}: Superblock,
	env: Environment,
): Promise<void> {
	const recipient = createRecipient(count => env.randomBytes(count));
	for (const key of [currentKey, previousKey]) {
		if (key) {
			const {envelope} = await anchor.share_key({wrapped: key.wrapped, recipient: recipient.publicKey});
			openEnvelope(envelope, recipient).fill(0);
		}
	}
}

function expectedText({generation}: Secured): string {
	return generation === null ? 'another state, whose generation it does not record' : `generation ${generation}`;
}

function describe({slot, superblock, log, isAuthentic}: Candidate, secured: Secured): string[] {
	const {lastSecuredGeneration, containerId, snapshots, state} = superblock;
	const keptCount = snapshots.filter(snapshot => snapshot?.keep).length;
	return [
		`expected by the trust anchor: ${expectedText(secured)}`,
		`found in the image: generation ${lastSecuredGeneration} in slot ${slot}, state ${state}, ${keptCount} snapshots, container ${containerId ? Buffer.from(containerId).toString('hex') : 'without an id'}${log.length > 0 ? `, and ${log.length} ${log.length === 1 ? 'entry' : 'entries'} of its flush log` : ''}`,
		...(isAuthentic
			? []
			: [
					'its superblocks carry no authenticator: nobody can tell whether it was written with this trust anchor, or made by who can write to the image',
				]),
	];
}

interface LogToGiveUp {
	/** The newest superblock. */
	readonly candidate: Candidate;
	readonly secured: Secured;
	readonly confirmed: string | undefined;
	readonly search: SuperblockSearch;
	readonly sessions: ContainerSessions;
	readonly env: Pick<Environment, 'log'>;
}

/** For a container whose flush log cannot be taken over, since blocks that it changes are damaged. */
async function giveUpLog({candidate, search, secured, confirmed, sessions, env}: LogToGiveUp): Promise<ToolResult> {
	const {lastSecuredGeneration: generation} = candidate.superblock;
	if (confirmed !== 'without_log') {
		return {
			exitValue: 0,
			message: `the image holds the state that the trust anchor expects: generation ${generation} and its flush log; there is nothing to adopt. Where the log cannot be taken over, ${confirmationVariable}=without_log or confirm="without_log" gives up for good what was flushed into it`,
		};
	}

	await clearBeyond(sessions, search, candidate);
	await sessions.trustAnchor.secure(recordOf(candidate));
	env.log(`the flush log behind generation ${generation} is given up, up to ${expectedText(secured)}`, 'warning');
	return {
		exitValue: 0,
		message: `generation ${generation} is the state that counts from now on; verify it with cbe_check`,
	};
}

export default defineTool({
	requires: {block, trust_anchor: trustAnchor},
	config: z.strictObject({
		/**
		 * `yes` adopts an older state, `without_log` gives up the flush log of the newest one; without either the tool
		 * says what it would do. The environment variable CBE_ADOPT does the same.
		 */
		confirm: z.enum(['yes', 'no', 'without_log']).default('no'),
	}),
	run: async ({config, sessions, env}) =>
		reportFailure(async () => {
			const servers = {block: sessions.block, trustAnchor: sessions.trust_anchor};
			const search = await readSuperblockSearch(servers);
			const refusal = refusalOf(search);
			const confirmed = config.confirm === 'no' ? env.variable(confirmationVariable) : config.confirm;
			const withoutLog = refusal ? undefined : await candidateWithoutLog(sessions.block, search);
			if (!search.secured || (!refusal && !withoutLog)) {
				return {
					exitValue: 0,
					message: 'the image holds the state that the trust anchor expects; there is nothing to adopt',
				};
			}

			if (!refusal) {
				return giveUpLog({
					candidate: withoutLog!,
					search,
					secured: search.secured,
					confirmed,
					sessions: servers,
					env,
				});
			}

			env.log(`the image is refused: ${refusal.message}`, 'warning');
			const candidate = await findCandidate(servers, search, {secured: search.secured, refusal});
			for (const line of describe(candidate, search.secured)) {
				env.log(line);
			}

			await requireOpenableKeys(sessions.trust_anchor, candidate.superblock, env);
			const {lastSecuredGeneration: generation} = candidate.superblock;
			if (confirmed !== 'yes') {
				const advice = candidate.isAuthentic
					? ''
					: " The anchor cannot tell an older copy from the image of another container: compare the container's id first.";
				return {
					exitValue: 1,
					message: `nothing was changed; everything written after generation ${generation} would be given up for good.${advice} To adopt it, set ${confirmationVariable}=yes or confirm="yes"`,
				};
			}

			await clearBeyond(servers, search, candidate);
			await sessions.trust_anchor.secure(recordOf(candidate));
			env.log(
				`adopted generation ${generation} in place of ${expectedText(search.secured)}; what was written in between is given up`,
				'warning',
			);
			return {
				exitValue: 0,
				message: `generation ${generation} is the state that counts from now on; verify it with cbe_check`,
			};
		}),
});
