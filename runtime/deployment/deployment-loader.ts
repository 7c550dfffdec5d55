/** From a deployment file to a checked `Deployment`. Reading one starts nothing and writes nothing. */
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import type {Component} from '../sdk/component.js';
import {environmentServices, isEnvironmentService, type EnvironmentService} from '../sdk/environment-service.js';
import {machineCpus, readAffinitySpace} from './affinity.js';
import {priorityLevelsMax} from './allowed-values.js';
import {readInteger} from './attribute-value.js';
import {projectCatalog, UnusableModule, type Catalog} from './catalog.js';
import {checkConfig, configPosition} from './component-config.js';
import {displayPath} from './display-path.js';
import {checkIsolatable, checkSharedMemory, readIsolation} from './isolation-rule.js';
import {LauncherFolders} from './launcher.js';
import type {Child, Deployment, Isolation, SourcePosition} from './checked-deployment.js';
import {outsideModule} from './outside-module.js';
import {DeploymentError, Problems} from './problem.js';
import {readRouteRules, readServiceNames} from './route-rule.js';
import {Routing, type Participant, type PlacedRoute} from './routing.js';
import {startOrder} from './start-order.js';
import {readDefaultRam, readHeartbeat, readStart, type StartNode} from './start-node.js';
import {suggestName} from './suggestion.js';
import {threadSettings, type ThreadSettings} from './thread-group.js';
import {checkRoot, checkVocabulary, deploymentRule} from './deployment-words.js';
import {childNamed, childrenNamed, parseXml, readDocument, type XmlElement} from './xml-document.js';

/** Each child may have a thread of its own. */
const childCountMax = 256;

/** What a deployment is checked against. */
export interface LoadContext {
	readonly catalog: Catalog;
	readonly machineCpus: readonly number[];
	/** Looked through in this order. */
	readonly launcherFolders: readonly string[];
}

/** This project on this machine; launchers beside the deployment file come before the project's own. */
export function loadContext(file: string): LoadContext {
	return {
		catalog: projectCatalog(),
		machineCpus: machineCpus(),
		launcherFolders: [
			join(dirname(file), 'config/launcher'),
			fileURLToPath(new URL('../../../config/launcher', import.meta.url)),
		],
	};
}

function readStarts(
	root: XmlElement,
	context: LoadContext,
	launchers: LauncherFolders,
	problems: Problems,
): StartNode[] {
	const startContext = {
		priorityLevels: readInteger(root, 'prio_levels', {min: 1, max: priorityLevelsMax}, problems)?.value ?? 1,
		affinitySpace: readAffinitySpace(childNamed(root, 'affinity-space'), context.machineCpus, problems),
		machineCpus: context.machineCpus,
		launchers,
		problems,
	};
	const starts = childrenNamed(root, 'start');
	if (starts.length > childCountMax) {
		problems.report(
			starts[childCountMax].position,
			`child ${childCountMax + 1} of ${starts.length}`,
			`one deployment has at most ${childCountMax} children; split it`,
		);
	}

	const nodes = new Map<string, StartNode>();
	for (const start of starts.slice(0, childCountMax)) {
		const node = readStart(start, startContext);
		const earlier = node && nodes.get(node.name);
		if (earlier) {
			problems.report(
				node.position,
				`a second child "${node.name}"`,
				`choose another name; the first is in line ${earlier.position.line}`,
			);
		} else if (node) {
			nodes.set(node.name, node);
		}
	}

	return [...nodes.values()];
}

/** The module behind a binary of the project or outside of it; undefined, with a problem, where there is none. */
function modulePathOf({binary, binaryPath}: StartNode, catalog: Catalog, problems: Problems): string | undefined {
	if (!binary) {
		return undefined;
	}

	const isKnown = catalog.binaries.includes(binary.value);
	if (binaryPath && isKnown) {
		problems.report(
			binary.position,
			`"${binary.value}" is a binary of this project`,
			'remove the path, or give the component that lies there another name',
		);
		return undefined;
	}

	if (binaryPath) {
		return outsideModule(binaryPath, problems);
	}

	if (!isKnown) {
		problems.report(
			binary.position,
			`there is no binary "${binary.value}"`,
			suggestName(binary.value, catalog.binaries, 'binaries'),
		);
		return undefined;
	}

	return catalog.modulePath(binary.value);
}

