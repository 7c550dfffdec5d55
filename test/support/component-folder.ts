/** The components that there are, by the beginnings of their folders' names. */
import {existsSync, readdirSync} from 'node:fs';
import type {Component} from '../../runtime/sdk/component.js';

// Compiled tests run from dist/test/support.
const componentsDirectory = new URL('../../components/', import.meta.url);

export function providerNames(prefix: string): string[] {
	return readdirSync(componentsDirectory)
		.filter(name => name.startsWith(prefix) && existsSync(new URL(`${name}/component.js`, componentsDirectory)))
		.sort();
}

export async function loadComponent(name: string): Promise<Component> {
	const module = (await import(new URL(`${name}/component.js`, componentsDirectory).href)) as {default: Component};
	return module.default;
}
