/**
 * trust_anchor_tresor: the trust anchor of the original's containers, in the original's files.
 *
 * Guarantee: after a crash the hash is the last one secured or the one being secured; without the right passphrase
 * nothing is opened, and nothing is overwritten.
 */
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {serveTrustAnchor} from '../lib/anchor/anchor-service.js';
import {anchorDirectoryObstacles, passphraseObstacles, passphraseReach} from '../lib/anchor/passphrase-source.js';
import {trustAnchor} from '../sessions/trust-anchor.js';
import {TresorStore} from './tresor-store.js';

export default defineComponent({
	provides: {trust_anchor: trustAnchor},
	config: z.strictObject({
		/** Directory of the anchor's files. */
		path: z.string().min(1).default('trust_anchor'),
		/** The environment variable that holds the passphrase. */
		passphrase_variable: z.string().min(1).default('CBE_PASSPHRASE'),
	}),
	obstacles: ({path, passphrase_variable: variable}, context) => [
		...anchorDirectoryObstacles(path, context),
		...passphraseObstacles({file: undefined, variable}, context),
	],
	reach({path, passphrase_variable}, variable) {
		const {files, ...rest} = passphraseReach({file: undefined, variable: passphrase_variable}, variable);
		return {...rest, files: [{path, writable: true, made: 'directory'}, ...files]};
	},
	async start({config, env}) {
		const store = new TresorStore(
			{
				directory: env.resolvePath(config.path),
				passphrase: {file: undefined, variable: config.passphrase_variable},
			},
			env,
		);
		const {running} = await serveTrustAnchor(store, env);
		return running;
	},
});
