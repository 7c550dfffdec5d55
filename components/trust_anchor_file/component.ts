/**
 * trust_anchor_file: the master key in a file of its own, and beside it the record of the newest superblock.
 *
 * Guarantee: after a crash the record is the last one secured or the one being secured; files that cannot be right are
 * never overwritten.
 */
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {serveTrustAnchor} from '../sessions/anchor-service.js';
import {trustAnchor} from '../sessions/trust-anchor.js';
import {KeyFileStore} from './key-file-store.js';

export default defineComponent({
	provides: {trust_anchor: trustAnchor},
	config: z.strictObject({
		/** Directory of the anchor's files. */
		path: z.string().min(1).default('trust_anchor'),
	}),
	async start({config, env}) {
		const {running} = await serveTrustAnchor(new KeyFileStore(env.resolvePath(config.path), env), env);
		return running;
	},
});
