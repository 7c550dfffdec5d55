import test from 'ava';
import {environmentServices, type EnvironmentService} from '../sdk/environment-service.js';
import {LeasePool} from '../transport/lease-pool.js';
import {makeEnvironment} from './host-environment.js';

function environmentWith(environment: readonly EnvironmentService[]) {
	const log: string[] = [];
	const child = {name: 'a', modulePath: '', config: {}, leaseLimit: 0, clientCounts: {}, cpuCount: 1, environment};
	return {
		log,
		env: makeEnvironment(child, '/state', new LeasePool(0), {
			log: text => void log.push(text),
			claimDirectory: async () => 'held',
			secret: () => undefined,
			fail(reason) {
				throw new Error(reason);
			},
		}),
	};
}

test('a component that uses what the deployment does not give dies of it, with what to write', async t => {
	const {env} = environmentWith(['log']);
	const uses = {
		clock: [() => env.now(), () => env.timeOfDay(), () => env.sleep(1)],
		entropy: [() => env.randomBytes(1), () => env.fillRandom(new Uint8Array(1))],
	};
	for (const [service, calls] of Object.entries(uses)) {
		for (const call of calls) {
			t.throws(() => void call(), {
				message: `it uses the ${service} of the runtime, which its deployment file does not give: add <service name="${service}"/> to <parent-provides>`,
			});
		}
	}
});

test('lines of a log that is not given go nowhere, and with all three everything is there', async t => {
	const silent = environmentWith(['clock', 'entropy']);
	silent.env.log('a');
	t.deepEqual(silent.log, []);
	const {env, log} = environmentWith(environmentServices);
	env.log('a');
	t.deepEqual(log, ['a']);
	t.true(env.now() > 0 && env.timeOfDay() > 0);
	t.is(env.randomBytes(7).length, 7);
	await env.sleep(0);
});
