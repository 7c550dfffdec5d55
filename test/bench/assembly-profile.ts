/**
 * What a deployment says of itself that a measurement needs: where its components run, where its NBD server listens.
 */
import {readFileSync, writeFileSync} from 'node:fs';
import {basename, join} from 'node:path';
import {loadDeployment} from '../../runtime/deployment/deployment-loader.js';
import type {Child} from '../../runtime/deployment/checked-deployment.js';
import {assemblyFile} from './device-target.js';

export interface AssemblyProfile {
	readonly name: string;
	/** Threads, processes, and what shares one. */
	readonly placement: string;
	/** The socket of its first NBD server, in the state directory; undefined where it has none. */
	readonly socket: string | undefined;
	/** The child behind that server. */
	readonly device: string | undefined;
	/** True where its anchor is a TPM. */
	readonly needsTpm: boolean;
	/** True where its first start makes no container: `cbe_init` has to. */
	readonly needsInit: boolean;
	/** True where the medium is memory: it cannot be opened twice. */
	readonly isVolatile: boolean;
}

function counted(count: number, one: string, many: string): string {
	return `${count} ${count === 1 ? one : many}`;
}

/** Groups of services: each has a thread or a process of its own. */
export function placementOf(children: ReadonlyArray<Pick<Child, 'group' | 'isolation' | 'name' | 'binary'>>): string {
	const isolated = children.filter(({isolation}) => isolation !== undefined);
	const inside = children.filter(({isolation}) => isolation === undefined);
	const groupCount = (members: typeof children) => new Set(members.map(({group}) => group)).size;
	const threadCount = groupCount(inside);
	const colocated = threadCount < inside.length ? ` for ${inside.length} components` : '';
	const own =
		isolated.length > 0
			? [
					`${counted(groupCount(isolated), 'process', 'processes')} of ${groupCount(isolated) === 1 ? 'its' : 'their'} own (${isolated.map(({name}) => name).join(', ')})`,
				]
			: [];
	const pool = children.some(({binary}) => binary === 'crypto_offload') ? ['a pool of threads for crypto'] : [];
	return [
		...own,
		...(threadCount > 0 ? [`${counted(threadCount, 'thread', 'threads')}${colocated}`] : []),
		...pool,
	].join(', ');
}

function unixPathOf({config}: Child): string | undefined {
	const {unix} = config as {unix?: ReadonlyArray<{path: string}>};
	return unix?.at(0)?.path;
}

export async function readAssembly(name: string): Promise<AssemblyProfile> {
	const {children} = await loadDeployment(assemblyFile(name));
	const services = children.filter(({component}) => component.kind === 'service');
	const server = services.find(child => child.binary === 'nbd' && unixPathOf(child) !== undefined);
	return {
		name: basename(assemblyFile(name)),
		placement: placementOf(services),
		socket: server && unixPathOf(server),
		device: server?.routes.find(({label}) => label === 'device')?.server,
		needsTpm: services.some(({binary}) => binary === 'trust_anchor_tpm2'),
		needsInit: services.some(
			({binary, config}) => binary === 'superblock_control' && !Object.hasOwn(config as object, 'create'),
		),
		isVolatile: services.some(({binary}) => binary === 'block_ram'),
	};
}

/** The cipher of the container that the assembly creates; empty where it creates none. */
export async function cipherOf(name: string): Promise<string> {
	const {children} = await loadDeployment(assemblyFile(name));
	const configs = children
		.filter(({binary}) => binary === 'superblock_control')
		.map(({config}) => config as {create?: ReadonlyArray<{cipher: string}>});
	return configs.find(({create}) => create)?.create?.at(0)?.cipher ?? '';
}

/** The assembly with the TPM at `socket` in place of the machine's own. @returns the path of the new file */
export function withTpmAt(assembly: string, socket: string, directory: string): string {
	const text = readFileSync(assemblyFile(assembly), 'utf8');
	const edited = text.replaceAll(/\btpm="[^"]*"/g, `tpm="${socket}"`);
	if (edited === text) {
		throw new Error(`${assembly} names no TPM`);
	}

	const file = join(directory, basename(assemblyFile(assembly)));
	writeFileSync(file, edited);
	return file;
}
