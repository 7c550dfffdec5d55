/** Payload memory of all connections. It knows whether a request waits for memory that others hold. */
import type {Environment, Lease} from '../../runtime/sdk/component.js';

export class PayloadMemory {
	readonly #env: Environment;
	#waitCount = 0;

	constructor(env: Environment) {
		this.#env = env;
	}

	/** True while a request of any connection waits for memory. */
	get short(): boolean {
		return this.#waitCount > 0;
	}

	/** As soon as there is room, in the order of the calls. */
	async lease(byteLength: number): Promise<Lease> {
		this.#waitCount++;
		try {
			return await this.#env.leaseWhenFree(byteLength);
		} finally {
			this.#waitCount--;
		}
	}
}
