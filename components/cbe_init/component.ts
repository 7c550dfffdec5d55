/**
 * Creates a container on an empty medium. Guarantee: it never overwrites what could be somebody's data, and a crash at
 * any point leaves either a complete container or none, so that it can be run again.
 */
import {defineTool, optional} from '../../runtime/sdk/component.js';
import {createContainer} from '../container/create.js';
import {ContainerDimensions} from '../container/dimensions-config.js';
import {innerKeyId} from '../container/inner-blocks.js';
import {reportFailure} from '../container/tool-failure.js';
import {block} from '../sessions/block.js';
import {crypto} from '../sessions/crypto.js';
import {trustAnchor} from '../sessions/trust-anchor.js';

export default defineTool({
	requires: {block, trust_anchor: trustAnchor, crypto: optional(crypto)},
	config: ContainerDimensions,
	run: async ({config, sessions, env}) => reportFailure(async () => {
		const {pbaCount} = await createContainer({block: sessions.block, trustAnchor: sessions.trust_anchor, crypto: sessions.crypto, env, plan: config});
		await sessions.crypto?.remove_key({keyId: innerKeyId});
		const {virtualBlockDevice, freeTree, cipher, innerBlocks} = config;
		return {
			exitValue: 0,
			message: `created a container of ${pbaCount} blocks: device ${virtualBlockDevice.leafCount} blocks, pool ${freeTree.leafCount} blocks, ${cipher}${innerBlocks ? ', inner blocks encrypted' : ''}`,
		};
	}),
});
