/** A deployment file made from a shipped one by exchanging words, as a user would in an editor. */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {assemblyFile} from './device-target.js';

const defaultDimensions =
	/vbd_leaves="262144" vbd_max_level="4" vbd_degree="64"\s+ft_leaves="262144" ft_max_level="3" ft_degree="64"/g;

export interface Edits {
	/** File name of the result, without its ending. */
	readonly name: string;
	/** Attributes of `<create>`, in place of the default dimensions. */
	readonly dimensions: string;
	readonly cacheMiB?: number;
}

/** Room of the cache component beside the cache itself. */
const cacheRestMiB = 96;

/** @returns the path of the new file. @throws Error where the assembly has not the words that are exchanged */
export function editedAssembly(assembly: string, directory: string, {name, dimensions, cacheMiB = 48}: Edits): string {
	const text = readFileSync(assemblyFile(assembly), 'utf8');
	const edited = text
		.replaceAll(defaultDimensions, dimensions)
		.replace(
			'<resource name="RAM" quantum="144M"/>',
			`<resource name="RAM" quantum="${cacheMiB + cacheRestMiB}M"/>`,
		)
		.replace('<config size="48M"/>', `<config size="${cacheMiB}M"/>`);
	if (!edited.includes(dimensions) || !edited.includes(`<config size="${cacheMiB}M"/>`)) {
		throw new Error(`${assembly} cannot be edited for the bench: it has not the default's dimensions and cache`);
	}

	const file = join(directory, `${name}.xml`);
	writeFileSync(file, edited);
	return file;
}
