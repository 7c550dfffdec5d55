/** `runtime status`: every component of a running runtime. */
import {requestControl, type ChildStatus, type RuntimeStatus} from '../supervisor/control-client.js';
import {exitCode} from './exit-code.js';
import {print} from './output.js';
import {formatTable} from './table.js';

const header = ['CHILD', 'BINARY', 'STATE', 'TID', 'CPUS', 'CPU s', 'SESSIONS', 'REQUESTS', 'MiB', 'RESTARTS', 'DETAILS'];

function formatMebibytes(byteLength: number): string {
	return (byteLength / 2 ** 20).toFixed(1);
}

function rowOf(child: ChildStatus): string[] {
	const details = Object.entries(child.details).map(([name, value]) => `${name}=${value}`);
	return [
		child.name,
		child.binary,
		child.state,
		child.tid === null ? '-' : String(child.tid),
		child.cpus,
		(child.cpuMs / 1000).toFixed(2),
		String(child.sessions),
		String(child.requests),
		formatMebibytes(child.bytes),
		String(child.restarts),
		details.join(' '),
	];
}

export function describeStatus({pid, residentBytes, children}: RuntimeStatus): string[] {
	return [`runtime ${pid}: ${children.length} components, ${formatMebibytes(residentBytes)} MiB of memory`, ...formatTable(header, children.map(child => rowOf(child)))];
}

export async function status(stateDirectory: string, asJson: boolean): Promise<number> {
	const current = await requestControl(stateDirectory, {op: 'status'}) as RuntimeStatus;
	for (const line of asJson ? [JSON.stringify(current, undefined, '\t')] : describeStatus(current)) {
		print(line);
	}

	return exitCode.ok;
}
