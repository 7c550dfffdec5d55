/**
 * Creates a container on an empty medium. Guarantee: it never overwrites what could be somebody's data, and a crash at
 * any point leaves either a complete container or none, so that it can be run again.
 */
import {defineTool} from '../../runtime/sdk/component.js';
import {createContainer} from '../lib/container/create.js';
import {ContainerDimensions} from '../lib/format/dimensions-config.js';
import {reportFailure} from '../lib/container/tool-failure.js';
import {block} from '../sessions/block.js';
import {trustAnchor} from '../sessions/trust-anchor.js';

export default defineTool({
	requires: {block, trust_anchor: trustAnchor},
	config: ContainerDimensions,
	run: async ({config, sessions, env}) =>
		reportFailure(async () => {
			const {pbaCount} = await createContainer({
				block: sessions.block,
				trustAnchor: sessions.trust_anchor,
				env,
				plan: config,
			});
			const {virtualBlockDevice, freeTree, cipher, innerBlocks} = config;
			return {
				exitValue: 0,
				message: `created a container of ${pbaCount} blocks: device ${virtualBlockDevice.leafCount} blocks, pool ${freeTree.leafCount} blocks, ${cipher}${innerBlocks ? ', inner blocks encrypted' : ''}`,
			};
		}),
});
