/** `runtime extend` and `runtime rekey`: operations of a device that go on by themselves, whether watched or not. */
import {setTimeout as sleep} from 'node:timers/promises';
import {callDevice, readOperations, type DeviceTarget, type OperationStatus} from './device-call.js';
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';
import {ProgressLine, describeProgress} from './progress-line.js';

export type OperationName = 'extend' | 'rekey';

/** What the user wants with the operation. */
export type Wish =
	/** Begin it and watch it; where it is going on already, only watch it. */
	| {readonly kind: 'begin'; readonly request: Record<string, unknown>; readonly detach: boolean}
	| {readonly kind: 'attach'}
	| {readonly kind: 'pause' | 'resume'};

export interface OperationOptions {
	readonly target: DeviceTarget;
	readonly name: OperationName;
	readonly json: boolean;
}

const titles = {extend: 'extending', rekey: 'rekeying'} as const;

/** How often the operation is looked at. */
const pollMs = 300;

function report({name, json}: OperationOptions, status: OperationStatus, text: string): void {
	print(json ? JSON.stringify({operation: name, ...status}) : text);
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

/** Looks until the operation is over or the user leaves; the last status seen. */
async function watch({target, name, json}: OperationOptions, signal: AbortSignal): Promise<OperationStatus> {
	const line = new ProgressLine(titles[name], {
		isTerminal: process.stdout.isTTY,
		write: text => void process.stdout.write(text),
	});
	try {
		for (;;) {
			const status = (await readOperations(target))[name];
			if (status.phase === 'idle' || signal.aborted) {
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

async function follow(options: OperationOptions): Promise<number> {
	const {name} = options;
	const {signal, release} = detachSignal();
	try {
		const status = await watch(options, signal);
		if (status.phase !== 'idle') {
			report(options, status, `${titles[name]} goes on (${describeProgress(status)}); "runtime ${name} --attach" shows it again`);
			return exitCode.ok;
		}

		if (status.lastResult === 'success') {
			report(options, status, `${titles[name]}: done`);
			return exitCode.ok;
		}

		report(options, status, `${titles[name]} ended before it was complete; the runtime's log says why, and it goes on when the device is opened again`);
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
	report(options, now, `${titles[name]} ${kind === 'pause' ? 'is paused; requests to the device go on' : 'goes on'} (${describeProgress(now)})`);
	return exitCode.ok;
}

async function begin(options: OperationOptions, {request, detach}: Extract<Wish, {kind: 'begin'}>, before: OperationStatus): Promise<number> {
	const {target, name, json} = options;
	if (before.phase === 'idle') {
		await callDevice(target, name, request);
	} else if (!json) {
		print(`${titles[name]} is going on already; no other one was begun`);
	}

	if (!detach) {
		return follow(options);
	}

	const status = (await readOperations(target))[name];
	report(options, status, `${titles[name]} goes on by itself; "runtime ${name} --attach" shows how it stands`);
	return exitCode.ok;
}

/** @throws ControlError where the device refuses */
export async function longOperation(options: OperationOptions, wish: Wish): Promise<number> {
	const status = (await readOperations(options.target))[options.name];
	switch (wish.kind) {
		case 'attach': {
			return attach(options, status);
		}

		case 'pause':
		case 'resume': {
			return setPace(options, wish.kind, status);
		}

		case 'begin': {
			return begin(options, wish, status);
		}
	}
}
