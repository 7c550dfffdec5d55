/**
 * `runtime extend`, `runtime rekey` and `runtime verify`: operations of a device that go on by themselves, whether
 * watched or not.
 */
import {setTimeout as sleep} from 'node:timers/promises';
import {callDevice, readDeviceStatus, readOperations, type DeviceTarget, type OperationStatus} from './device-call.js';
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';
import {ProgressLine, describeProgress} from './progress-line.js';
import {blockSize, formatBytes} from './quantity.js';

/** As the device calls it. */
type OperationName = 'extend' | 'rekey' | 'check';

/** What the user wants with the operation. */
export type OperationRequest =
	/** Begin it and watch it; where it is going on already, only watch it. */
	| {readonly kind: 'begin'; readonly request: Record<string, unknown>; readonly detach: boolean}
	| {readonly kind: 'attach'}
	| {readonly kind: 'pause' | 'resume'};

export interface OperationOptions {
	readonly target: DeviceTarget;
	readonly name: OperationName;
	readonly json: boolean;
}

const titles = {extend: 'extending', rekey: 'rekeying', check: 'verifying'} as const;

/** As the command line calls it. */
const commands = {extend: 'extend', rekey: 'rekey', check: 'verify'} as const;

const failures = {
	extend: "it ended before it was complete; the runtime's log says why, and it goes on when the device is opened again",
	rekey: "it ended before it was complete; the runtime's log says why, and it goes on when the device is opened again",
	check: 'damage was found, or not everything could be read; the runtime\'s log names the blocks. "runtime run cbe_check" with the runtime stopped says whose they are',
} as const;

/** How often the operation is looked at. */
const pollMs = 300;

function report({name, json}: OperationOptions, status: OperationStatus, text: string): void {
	print(json ? JSON.stringify({operation: commands[name], ...status}) : text);
}

/** Which command lets an operation go on that is paused, or shows one that is not. */
function commandFor(name: OperationName, flag: 'attach' | 'resume'): string {
	return `"runtime ${commands[name]} --${flag}"`;
}

function reportPaused(options: OperationOptions, status: OperationStatus): void {
	report(
		options,
		status,
		`${titles[options.name]} is paused (${describeProgress(status)}); ${commandFor(options.name, 'resume')} lets it go on`,
	);
}

/** Aborts at the first SIGINT or SIGTERM; what is watched does not notice. */
function detachSignal(): {signal: AbortSignal; release: () => void} {
	const controller = new AbortController();
	const detach = () => {
		controller.abort();
	};

	process.on('SIGINT', detach);
	process.on('SIGTERM', detach);
	return {
		signal: controller.signal,
		release() {
			process.off('SIGINT', detach);
			process.off('SIGTERM', detach);
		},
	};
}

/** Looks until the operation is over or paused or the user leaves; the last status seen. */
async function watch({target, name, json}: OperationOptions, signal: AbortSignal): Promise<OperationStatus> {
	const line = new ProgressLine(titles[name], {
		isTerminal: process.stdout.isTTY,
		write: text => void process.stdout.write(text),
	});
	try {
		for (;;) {
			const status = (await readOperations(target))[name];
			if (status.phase !== 'in-progress' || signal.aborted) {
				return status;
			}

			if (!json) {
				line.show(status);
			}

			await sleep(pollMs, undefined, {signal}).catch(() => undefined);
		}
	} finally {
		line.end();
	}
}

/** How large the device and its pool are now, and who has to do something to see that. */
async function describeExtended(target: DeviceTarget): Promise<string> {
	const {blockCount, poolLeafCount} = await readDeviceStatus(target);
	return (
		`the device has ${formatBytes(blockCount * blockSize)} (${blockCount} blocks) and a pool of ${formatBytes(poolLeafCount * blockSize)}. ` +
		'NBD clients that use it see a new size once they connect again; FUSE and new clients see it at once. ' +
		'A file system in it is made larger by its own tool, such as resize2fs'
	);
}

async function reportSuccess(options: OperationOptions, status: OperationStatus): Promise<void> {
	const {name, target, json} = options;
	if (name === 'extend' && !json) {
		print(`${titles[name]}: done; ${await describeExtended(target)}`);
		return;
	}

	report(
		options,
		status,
		`${titles[name]}: done${name === 'check' ? '; everything that is in use matches its labels' : ''}`,
	);
}

async function follow(options: OperationOptions): Promise<number> {
	const {name} = options;
	const {signal, release} = detachSignal();
	try {
		const status = await watch(options, signal);
		if (status.phase === 'paused') {
			reportPaused(options, status);
			return exitCode.ok;
		}

		if (status.phase !== 'idle') {
			report(
				options,
				status,
				`${titles[name]} goes on (${describeProgress(status)}); ${commandFor(name, 'attach')} shows it again`,
			);
			return exitCode.ok;
		}

		if (status.lastResult === 'success') {
			await reportSuccess(options, status);
			return exitCode.ok;
		}

		report(options, status, `${titles[name]}: ${failures[name]}`);
		return exitCode.failed;
	} finally {
		release();
	}
}

async function attach(options: OperationOptions, status: OperationStatus): Promise<number> {
	if (status.phase !== 'idle') {
		return follow(options);
	}

	report(options, status, `${titles[options.name]} is not going on; last result: ${status.lastResult}`);
	return exitCode.ok;
}

async function setPace(options: OperationOptions, kind: 'pause' | 'resume', status: OperationStatus): Promise<number> {
	const {target, name} = options;
	if (status.phase === 'idle') {
		complain(`[runtime] ${titles[name]} is not going on, so there is nothing to ${kind}`);
		return exitCode.failed;
	}

	await callDevice(target, kind, {operation: name});
	const now = (await readOperations(target))[name];
	report(
		options,
		now,
		`${titles[name]} ${kind === 'pause' ? 'is paused; requests to the device go on' : 'goes on'} (${describeProgress(now)})`,
	);
	return exitCode.ok;
}

/** One that is paused is not watched: whoever waits for its end would wait for ever. */
async function begin(
	options: OperationOptions,
	{request, detach}: Extract<OperationRequest, {kind: 'begin'}>,
	before: OperationStatus,
): Promise<number> {
	const {target, name, json} = options;
	if (before.phase === 'paused') {
		complain(
			`[runtime] ${titles[name]} is going on already and is paused (${describeProgress(before)}); no other one was begun. ${commandFor(name, 'resume')} lets it go on`,
		);
		return exitCode.failed;
	}

	if (before.phase === 'idle') {
		await callDevice(target, name, request);
	} else if (!json) {
		print(`${titles[name]} is going on already; no other one was begun`);
	}

	if (!detach) {
		return follow(options);
	}

	const status = (await readOperations(target))[name];
	if (status.phase === 'paused') {
		reportPaused(options, status);
	} else {
		report(options, status, `${titles[name]} goes on by itself; ${commandFor(name, 'attach')} shows how it stands`);
	}

	return exitCode.ok;
}

/** @throws ControlError where the device refuses */
export async function longOperation(options: OperationOptions, request: OperationRequest): Promise<number> {
	const status = (await readOperations(options.target))[options.name];
	switch (request.kind) {
		case 'attach': {
			return attach(options, status);
		}

		case 'pause':
		case 'resume': {
			return setPace(options, request.kind, status);
		}

		case 'begin': {
			return begin(options, request, status);
		}
	}
}
