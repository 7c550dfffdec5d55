/** `runtime stop`: has the runtime of a state directory end in order, waits for it, and says what came of it. */
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import {ControlError, requestControl} from '../supervisor/control-client.js';
import type {EndStage, EndReport} from '../supervisor/control-client.js';
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';

/** Whoever waits longer is told what for, this often. */
const patienceMs = 2000;

/** Time for the process to be gone once it has said that everything has stopped. */
const goneTimeLimitMs = 10_000;
const lookIntervalMs = 20;

/** The process in the lock file; undefined where the last one has ended in order, or there was none. */
function processIn(stateDirectory: string): number | undefined {
	try {
		const pid = Number(readFileSync(join(stateDirectory, 'runtime.lock'), 'latin1').trim());
		return pid > 0 ? pid : undefined;
	} catch {
		return undefined;
	}
}

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === 'EPERM';
	}
}

function describeStage({child, doneCount, count}: EndStage): string {
	return child === undefined ? 'its threads and processes end' : `stopping "${child}" (${doneCount + 1} of ${count})`;
}

/** Shows how far it is until `over` settles. */
async function showProgress(stateDirectory: string, over: Promise<unknown>): Promise<void> {
	const began = performance.now();
	let isOver = false;
	const noted = over.then(
		() => {
			isOver = true;
		},
		() => {
			isOver = true;
		},
	);
	for (;;) {
		await Promise.race([noted, setTimeout(patienceMs, undefined, {ref: false})]);
		if (isOver) {
			return;
		}

		const stage = (await Promise.race([
			requestControl(stateDirectory, {op: 'ending'}).catch(() => undefined),
			setTimeout(patienceMs, undefined, {ref: false}),
		])) as EndStage | null | undefined;
		if (!isOver) {
			print(
				`[runtime] waiting for ${Math.round((performance.now() - began) / 1000)} s: ${stage ? describeStage(stage) : 'it does not say how far it is'}`,
			);
		}
	}
}

async function waitUntilGone(stateDirectory: string, pid: number | undefined): Promise<boolean> {
	for (let waitedMs = 0; waitedMs < goneTimeLimitMs; waitedMs += lookIntervalMs) {
		if (pid === undefined || processIn(stateDirectory) !== pid || !isAlive(pid)) {
			return true;
		}

		await setTimeout(lookIntervalMs);
	}

	return false;
}

function complainOfNobody(stateDirectory: string, pid: number | undefined, error: ControlError): number {
	if (pid !== undefined && isAlive(pid)) {
		complain(
			`[runtime] the runtime with process id ${pid} cannot be asked to stop: ${error.message}; "kill ${pid}" asks it, too`,
		);
	} else {
		complain(
			`[runtime] nothing to stop: no runtime uses the state directory ${stateDirectory}; another one is named with --state`,
		);
	}

	return exitCode.failed;
}

export async function stop(stateDirectory: string): Promise<number> {
	const pid = processIn(stateDirectory);
	const asked = requestControl(stateDirectory, {op: 'stop'}) as Promise<EndReport>;
	const progress = showProgress(stateDirectory, asked);
	let report;
	try {
		report = await asked;
	} catch (error) {
		if (error instanceof ControlError && error.code === 'not_running') {
			return complainOfNobody(stateDirectory, pid, error);
		}

		throw error;
	} finally {
		await progress;
	}

	for (const problem of report.problems) {
		complain(`[runtime] ${problem}`);
	}

	const who = `the runtime${pid === undefined ? '' : ` with process id ${pid}`}`;
	if (!(await waitUntilGone(stateDirectory, pid))) {
		complain(
			`[runtime] ${who} has stopped its components, but its process is still there: the kernel holds one of its threads`,
		);
		return exitCode.failed;
	}

	if (report.exitCode !== 0) {
		complain(
			`[runtime] ${who} has ended with exit code ${report.exitCode}, not in order: what was flushed before is safe, the log says the rest`,
		);
		return exitCode.failed;
	}

	print(`[runtime] ${who} has stopped in order; everything it had accepted is flushed`);
	return exitCode.ok;
}
