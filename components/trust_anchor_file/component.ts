/**
 * trust_anchor_file: the master keys in files, in clear or behind key slots, and beside them the record of the newest
 * superblock.
 *
 * Guarantee: after a crash the record is the last one secured or the one being secured, and the slots are those before
 * a change or those after; files that cannot be right are never overwritten.
 */
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {byteSize} from '../lib/format/size-config.js';
import {serveTrustAnchor} from '../lib/anchor/anchor-service.js';
import {anchorKeys} from '../sessions/anchor-keys.js';
import {anchorDirectoryObstacles, passphraseObstacles, passphraseReach} from '../lib/anchor/passphrase-source.js';
import {trustAnchor} from '../sessions/trust-anchor.js';
import {FileAnchorStore} from './anchor-store.js';
import {KeySlots} from './key-slot-service.js';
import {isMemoryChoice} from './slot-derivation.js';

export default defineComponent({
	provides: {trust_anchor: trustAnchor, anchor_keys: anchorKeys},
	config: z.strictObject({
		/** Directory of the anchor's files. */
		path: z.string().min(1).default('trust_anchor'),
		/** The file that holds the passphrase, and else the environment variable that does. */
		passphrase_file: z.string().min(1).optional(),
		passphrase_variable: z.string().min(1).default('CBE_PASSPHRASE'),
		/** How many milliseconds a new passphrase shall take to try. */
		unlock_ms: z.coerce.number().int().min(1).max(10_000).default(1000),
		/** How much memory that shall take; unless given, 128 MiB or more, as the time allows. */
		kdf_memory: byteSize().refine(isMemoryChoice, 'write 1M, 2M, 4M and so on, up to 512M').optional(),
	}),
	obstacles: ({path, passphrase_file: file, passphrase_variable: variable}, context) => [
		...anchorDirectoryObstacles(path, context),
		...passphraseObstacles({file, variable}, context),
	],
	reach({path, passphrase_file: file, passphrase_variable}, variable) {
		const {files, ...rest} = passphraseReach({file, variable: passphrase_variable}, variable);
		return {...rest, files: [{path, writable: true, made: 'directory'}, ...files]};
	},
	async start({config, env}) {
		const store = new FileAnchorStore(
			{
				directory: env.resolvePath(config.path),
				passphrase: {file: config.passphrase_file, variable: config.passphrase_variable},
				unlockMs: config.unlock_ms,
				kdfMemory: config.kdf_memory,
			},
			env,
		);
		const anchor = await serveTrustAnchor(store, env);
		return {
			...anchor.running,
			provides: {...anchor.running.provides, anchor_keys: new KeySlots(store, anchor, env).handlers},
		};
	},
});
