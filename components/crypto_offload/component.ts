/**
 * crypto_offload: the ciphers of crypto_openssl, with the work shared by a pool of threads.
 *
 * Guarantee: a block that does not match its label is never decrypted; pool threads hold no keys, and the results are
 * those of crypto_openssl, byte for byte, however the work is divided.
 */
import {z} from 'zod';
import {defineComponent, StartError, type Environment} from '../../runtime/sdk/component.js';
import {parseCpuList, sharedMicroseconds} from '../../runtime/sdk/own-thread.js';
import {EvpSuite} from '../lib/crypto/evp-suite.js';
import {loadLibcrypto} from '../lib/crypto/libcrypto.js';
import {NodeSuite} from '../lib/crypto/node-suite.js';
import {crypto} from '../sessions/crypto.js';
import {serveCrypto} from '../lib/crypto/crypto-service.js';
import {CipherThreads} from './cipher-pool.js';
import {CostModel} from './cost-model.js';
import {SharingSuite} from './shared-key.js';
import {ParallelWork} from './parallel-work.js';

const threadCountMax = 256;

const CpuList = z.string().transform((list, context) => {
	const cpus = parseCpuList(list);
	if (!cpus) {
		context.addIssue({code: 'custom', message: 'a list of CPUs such as 0,2-3 is required'});
		return z.NEVER;
	}

	return cpus;
});

async function startThreads(
	count: number,
	cpus: readonly number[],
	env: Environment,
): Promise<{threads: CipherThreads; places: string}> {
	const threads = new CipherThreads(count, {
		cpus,
		warn(text) {
			env.log(text, 'warning');
		},
	});
	try {
		const places = new Set((await threads.prepare()).map(allowed => allowed.join(',')));
		return {threads, places: [...places].join(' ')};
	} catch (error) {
		await threads.stop();
		throw new StartError(
			`its pool of ${count} threads cannot start: ${error instanceof Error ? error.message : String(error)}`,
		);
	}
}

export default defineComponent({
	provides: {crypto},
	config: z.strictObject({
		/** Threads beside the component's own; by default one for each CPU that is left. */
		threads: z.coerce.number().int().min(1).max(threadCountMax).optional(),
		/** CPUs for the pool's threads; by default those of the component. */
		cpus: CpuList.optional(),
	}),
	async start({config, env}) {
		const {libcrypto, reason} = await loadLibcrypto();
		if (!libcrypto) {
			env.log(
				`libcrypto cannot be called directly (${reason}), so keys cannot be lent to other threads: all work is done by node:crypto on one thread`,
				'warning',
			);
			return serveCrypto(new NodeSuite(), env);
		}

		const count = config.threads ?? Math.max(1, env.cpuCount - 1);
		const {threads, places} = await startThreads(count, config.cpus ?? [], env);
		const suite = new SharingSuite(new EvpSuite(libcrypto));
		const model = new CostModel();
		const work = new ParallelWork(suite, {threads, model, clock: sharedMicroseconds});
		const service = serveCrypto(suite, env, work);
		return {
			...service,
			async stop() {
				await service.stop?.();
				await work.settle();
				await threads.stop();
			},
			status: () => ({
				...service.status?.(),
				pool_threads: threads.count,
				pool_cpus: places,
				pool_tasks: threads.taskCount,
				pool_tasks_failed: threads.deathCount,
				own_blocks: work.counts.own,
				pool_blocks: work.counts.shared,
				...model.status,
			}),
		};
	},
});
