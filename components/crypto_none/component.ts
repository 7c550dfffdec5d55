/**
 * crypto_none: labels blocks and does not encrypt them. Everybody who sees the medium can read the data.
 *
 * Guarantee: a block that does not match its label is never handed out, and containers that are encrypted are refused.
 */
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {openSuite} from '../lib/crypto/suite.js';
import {crypto} from '../sessions/crypto.js';
import {serveCrypto} from '../lib/crypto/crypto-service.js';
import {PlainSuite} from './plain-suite.js';

export default defineComponent({
	provides: {crypto},
	wokenBySessionsOnly: true,
	config: z.strictObject({}),
	async start({env}) {
		const labels = await openSuite(text => {
			env.log(text, 'warning');
		});
		env.log('blocks are NOT encrypted: whoever can read the medium reads the data', 'warning');
		return serveCrypto(new PlainSuite(labels), env);
	},
});
