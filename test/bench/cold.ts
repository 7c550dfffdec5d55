/** Reads that the page cache does not hold, beside the better of two peers. */
import {execFileSync} from 'node:child_process';
import {accessSync, constants, writeFileSync} from 'node:fs';
import type {CellResult} from './comparison.js';
import {cpuText, speedsOf, speedText, table, withSpread} from './report.js';
import {ratios} from './statistics.js';
import {isMemory} from './workspace.js';

const control = '/proc/sys/vm/drop_caches';
/** Page cache, directory entries and inodes. */
const everything = '3\n';

/** Why reads of images there cannot be made to come from the disk; undefined where they can. */
export function whyNotCold(directory: string): string | undefined {
	if (isMemory(directory)) {
		return `${directory} lies in memory; name a folder on a disk with --disk-directory`;
	}

	try {
		accessSync(control, constants.W_OK);
		return undefined;
	} catch {
		return `only root may drop the page cache (${control})`;
	}
}

/** Only what is stored can be dropped. */
export function dropPageCache(): void {
	execFileSync('sync');
	writeFileSync(control, everything);
}

/** Ratio to reach against the better peer. */
function goalOf({target, cell}: CellResult): number {
	return target === 'deploy.xml' && cell.depth === 1 ? 0.9 : 1;
}

/** The speed of whichever was faster, round by round; a peer that did not start has none. */
function better(peers: readonly CellResult[]): number[] {
	const all = peers.map(peer => speedsOf(peer)).filter(speeds => speeds.length > 0);
	const roundCount = Math.min(...all.map(speeds => speeds.length));
	return all.length === 0
		? []
		: Array.from({length: roundCount}, (_, round) => Math.max(...all.map(speeds => speeds[round])));
}

/** One table for each assembly. */
export function coldLines(results: readonly CellResult[]): string[] {
	const namesOf = (role: CellResult['role']) => [
		...new Set(results.filter(result => result.role === role).map(({target}) => target)),
	];
	const peerNames = namesOf('raw');
	return namesOf('device').flatMap(name => {
		const rows = results
			.filter(({target}) => target === name)
			.map(device => {
				const peers = peerNames.map(peer =>
					results.find(({target, cell}) => target === peer && cell === device.cell)!,
				);
				const ratio = ratios(speedsOf(device), better(peers));
				return [
					device.cell.title,
					...[device, ...peers].map(result => speedText(result)),
					ratio ? withSpread(ratio) : '–',
					`≥ ${goalOf(device).toFixed(1)}`,
					[device, ...peers].map(result => cpuText(result)).join(' / '),
				];
			});
		const header = [
			'cell, from the disk',
			name,
			...peerNames,
			'against the better',
			'goal',
			'CPU µs a request (in this order)',
		];
		return [`### ${name}, from the disk`, '', ...table(header, rows), ''];
	});
}
