/**
 * Where the log of `runtime start` goes, and in which form. People at a terminal and programs behind a pipe get the
 * lines as they are; in a file each has its time and level; the journal of systemd, which knows the time, gets the
 * level as it wants it (sd-daemon(3)).
 */
import {fstatSync} from 'node:fs';
import type {LogLevel} from '../sdk/component.js';
import type {LogEntry, LogSink} from '../supervisor/log.js';

export const logLevels = ['info', 'warning', 'error'] as const satisfies readonly LogLevel[];
export const logFormats = ['text', 'json'] as const;

export interface LogForm {
	readonly format: (typeof logFormats)[number];
	/** The least level that is shown. */
	readonly level: LogLevel;
}

export type LogTarget = 'stream' | 'file' | 'journal';

/** Levels of syslog(3). */
const journalPriority: Readonly<Record<LogLevel, number>> = {info: 6, warning: 4, error: 3};

/** What standard output is. @param journalStream the variable with which systemd names its socket, as DEVICE:INODE */
export function targetOfOutput(journalStream = process.env['JOURNAL_STREAM'], fd = 1): LogTarget {
	try {
		const {dev, ino} = fstatSync(fd, {bigint: true});
		const stat = fstatSync(fd);
		return journalStream === `${dev}:${ino}` ? 'journal' : stat.isFile() ? 'file' : 'stream';
	} catch {
		return 'stream';
	}
}

export function formatLogLine(
	line: string,
	{level, child, text}: LogEntry,
	{format, target, time}: {format: LogForm['format']; target: LogTarget; time: Date},
): string {
	if (format === 'json') {
		return JSON.stringify({time: time.toISOString(), level, ...(child !== undefined && {child}), text});
	}

	switch (target) {
		case 'stream': {
			return line;
		}

		case 'file': {
			return `${time.toISOString()} ${level} ${line}`;
		}

		case 'journal': {
			return `<${journalPriority[level]}>${line}`;
		}
	}
}

/** A log on standard output. */
export function logTo(write: (line: string) => void, {format, level}: LogForm, target = targetOfOutput()): LogSink {
	const least = logLevels.indexOf(level);
	return (line, entry) => {
		if (logLevels.indexOf(entry.level) >= least) {
			write(formatLogLine(line, entry, {format, target, time: new Date()}));
		}
	};
}