async function loadComponent(
	{binary, binaryPath}: StartNode,
	modulePath: string | undefined,
	catalog: Catalog,
	problems: Problems,
): Promise<Component | undefined> {
	if (!binary || modulePath === undefined) {
		return undefined;
	}

	try {
		return await (binaryPath ? catalog.loadOutside(modulePath) : catalog.load(binary.value));
	} catch (error) {
		const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
		const rebuild = binaryPath
			? 'mend or rebuild the component; packages that it imports lie in a node_modules beside it or above'
			: 'mend or rebuild the component (npm run build)';
		problems.report(
			(binaryPath ?? binary).position,
			`binary "${binary.value}" cannot be loaded: ${reason}`,
			error instanceof UnusableModule ? error.remedy : rebuild,
		);
		return undefined;
	}
}

async function loadParticipants(
	nodes: readonly StartNode[],
	catalog: Catalog,
	problems: Problems,
): Promise<Map<string, Participant>> {
	const participants = new Map<string, Participant>();
	for (const node of nodes) {
		// One after the other: problems are to be found in the order of the file.
		const modulePath = modulePathOf(node, catalog, problems);
		participants.set(node.name, {
			node,
			modulePath,
			component: await loadComponent(node, modulePath, catalog, problems),
		});
	}

	return participants;
}

/** What the runtime gives the components: all that it can, where the file does not say. */
function readParentServices(root: XmlElement, problems: Problems): readonly EnvironmentService[] {
	const element = childNamed(root, 'parent-provides');
	if (!element) {
		return environmentServices;
	}

	const names = readServiceNames(element, problems);
	for (const {value, position} of names) {
		if (!isEnvironmentService(value)) {
			problems.report(
				position,
				`the parent cannot provide "${value}"`,
				suggestName(value, environmentServices, 'services of the parent'),
			);
		}
	}

	return environmentServices.filter(service => names.some(({value}) => value === service));
}

async function resolveRoutes(
	root: XmlElement,
	participants: ReadonlyMap<string, Participant>,
	environment: readonly EnvironmentService[],
	catalog: Catalog,
	problems: Problems,
): Promise<Map<string, PlacedRoute[]>> {
	const components = [...participants.values()].flatMap(({component}) => (component ? [component] : []));
	const own = components.flatMap(component => Object.values(component.provides).map(session => session.name));
	return new Routing({
		participants,
		defaultRules: readRouteRules(childNamed(root, 'default-route'), problems),
		parentServices: new Set(environment),
		knownServices: new Set([...environmentServices, ...(await catalog.serviceNames()), ...own]),
		problems,
	}).resolve();
}

function checkTool({group, name}: StartNode, component: Component, problems: Problems): void {
	if (component.kind === 'tool' && group) {
		problems.report(
			group.position,
			`child "${name}" is a tool and cannot share a thread`,
			'remove the attribute "colocate"',
		);
	}
}

interface Defaults {
	readonly environment: readonly EnvironmentService[];
	readonly isolation: Isolation;
	readonly ramQuantum: number | undefined;
	readonly heartbeatMs: number | undefined;
}

