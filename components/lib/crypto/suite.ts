/** Which implementation of the ciphers this node binary allows. */
import type {AesSuite} from './cipher-suite.js';
import {EvpSuite} from './evp-suite.js';
import {loadLibcrypto} from './libcrypto.js';
import {NodeSuite} from './node-suite.js';

export async function openSuite(
	warn: (text: string) => void,
	load: typeof loadLibcrypto = loadLibcrypto,
): Promise<AesSuite> {
	const {libcrypto, reason} = await load();
	if (libcrypto) {
		return new EvpSuite(libcrypto);
	}

	warn(`libcrypto cannot be called directly (${reason}); using node:crypto, which takes about twice the time`);
	return new NodeSuite();
}
