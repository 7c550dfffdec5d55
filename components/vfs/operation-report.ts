/** What users read from control files: one line each. */
import type {OperationStatus} from '../sessions/device-control.js';

export function stateLine({phase, lastResult}: Pick<OperationStatus, 'phase' | 'lastResult'>): string {
	return `${phase} last-result:${lastResult}\n`;
}

function duration(seconds: number): string {
	const whole = Math.ceil(seconds);
	const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
	return parts.map(part => String(part).padStart(2, '0')).join(':');
}

/** Percent, rate and time left; the words are stable, so that scripts may look for them. */
export function progressLine(status: OperationStatus): string {
	const {phase, done, total, bytesPerSecond, secondsLeft} = status;
	if (phase === 'idle') {
		return stateLine(status);
	}

	const percent = total > 0 ? ((done / total) * 100).toFixed(1) : '0.0';
	const rate = (bytesPerSecond / 2 ** 20).toFixed(1);
	const left = secondsLeft === undefined ? 'unknown' : duration(secondsLeft);
	return `${phase} ${percent}% rate:${rate}MiB/s time-left:${left}\n`;
}