/** Children that have come this far without a problem; undefined where the binary is not known. */
async function makeChild(
	{node, component, modulePath}: Participant,
	terms: ThreadSettings,
	routes: readonly PlacedRoute[],
	defaults: Defaults,
	problems: Problems,
): Promise<Child | undefined> {
	if (!component || !node.binary || modulePath === undefined) {
		return undefined;
	}

	const binary = node.binary.value;
	checkTool(node, component, problems);
	checkIsolatable({name: node.name, binary}, component, node.placement, problems);
	const config = await checkConfig(binary, component.config, node.config, node.position, problems);
	const ramQuantum = node.ramQuantum?.value ?? defaults.ramQuantum;
	if (ramQuantum === undefined) {
		problems.report(
			node.position,
			`child "${node.name}" has no RAM quantum`,
			'add <resource name="RAM" quantum="64M"/>, or <default ram="64M"/> for all children',
		);
		return undefined;
	}

	const heartbeatMs = terms.heartbeatMs ?? defaults.heartbeatMs;
	return {
		name: node.name,
		binary,
		modulePath,
		component: {
			kind: component.kind,
			stateful: component.stateful,
			provides: component.provides,
			requires: component.requires,
			config: component.config,
			reach: component.reach,
			obstacles: component.obstacles,
			needsRuntime: component.needsRuntime,
		},
		config,
		priority: terms.priority,
		ramQuantum,
		cpus: terms.cpus,
		group: terms.group,
		isolation: terms.placement === 'process' ? defaults.isolation : undefined,
		routes: routes.map(({position: _, ...route}) => route),
		heartbeat: heartbeatMs === undefined ? undefined : {rateMs: heartbeatMs},
		environment: defaults.environment,
		exitPropagate: node.exitPropagate,
		position: node.position,
		positionOf: way => configPosition(node.config, way) ?? node.position,
	};
}

async function check(
	root: XmlElement,
	file: string,
	context: LoadContext,
	launchers: LauncherFolders,
	problems: Problems,
): Promise<Omit<Deployment, 'files'>> {
	checkVocabulary(root, deploymentRule, problems);
	const {catalog} = context;
	const nodes = readStarts(root, context, launchers, problems);
	const participants = await loadParticipants(nodes, catalog, problems);
	const terms = threadSettings(nodes, problems);
	const environment = readParentServices(root, problems);
	const routes = await resolveRoutes(root, participants, environment, catalog, problems);
	const defaults = {
		environment,
		ramQuantum: readDefaultRam(childNamed(root, 'default'), problems)?.value,
		heartbeatMs: readHeartbeat(childNamed(root, 'heartbeat'), problems)?.value,
		isolation: readIsolation(childNamed(root, 'isolation'), problems),
	};
	const children: Child[] = [];
	for (const name of startOrder(routes, problems)) {
		const participant = participants.get(name);
		const childTerms = terms.get(name);
		const child =
			participant &&
			childTerms &&
			(await makeChild(participant, childTerms, routes.get(name) ?? [], defaults, problems));
		if (child) {
			children.push(child);
		}
	}

	checkSharedMemory(children, problems);
	if (nodes.length === 0) {
		problems.report(root.position, 'nothing is started', 'add a <start name="…">');
	}

	return {file, children};
}

function readBytes(file: string, position: SourcePosition, problems: Problems): Uint8Array | undefined {
	try {
		return readDocument(file);
	} catch (error) {
		const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
		problems.report(position, `the file cannot be read (${code})`, 'name an existing deployment file', true);
		return undefined;
	}
}

/**
 * Reads and checks `file`, or what is given as its content; throws a `DeploymentError` that lists every problem.
 */
export async function loadDeployment(
	file: string,
	context: LoadContext = loadContext(file),
	content?: Uint8Array,
): Promise<Deployment> {
	const problems = new Problems();
	const shownFile = displayPath(file);
	const launchers = new LauncherFolders(context.launcherFolders);
	const bytes = content ?? readBytes(file, {file: shownFile, line: 1, column: 1}, problems);
	const root = bytes && parseXml(shownFile, bytes, problems);
	const deployment =
		root && checkRoot(root, 'config', problems) ? await check(root, file, context, launchers, problems) : undefined;
	const files = [file, ...launchers.lookedFor];
	if (!deployment || problems.count > 0) {
		throw new DeploymentError(problems.sorted(), files);
	}

	return {...deployment, files};
}
