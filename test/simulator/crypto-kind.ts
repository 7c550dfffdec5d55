/** Which crypto server a world runs, and how the anchor seals keys for it. */
import type {Component, Environment} from '../../runtime/sdk/component.js';
import type {Handlers} from '../../runtime/sdk/session.js';
import noble from '../../components/crypto_noble/component.js';
import openssl from '../../components/crypto_openssl/component.js';
import type {crypto} from '../../components/sessions/crypto.js';
import {sealEnvelope} from '../../components/lib/crypto/key-envelope.js';
import {quickCryptoHandlers} from './quick-crypto.js';
import type {EnvelopeSealer} from './simulated-anchor.js';

export const cryptoNames = ['quick', 'openssl', 'noble'] as const;

export type CryptoName = (typeof cryptoNames)[number];

export interface CryptoKind {
	start(env: Environment): Promise<Handlers<typeof crypto>>;
	readonly sealEnvelope: EnvelopeSealer;
	/** True where it may still be at work on the memory of a world that has ended. */
	readonly outlivesItsWorld: boolean;
}

function ofComponent(component: Component): CryptoKind {
	return {
		// Large batches go on between turns of the event loop.
		outlivesItsWorld: true,
		async start(env) {
			const running = await component.start!({config: component.config.parse({}), sessions: {}, env});
			return running.provides.crypto as unknown as Handlers<typeof crypto>;
		},
		sealEnvelope,
	};
}

export const cryptoKinds: Readonly<Record<CryptoName, CryptoKind>> = {
	quick: {
		start: async () => quickCryptoHandlers(),
		sealEnvelope: key => Uint8Array.from(key),
		outlivesItsWorld: false,
	},
	openssl: ofComponent(openssl),
	noble: ofComponent(noble),
};
