/** The environment of a component in a host: the real clock, the real entropy, its share of memory. */
import {resolve} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import type {Claim, Environment, LogLevel} from '../sdk/component.js';
import type {EnvironmentService} from '../sdk/environment-service.js';
import {fillFromKernel, kernelRandomBytes} from '../sdk/kernel-random.js';
import {doorbell} from '../transport/doorbell.js';
import {type LeasePool} from '../transport/lease-pool.js';
import {dropGarbage} from './garbage.js';
import type {HostedChild} from './messages.js';

export interface EnvironmentEffects {
	log(text: string, level: LogLevel): void;
	fail(reason: string): never;
	/** Until the component has ended. */
	claimDirectory(path: string): Promise<Claim>;
	/** Secrets do not lie in the environment of this process. The caller wipes it. */
	secret(name: string): Buffer | undefined;
}

export function makeEnvironment(
	child: HostedChild,
	stateDirectory: string,
	pool: LeasePool,
	effects: EnvironmentEffects,
): Environment {
	const has = (service: EnvironmentService) => child.environment.includes(service);
	/** In place of what the deployment does not give. */
	const denied = (service: EnvironmentService) => (): never =>
		effects.fail(
			`it uses the ${service} of the runtime, which its deployment file does not give: add <service name="${service}"/> to <parent-provides>`,
		);
	const [clock, entropy] = [has('clock'), has('entropy')];
	return {
		name: child.name,
		stateDirectory,
		leaseLimit: child.leaseLimit,
		cpuCount: child.cpuCount,
		log: has('log')
			? (text, level = 'info') => {
					effects.log(text, level);
				}
			: () => undefined,
		now: clock ? () => performance.now() : denied('clock'),
		timeOfDay: clock ? () => Date.now() : denied('clock'),
		sleep: clock
			? async milliseconds => doorbell.sleep(milliseconds, async time => setTimeout(time))
			: denied('clock'),
		outside: async work => doorbell.outside(work),
		randomBytes: entropy ? kernelRandomBytes : denied('entropy'),
		fillRandom: entropy ? fillFromKernel : denied('entropy'),
		variable: name => process.env[name],
		secret: name => effects.secret(name),
		dropGarbage,
		resolvePath: path => resolve(stateDirectory, path),
		claimDirectory: async path => effects.claimDirectory(path),
		lease(byteLength) {
			try {
				return pool.lease(byteLength);
			} catch (error) {
				return effects.fail(`exceeded its RAM quantum: ${(error as Error).message}`);
			}
		},
		leaseWhenFree: byteLength => pool.leaseWhenFree(byteLength),
		clientCount: service => child.clientCounts[service] ?? 0,
		fail: reason => effects.fail(reason),
	};
}
