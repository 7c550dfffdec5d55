/** Random bytes of a buffer that the caller wipes; what the environment drew is wiped at once. */
import type {Environment} from '../../runtime/sdk/component.js';

export type Entropy = Pick<Environment, 'randomBytes'>;

export function freshBytes(env: Entropy, count: number): Buffer {
	const drawn = env.randomBytes(count);
	const bytes = Buffer.alloc(count);
	bytes.set(drawn);
	drawn.fill(0);
	return bytes;
}
