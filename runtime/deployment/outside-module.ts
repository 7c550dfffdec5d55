/**
 * Components outside of the project: `<binary path>` names the compiled module of one, relative to the file in which it
 * stands.
 */
import {realpathSync, statSync} from 'node:fs';
import {dirname, resolve} from 'node:path';
import type {Declared} from './attribute-value.js';
import type {Problems} from './problem.js';

function whyUnfound(error: unknown): string {
	const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
	return code === 'ENOENT' || code === 'ENOTDIR' ? 'there is no file' : `${code} at`;
}

/** The module, an absolute path without links; undefined, with a problem, where there can be none. */
export function outsideModule({value, position}: Declared<string>, problems: Problems): string | undefined {
	const written = resolve(dirname(position.file), value);
	const refuse = (what: string, remedy: string) => {
		problems.report(position, what, remedy);
		return undefined;
	};

	if (value === '') {
		return refuse(
			'the path of the binary is empty',
			'name the compiled module of the component, or remove the attribute',
		);
	}

	if (/\.[cm]?ts$/.test(value)) {
		return refuse(`${written} is TypeScript`, 'name the module that is compiled from it, which ends in .js');
	}

	try {
		const found = realpathSync(written);
		return statSync(found).isFile()
			? found
			: refuse(`${written} is no file`, 'name the compiled module of the component in it');
	} catch (error) {
		return refuse(
			`${whyUnfound(error)} ${written}`,
			'build the component, or correct the path: a relative one begins at the folder of the file in which it stands',
		);
	}
}
