/** A `<start>` as it is written, with what its launcher adds: values are read, nothing is resolved yet. */
import {heartbeatBounds, niceMax, ramBounds, resources, type Placement} from './allowed-values.js';
import {readAffinity, type AffinitySpace} from './affinity.js';
import {readByteCount, readInteger, readName, readText, readYesNo, type Declared} from './attribute-value.js';
import {readPlacement} from './isolation-rule.js';
import type {LauncherFolders} from './launcher.js';
import type {SourcePosition} from './checked-deployment.js';
import type {Problems} from './problem.js';
import {readRouteRules, readServiceNames, type RouteRule} from './route-rule.js';
import {childNamed, type XmlElement} from './xml-document.js';

export interface StartNode {
	readonly name: string;
	readonly binary: Declared<string> | undefined;
	/** Where the module of a binary outside of the project lies, as it is written. */
	readonly binaryPath: Declared<string> | undefined;
	readonly ramQuantum: Declared<number> | undefined;
	readonly provides: ReadonlyArray<Declared<string>>;
	readonly affinity: Declared<number[]> | undefined;
	readonly config: XmlElement | undefined;
	readonly rules: readonly RouteRule[];
	readonly heartbeatMs: Declared<number> | undefined;
	readonly exitPropagate: boolean;
	/** A nice value. */
	readonly priority: Declared<number> | undefined;
	readonly group: Declared<string> | undefined;
	readonly placement: Declared<Placement> | undefined;
	readonly position: SourcePosition;
}

/** What the deployment says once for all of its children. */
export interface StartContext {
	readonly priorityLevels: number;
	readonly affinitySpace: AffinitySpace;
	readonly machineCpus: readonly number[];
	readonly launchers: LauncherFolders;
	readonly problems: Problems;
}

function findLauncher(start: XmlElement, name: string, {launchers, problems}: StartContext): XmlElement | undefined {
	const hasBinary = childNamed(start, 'binary') !== undefined;
	const attribute = start.attributes.get('launcher');
	if (attribute && hasBinary) {
		problems.report(
			attribute.position,
			`child "${name}" has both a launcher and a <binary>`,
			'keep one: the launcher names the binary',
		);
		return undefined;
	}

	if (attribute) {
		const launcher = readName(start, 'launcher', problems);
		return launcher && launchers.find(launcher.value, attribute.position, problems);
	}

	if (hasBinary || launchers.has(name)) {
		return hasBinary ? undefined : launchers.find(name, start.position, problems);
	}

	problems.report(
		start.position,
		`child "${name}" has no <binary>, and there is no launcher "${name}"`,
		`add <binary name="…"/>, or launcher="…" with one of: ${launchers.names().join(', ') || '(there are no launchers)'}`,
	);
	return undefined;
}

/** 0 is the highest priority, and as many as there are levels go down from it. */
function readPriority(owner: XmlElement | undefined, levels: number, problems: Problems): Declared<number> | undefined {
	const attribute = owner?.attributes.get('priority');
	if (!owner || !attribute) {
		return undefined;
	}

	if (levels === 1 && attribute.value !== '0') {
		problems.report(
			attribute.position,
			`priority="${attribute.value}" has no effect without priority levels`,
			'give <config> the attribute prio_levels="2" or more',
		);
		return undefined;
	}

	const level = readInteger(owner, 'priority', {min: 1 - levels, max: 0}, problems);
	return (
		level && {
			value: levels === 1 ? 0 : Math.round((-level.value * niceMax) / (levels - 1)),
			position: level.position,
		}
	);
}

/** A quantum that was reported as bad counts as the least one, so that it is not reported as missing too. */
function readQuantum(element: XmlElement, attribute: string, problems: Problems): Declared<number> {
	return readByteCount(element, attribute, ramBounds, problems) ?? {value: ramBounds.min, position: element.position};
}

function readRam(resource: XmlElement | undefined, problems: Problems): Declared<number> | undefined {
	const name = resource?.attributes.get('name');
	if (!resource || !name) {
		return undefined;
	}

	const [known] = resources;
	if (name.value !== known) {
		problems.report(name.position, `unknown resource "${name.value}"`, `the one resource is "${known}"`);
	}

	return readQuantum(resource, 'quantum', problems);
}

export function readDefaultRam(element: XmlElement | undefined, problems: Problems): Declared<number> | undefined {
	return element && readQuantum(element, 'ram', problems);
}

export function readHeartbeat(element: XmlElement | undefined, problems: Problems): Declared<number> | undefined {
	return element && readInteger(element, 'rate_ms', heartbeatBounds, problems);
}

/**
 * Reads one `<start>`; undefined where it has no usable name. An element of the `<start>` itself replaces the
 * launcher's.
 */
export function readStart(start: XmlElement, context: StartContext): StartNode | undefined {
	const {problems} = context;
	const name = readName(start, 'name', problems);
	if (!name) {
		return undefined;
	}

	const launcher = findLauncher(start, name.value, context);
	const part = (partName: string) => childNamed(start, partName) ?? childNamed(launcher, partName);
	const attributeOwner = (attribute: string) => (start.attributes.has(attribute) ? start : launcher);
	const binary = part('binary');
	if (launcher && !binary) {
		problems.report(launcher.position, 'the launcher names no binary', 'add <binary name="…"/>');
	}

	const groupOwner = attributeOwner('colocate');
	const exit = part('exit');
	return {
		name: name.value,
		binary: binary && readName(binary, 'name', problems),
		binaryPath: binary && readText(binary, 'path'),
		ramQuantum: readRam(part('resource'), problems),
		provides: readServiceNames(part('provides'), problems),
		affinity: readAffinity(part('affinity'), context.affinitySpace, context.machineCpus, problems),
		config: part('config'),
		rules: readRouteRules(part('route'), problems),
		heartbeatMs: readHeartbeat(part('heartbeat'), problems),
		exitPropagate: (exit && readYesNo(exit, 'propagate', problems)?.value) ?? false,
		priority: readPriority(attributeOwner('priority'), context.priorityLevels, problems),
		group: groupOwner && readName(groupOwner, 'colocate', problems),
		placement: readPlacement(attributeOwner('isolation'), problems),
		position: start.position,
	};
}
