/**
 * `runtime check`: says what is wrong with a deployment file, in itself and on this host, or how it would be started.
 */
import type {Child, Deployment} from '../deployment/checked-deployment.js';
import {formatProblem, type Problem} from '../deployment/problem.js';
import {preflight} from '../supervisor/preflight.js';
import {narrowHeaps, type NarrowHeap} from '../supervisor/heap-floor.js';
import {readDeployment} from './deploy-file.js';
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';
import {formatTable} from './table.js';

function routesOf({routes}: Child): string {
	return routes
		.map(({label, service, server}) => `${label === service ? service : `${service} (${label})`} -> ${server}`)
		.join(', ');
}

function placeOf({cpus, group, name}: Child): string {
	return [cpus.length === 0 ? '' : `CPU ${cpus.join(',')}`, group === name ? '' : `thread ${group}`]
		.filter(Boolean)
		.join(', ');
}

function describe({children}: Deployment): string[] {
	return formatTable(
		['CHILD', 'BINARY', 'PLACE', 'ROUTES'],
		children.map(child => [child.name, child.binary, placeOf(child), routesOf(child)]),
	);
}

const mebibyte = 2 ** 20;

export function describeNarrowHeap({children: [first, ...others], limit, need, quantum}: NarrowHeap): string {
	const [who, whose] =
		others.length === 0
			? [`child "${first.name}"`, 'its RAM quantum']
			: [
					`the thread of ${[first, ...others].map(({name}) => `"${name}"`).join(', ')}`,
					'the RAM quanta of its children',
				];
	return formatProblem({
		position: first.position,
		what:
			`${who} has too little memory: empty, it needs ${Math.ceil(need / mebibyte)} MiB of heap with Node.js ${process.version}, ` +
			`and ${whose} gives ${Math.floor(limit / mebibyte)} MiB`,
		remedy:
			quantum === undefined
				? 'use another version of Node.js'
				: `give "${first.name}" <resource name="RAM" quantum="${quantum / mebibyte}M"/>`,
		mayBeUnfinished: false,
	});
}

export async function check(deployFile: string | undefined, stateDirectory: string): Promise<number> {
	const warnings: Problem[] = [];
	const deployment = await readDeployment(deployFile, read => {
		warnings.push(...preflight(read, read.children, stateDirectory));
	});
	if (!deployment) {
		return exitCode.usage;
	}

	for (const warning of warnings) {
		complain(formatProblem(warning, 'warning'));
	}

	const narrow = await narrowHeaps(deployment.children);
	for (const heap of narrow) {
		complain(describeNarrowHeap(heap));
	}

	if (narrow.length > 0) {
		return exitCode.usage;
	}

	for (const line of describe(deployment)) {
		print(line);
	}

	return exitCode.ok;
}
