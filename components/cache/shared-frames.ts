/** The cache's memory: an equal share for each client, given on first use and taken back when the client goes. */
import type {Environment, Lease} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {blockSize} from '../lib/format/geometry.js';

export class SharedFrames {
	readonly #frameCount: number;
	readonly #env: Environment;
	readonly #leases = new Map<number, Lease>();

	constructor(frameCount: number, env: Environment) {
		this.#frameCount = frameCount;
		this.#env = env;
	}

	/** The memory of the client behind a session. */
	of(session: number): Uint8Array {
		let lease = this.#leases.get(session);
		if (!lease) {
			lease = this.#env.lease(this.#frameCount * blockSize);
			this.#leases.set(session, lease);
		}

		return lease.bytes;
	}

	/** The memory of a client whose request names these frames. @throws SessionError `out_of_range` */
	checked(session: number, frames: readonly number[]): Uint8Array {
		if (frames.some(frame => frame >= this.#frameCount)) {
			throw new SessionError('out_of_range', `a request names frames beyond the client's ${this.#frameCount}`);
		}

		return this.of(session);
	}

	drop(session: number): void {
		this.#leases.get(session)?.release();
		this.#leases.delete(session);
	}
}
