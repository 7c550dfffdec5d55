/**
 * The components that exist: the folder name is the binary's name, there is no list to keep. Their modules are imported
 * to learn what they provide, require and accept; importing one starts nothing.
 */
import {existsSync, readdirSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';
import type {Component} from '../sdk/component.js';
import type {Session} from '../sdk/session.js';

export interface Catalog {
	/** Names of all binaries. */
	readonly binaries: readonly string[];
	/** The compiled module behind a binary, an absolute path. */
	modulePath(binary: string): string;
	load(binary: string): Promise<Component>;
	/** The component that a module outside of the project exports: an absolute path. @throws UnusableModule */
	loadOutside(modulePath: string): Promise<Component>;
	/** Names of all session contracts. */
	serviceNames(): Promise<string[]>;
}

/** A module that loads, but is no component that can be used here. */
export class UnusableModule extends Error {
	override readonly name = 'UnusableModule';

	constructor(
		message: string,
		readonly remedy: string,
	) {
		super(message);
	}
}

function isComponent(value: unknown): value is Component {
	return typeof value === 'object' && value !== null && 'kind' in value && 'requires' in value && 'config' in value;
}

function isSession(value: unknown): value is Session {
	return typeof value === 'object' && value !== null && 'opNames' in value && 'name' in value;
}

/** @param version tells a module that was compiled again from the one that this thread has loaded before */
async function importModule(path: string, version = ''): Promise<Record<string, unknown>> {
	return (await import(pathToFileURL(path).href + version)) as Record<string, unknown>;
}

function componentIn({default: component}: Record<string, unknown>): Component {
	if (!isComponent(component)) {
		throw new UnusableModule(
			'its module has no component as default export',
			'write: export default defineComponent({…})',
		);
	}

	return component;
}

/** The contracts that a component speaks. */
function contractsOf({provides, requires}: Component): Session[] {
	return [
		...Object.values(provides),
		...Object.values(requires).map(requirement => ('optional' in requirement ? requirement.session : requirement)),
	];
}

/** The components compiled into `folder`. */
class ComponentFolder implements Catalog {
	readonly binaries: readonly string[];
	readonly #folder: string;

	constructor(folder: string) {
		this.#folder = folder;
		this.binaries = readdirSync(folder)
			.filter(name => existsSync(this.modulePath(name)))
			.sort();
	}

	modulePath(binary: string): string {
		return join(this.#folder, binary, 'component.js');
	}

	async load(binary: string): Promise<Component> {
		return componentIn(await importModule(this.modulePath(binary)));
	}

	/** Contracts are compared, too: operations travel as numbers, and those of another version would be other ones. */
	async loadOutside(modulePath: string): Promise<Component> {
		const component = componentIn(await importModule(modulePath, `?${statSync(modulePath).mtimeMs}`));
		const own = new Map((await this.#contracts()).map(session => [session.name, session]));
		const foreign = contractsOf(component).find(session => (own.get(session.name) ?? session) !== session);
		if (foreign) {
			throw new UnusableModule(
				`its contract "${foreign.name}" is not that of this copy of the project`,
				`let "cbe" in its node_modules lead to ${fileURLToPath(new URL('../../..', import.meta.url))}, and compile it again`,
			);
		}

		return component;
	}

	async serviceNames(): Promise<string[]> {
		return (await this.#contracts()).map(({name}) => name);
	}

	async #contracts(): Promise<Session[]> {
		const folder = join(this.#folder, 'sessions');
		const modules = readdirSync(folder).filter(name => name.endsWith('.js') && !name.endsWith('.test.js'));
		const exports = await Promise.all(modules.map(async name => importModule(join(folder, name))));
		return exports.flatMap(module => Object.values(module).filter(value => isSession(value)));
	}
}

/** The components of this project. */
export function projectCatalog(): Catalog {
	return new ComponentFolder(fileURLToPath(new URL('../../components', import.meta.url)));
}
