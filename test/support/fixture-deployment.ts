/** Deployments of test fixtures, made without an XML file. */
import {rmSync} from 'node:fs';
import {mkdtemp} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';
import type {Child, Deployment} from '../../runtime/deployment/checked-deployment.js';
import type {Component} from '../../runtime/sdk/component.js';
import {environmentServices} from '../../runtime/sdk/environment-service.js';

export interface ChildSketch extends Partial<
	Pick<
		Child,
		| 'config'
		| 'ramQuantum'
		| 'cpus'
		| 'group'
		| 'isolation'
		| 'heartbeat'
		| 'exitPropagate'
		| 'priority'
		| 'environment'
	>
> {
	readonly name: string;
	/** A fixture's file name without `.js`. */
	readonly fixture: string;
	/** Serving children by label of the required session. */
	readonly routes?: Readonly<Record<string, string>>;
}

const defaultQuantum = 64 * 2 ** 20;

async function makeChild(sketch: ChildSketch): Promise<Child> {
	const modulePath = fileURLToPath(new URL(`fixtures/${sketch.fixture}.js`, import.meta.url));
	const {default: component} = (await import(pathToFileURL(modulePath).href)) as {default: Component};
	return {
		name: sketch.name,
		binary: sketch.fixture,
		modulePath,
		component,
		config: sketch.config ?? {},
		priority: sketch.priority ?? 0,
		ramQuantum: sketch.ramQuantum ?? defaultQuantum,
		cpus: sketch.cpus ?? [],
		group: sketch.group ?? sketch.name,
		isolation: sketch.isolation,
		routes: Object.entries(sketch.routes ?? {}).map(([label, server]) => {
			const requirement = component.requires[label];
			return {label, service: 'optional' in requirement ? requirement.session.name : requirement.name, server};
		}),
		heartbeat: sketch.heartbeat,
		environment: sketch.environment ?? environmentServices,
		exitPropagate: sketch.exitPropagate ?? false,
		position: {file: 'test.xml', line: 1, column: 1},
		positionOf: () => ({file: 'test.xml', line: 1, column: 1}),
	};
}

/** @param sketches servers before their clients */
export async function makeDeployment(sketches: readonly ChildSketch[]): Promise<Deployment> {
	return {file: 'test.xml', files: ['test.xml'], children: await Promise.all(sketches.map(makeChild))};
}

const stateDirectories: string[] = [];

process.once('exit', () => {
	for (const directory of stateDirectories) {
		rmSync(directory, {recursive: true, force: true});
	}
});

/** A fresh directory for the state of one test, removed when the process ends. */
export async function makeStateDirectory(): Promise<string> {
	const directory = await mkdtemp(join(tmpdir(), 'cbe-test-'));
	stateDirectories.push(directory);
	return directory;
}
