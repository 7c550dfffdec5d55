/**
 * The cache's memory: each client's part is cut off on first use, and comes back when the client goes. Who comes first
 * gets an equal part of it at the most, so that something is there for each of the others; what one has no use for is
 * theirs.
 */
import type {Environment, Lease} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {blockSize} from '../lib/format/geometry.js';

/** The frames of one client. */
interface Part {
	readonly lease: Lease;
	readonly frameCount: number;
}

export class SharedFrames {
	/** Of all clients. */
	readonly frameCount: number;
	readonly #clientCount: number;
	readonly #env: Environment;
	readonly #parts = new Map<number, Part>();

	constructor(frameCount: number, clientCount: number, env: Environment) {
		this.frameCount = frameCount;
		this.#clientCount = clientCount;
		this.#env = env;
	}

	/** Frames that clients have, as they came. */
	get counts(): number[] {
		return [...this.#parts.values()].map(({frameCount}) => frameCount);
	}

	/**
	 * Cuts off the part of the client behind a session, unless it has one.
	 * @param frameCountMax more would bring it nothing
	 */
	attach(session: number, frameCountMax = Number.POSITIVE_INFINITY): {memory: Uint8Array; frameCount: number} {
		let part = this.#parts.get(session);
		if (!part) {
			const frameCount = Math.min(frameCountMax, this.#equalPart());
			part = {lease: this.#env.lease(frameCount * blockSize), frameCount};
			this.#parts.set(session, part);
		}

		return {memory: part.lease.bytes, frameCount: part.frameCount};
	}

	/** How many frames the client behind a session has. */
	frameCountOf(session: number): number {
		return this.attach(session).frameCount;
	}

	/** The memory of a client whose request names these frames. @throws SessionError `out_of_range` */
	checked(session: number, frames: readonly number[]): Uint8Array {
		const {memory, frameCount} = this.attach(session);
		if (frames.some(frame => frame >= frameCount)) {
			throw new SessionError('out_of_range', `a request names frames beyond the client's ${frameCount}`);
		}

		return memory;
	}

	drop(session: number): void {
		this.#parts.get(session)?.lease.release();
		this.#parts.delete(session);
	}

	/** Of what nobody has yet, for each client that is still to come. */
	#equalPart(): number {
		if (this.#parts.size >= this.#clientCount) {
			// Somebody has come back, and it is not known yet that its predecessor has gone.
			return Math.floor(this.frameCount / this.#clientCount);
		}

		const taken = this.counts.reduce((sum, count) => sum + count, 0);
		return Math.floor((this.frameCount - taken) / (this.#clientCount - this.#parts.size));
	}
}
