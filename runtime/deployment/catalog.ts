/**
 * The components that exist: the folder name is the binary's name, there is no list to keep. Their modules are imported
 * to learn what they provide, require and accept; importing one starts nothing.
 */
import {existsSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';
import type {Component} from '../sdk/component.js';

export interface Catalog {
	/** Names of all binaries. */
	readonly binaries: readonly string[];
	/** The compiled module behind a binary, an absolute path. */
	modulePath(binary: string): string;
	load(binary: string): Promise<Component>;
	/** Names of all session contracts. */
	serviceNames(): Promise<string[]>;
}

function isComponent(value: unknown): value is Component {
	return typeof value === 'object' && value !== null && 'kind' in value && 'requires' in value && 'config' in value;
}

function sessionNamesIn(exports: Record<string, unknown>): string[] {
	return Object.values(exports).flatMap(value =>
		typeof value === 'object' && value !== null && 'opNames' in value && 'name' in value ? [String(value.name)] : []);
}

async function importModule(path: string): Promise<Record<string, unknown>> {
	return await import(pathToFileURL(path).href) as Record<string, unknown>;
}

/** The components compiled into `folder`. */
export class ComponentFolder implements Catalog {
	readonly binaries: readonly string[];
	readonly #folder: string;

	constructor(folder: string) {
		this.#folder = folder;
		this.binaries = readdirSync(folder).filter(name => existsSync(this.modulePath(name))).sort();
	}

	modulePath(binary: string): string {
		return join(this.#folder, binary, 'component.js');
	}

	async load(binary: string): Promise<Component> {
		const {default: component} = await importModule(this.modulePath(binary));
		if (!isComponent(component)) {
			throw new Error('its component module has no component as default export');
		}

		return component;
	}

	async serviceNames(): Promise<string[]> {
		const folder = join(this.#folder, 'sessions');
		const modules = readdirSync(folder).filter(name => name.endsWith('.js') && !name.endsWith('.test.js'));
		const exports = await Promise.all(modules.map(async name => importModule(join(folder, name))));
		return exports.flatMap(module => sessionNamesIn(module));
	}
}

/** The components of this project. */
export function projectCatalog(): Catalog {
	return new ComponentFolder(fileURLToPath(new URL('../../components', import.meta.url)));
}
