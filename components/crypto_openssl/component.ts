/**
 * crypto_openssl: seals and opens blocks with the processor's AES and SHA instructions, through node's own libcrypto.
 *
 * Guarantee: a block that does not match its label is never decrypted, and keys leave no trace but in the contexts of
 * their ciphers, which are wiped with the session that added the key.
 */
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {crypto} from '../sessions/crypto.js';
import {serveCrypto} from '../lib/crypto/crypto-service.js';
import {openSuite} from '../lib/crypto/suite.js';

export default defineComponent({
	provides: {crypto},
	wokenBySessionsOnly: true,
	config: z.strictObject({}),
	async start({env}) {
		const suite = await openSuite(text => {
			env.log(text, 'warning');
		});
		return serveCrypto(suite, env);
	},
});
