/**
 * crypto_noble: the ciphers of crypto_openssl in audited pure JavaScript, byte for byte the same.
 *
 * Guarantee: a block that does not match its label is never decrypted.
 */
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {crypto} from '../sessions/crypto.js';
import {serveCrypto} from '../lib/crypto/crypto-service.js';
import {NobleSuite} from './noble-suite.js';

export default defineComponent({
	provides: {crypto},
	wokenBySessionsOnly: true,
	config: z.strictObject({}),
	start: ({env}) => serveCrypto(new NobleSuite(), env),
});
