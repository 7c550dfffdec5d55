/** Which crypto server a world runs, and how the anchor seals keys for it. */
import type {Environment} from '../../runtime/sdk/component.js';
import type {Handlers} from '../../runtime/sdk/session.js';
import type {crypto} from '../../components/sessions/crypto.js';
import {sealEnvelope, type EnvelopeSealer} from './envelope.js';
import {quickCryptoHandlers} from './quick-crypto.js';

export interface CryptoKind {
	readonly name: string;
	start(env: Environment): Promise<Handlers<typeof crypto>>;
	readonly sealEnvelope: EnvelopeSealer;
}

export const quickCrypto: CryptoKind = {
	name: 'quick',
	start: async () => quickCryptoHandlers(),
	sealEnvelope,
};
