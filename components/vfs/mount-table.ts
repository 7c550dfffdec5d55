/** What is mounted where, as `/proc/self/mountinfo` tells it: a look at the place itself would ask its server. */
import fs from 'node:fs';

export interface MountEntry {
	readonly path: string;
	readonly type: string;
	readonly source: string;
}

/** Spaces and their like are written as octal numbers. */
function unescape(text: string): string {
	return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

export function parseMountTable(text: string): MountEntry[] {
	const entries: MountEntry[] = [];
	for (const line of text.split('\n')) {
		const [, path, type, source] = /^\d+ \d+ \d+:\d+ \S+ (\S+) .*? - (\S+) (\S+)/.exec(line) ?? [];
		if (path !== undefined) {
			entries.push({path: unescape(path), type, source: unescape(source)});
		}
	}

	return entries;
}

/** The file system that is seen at `path`, if one is mounted there: the last one hides the others. */
export function mountedAt(path: string): MountEntry | undefined {
	return parseMountTable(fs.readFileSync('/proc/self/mountinfo', 'utf8')).findLast(entry => entry.path === path);
}
