/** What the runtime itself gives components, by their environment, as deployment files name it. */

export const environmentServices = ['clock', 'entropy', 'log'] as const;
export type EnvironmentService = (typeof environmentServices)[number];

export function isEnvironmentService(name: string): name is EnvironmentService {
	return environmentServices.some(service => service === name);
}
