/** Asks a crypto server for keys that it should not have. */
import {blockSize} from '../../components/sessions/block.js';
import type {crypto} from '../../components/sessions/crypto.js';
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import {SimulationFailure} from './simulation-failure.js';

/** @throws SimulationFailure where the server has a key with an id from 1 to `lastKeyId` */
export async function requireNoKeys(server: Client<typeof crypto>, lastKeyId: number): Promise<void> {
	await requireNone(
		server,
		Array.from({length: Math.max(0, lastKeyId)}, (_, i) => i + 1),
	);
}

/** @throws SimulationFailure where the server has one of these keys */
export async function requireNone(server: Client<typeof crypto>, keyIds: readonly number[]): Promise<void> {
	for (const keyId of keyIds) {
		try {
			await server.seal({
				keyId,
				addresses: [8],
				vbas: [0],
				generations: [1],
				plain: [Buffer.alloc(blockSize)],
				sealed: Buffer.alloc(blockSize),
			});
		} catch (error) {
			if (error instanceof SessionError && error.code === 'unknown_key') {
				continue;
			}

			throw error;
		}

		throw new SimulationFailure(`the crypto server still has key ${keyId}`);
	}
}
