/**
 * Files that come with the project: its deployment file, its assemblies and its launchers. No command changes them by
 * the way.
 */
import {realpathSync} from 'node:fs';
import {join, sep} from 'node:path';
import {fileURLToPath} from 'node:url';

const project = realpathSync(fileURLToPath(new URL('../../..', import.meta.url)));

export const projectSchema = join(project, 'config/deploy.xsd');

/** The shipped file of an assembly by its name: `deploy` or one of `config/assemblies`. */
export function assemblyFile(name: string): string {
	return name === 'deploy' ? join(project, 'deploy.xml') : join(project, 'config/assemblies', `${name}.xml`);
}

/** @param path of a file that is there, without symbolic links in it */
export function isShipped(path: string): boolean {
	return path === join(project, 'deploy.xml') || path.startsWith(join(project, 'config') + sep);
}
