/**
 * What all crypto servers have in common: the keys, the order of work in a batch. A server only
 * brings its cipher suite.
 *
 * Guarantee: of a block that does not match its label nothing is given out, and no nonce is used twice with one key.
 */
import type {Environment, Running} from '../../../runtime/sdk/component.js';
import {OwnThreadWork, type BatchWork} from './batch-work.js';
import {labelLength} from '../../sessions/cipher.js';
import {isAuthenticatedKey, type CipherSuite} from './cipher-suite.js';
import {type crypto} from '../../sessions/crypto.js';
import {KeyRing} from './key-ring.js';
import {Nonces} from './nonces.js';

/** Without a promise where nothing has to be waited for: small batches come often. */
function whenThere<T, U>(value: Promise<T> | T, next: (value: T) => U): Promise<U> | U {
	return value instanceof Promise ? value.then(next) : next(value);
}

/** The `crypto` session on top of `suite`; `work` does what there is to do on batches. */
export function serveCrypto(
	suite: CipherSuite,
	env: Environment,
	work: BatchWork = new OwnThreadWork(suite),
): Running<{crypto: typeof crypto}> {
	const keys = new KeyRing(suite, env);
	const nonces = new Nonces(bytes => {
		env.fillRandom(bytes);
	});
	let sealedCount = 0;
	let openedCount = 0;
	let mismatchedCount = 0;

	return {
		provides: {
			crypto: {
				recipient: () => ({publicKey: keys.recipient}),
				add_key(request, context) {
					keys.add(request, context);
					return {};
				},
				remove_key({keyId}, context) {
					keys.remove(keyId, context);
					return {};
				},
				seal({keyId, ...batch}) {
					const labels = new Uint8Array(batch.addresses.length * labelLength);
					const sealing = keys.use(keyId, key => {
						if (isAuthenticatedKey(key)) {
							nonces.add(labels);
						}

						return work.seal(key, batch, labels);
					});
					return whenThere(sealing, () => {
						sealedCount += batch.addresses.length;
						return {labels};
					});
				},
				open({keyId, labels, ...batch}) {
					return whenThere(
						keys.use(keyId, key => work.open(key, batch, labels)),
						mismatched => {
							openedCount += batch.addresses.length;
							mismatchedCount += mismatched.length;
							return {mismatched};
						},
					);
				},
			},
		},
		clientGone(_service, session) {
			keys.forgetSession(session);
		},
		async stop() {
			keys.wipe();
		},
		status: () => ({
			implementation: suite.name,
			keys: keys.count,
			sealed_blocks: sealedCount,
			opened_blocks: openedCount,
			mismatched_blocks: mismatchedCount,
		}),
	};
}
