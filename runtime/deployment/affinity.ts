/** Where threads may run: the affinity space of a deployment laid over the CPUs of the machine. */
import {readFileSync} from 'node:fs';
import {availableParallelism} from 'node:os';
import {spacePositionBounds, spaceSizeBounds} from './allowed-values.js';
import {readInteger, type Declared} from './attribute-value.js';
import type {Problems} from './problem.js';
import type {XmlElement} from './xml-document.js';

export interface AffinitySpace {
	readonly width: number;
	readonly height: number;
}

/** Reads a kernel's list of CPUs such as `0-3,8`. */
export function parseCpuList(list: string): number[] {
	return list.split(',').flatMap(range => {
		const [first, last = first] = range.split('-').map(Number);
		return Array.from({length: last - first + 1}, (_, index) => first + index);
	});
}

/** Numbers of the CPUs on which this process may run. */
export function machineCpus(): number[] {
	try {
		const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
		if (list !== undefined) {
			return parseCpuList(list);
		}
	} catch {
		// Not Linux: the number of CPUs is all there is to know.
	}

	return Array.from({length: availableParallelism()}, (_, cpu) => cpu);
}

/** The declared space, or one row with every CPU of the machine. */
export function readAffinitySpace(
	element: XmlElement | undefined,
	cpus: readonly number[],
	problems: Problems,
): AffinitySpace {
	const bounds = spaceSizeBounds;
	return {
		width: (element && readInteger(element, 'width', bounds, problems)?.value) ?? Math.max(...cpus) + 1,
		height: (element && readInteger(element, 'height', bounds, problems)?.value) ?? 1,
	};
}

interface Place extends AffinitySpace {
	readonly xpos: number;
	readonly ypos: number;
}

function readPlace(element: XmlElement, problems: Problems): Place | undefined {
	const before = problems.count;
	const position = (name: string) => readInteger(element, name, spacePositionBounds, problems)?.value ?? 0;
	const size = (name: string) => readInteger(element, name, spaceSizeBounds, problems)?.value ?? 1;
	const place = {xpos: position('xpos'), ypos: position('ypos'), width: size('width'), height: size('height')};
	return problems.count === before ? place : undefined;
}

function formatCpus(cpus: readonly number[]): string {
	return cpus.length === 1 ? `CPU ${cpus[0]}` : `CPUs ${cpus.join(', ')}`;
}

/** The CPUs of an `<affinity>`: row by row through the space, `y * space width + x`. */
export function readAffinity(
	element: XmlElement | undefined,
	space: AffinitySpace,
	machine: readonly number[],
	problems: Problems,
): Declared<number[]> | undefined {
	const place = element && readPlace(element, problems);
	if (!place) {
		return undefined;
	}

	const {xpos, ypos, width, height} = place;
	if (xpos + width > space.width || ypos + height > space.height) {
		problems.report(
			element.position,
			`impossible affinity: columns ${xpos} to ${xpos + width - 1}, rows ${ypos} to ${ypos + height - 1}`,
			`the affinity space has columns 0 to ${space.width - 1} and rows 0 to ${space.height - 1}`,
		);
		return undefined;
	}

	const cpus = Array.from(
		{length: width * height},
		(_, index) => (ypos + Math.floor(index / width)) * space.width + xpos + (index % width),
	);
	const missing = cpus.filter(cpu => !machine.includes(cpu));
	if (missing.length > 0) {
		problems.report(
			element.position,
			`impossible affinity: ${formatCpus(missing)} cannot be used here`,
			`this machine gives the runtime ${formatCpus(machine)}`,
		);
		return undefined;
	}

	return {value: cpus, position: element.position};
}
