/** `runtime check`: says what is wrong with a deployment file, or how it would be started. */
import type {Child, Deployment} from '../deployment/model.js';
import {readDeployment} from './deploy-file.js';
import {exitCode} from './exit-code.js';
import {print} from './output.js';
import {formatTable} from './table.js';

function routesOf({routes}: Child): string {
	return routes.map(({label, service, server}) => `${label === service ? service : `${service} (${label})`} -> ${server}`).join(', ');
}

function placeOf({cpus, group, name}: Child): string {
	return [cpus.length === 0 ? '' : `CPU ${cpus.join(',')}`, group === name ? '' : `thread ${group}`].filter(Boolean).join(', ');
}

function describe({children}: Deployment): string[] {
	return formatTable(
		['CHILD', 'BINARY', 'PLACE', 'ROUTES'],
		children.map(child => [child.name, child.binary, placeOf(child), routesOf(child)]),
	);
}

export async function check(deployFile: string | undefined): Promise<number> {
	const deployment = await readDeployment(deployFile);
	if (!deployment) {
		return exitCode.usage;
	}

	for (const line of describe(deployment)) {
		print(line);
	}

	return exitCode.ok;
}
