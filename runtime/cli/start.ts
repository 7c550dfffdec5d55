/** `runtime start`: runs a deployment until it is told to stop. */
import {loadDeployment} from '../deployment/deployment-loader.js';
import type {Deployment} from '../deployment/checked-deployment.js';
import {preflight} from '../supervisor/preflight.js';
import {startDeployment, startedOf} from '../supervisor/deployment-run.js';
import {requestControl, type RuntimeStatus} from '../supervisor/control-client.js';
import {readDeployment} from './deploy-file.js';
import {describeDevice, type DeviceTarget} from './device-call.js';
import {exitCode} from './exit-code.js';
import {existingOrigin} from './key-commands.js';
import {leaveAtOnce} from './leave.js';
import {unlockDevice} from './lock.js';
import {logTo, type LogForm} from './log-output.js';
import {complain, print, reasonOf} from './output.js';
import {unlockSeparately} from './separate-unlock.js';
import {onStopSignal} from './stop-signals.js';
import {PromptCancelled, isInteractive} from './terminal-prompt.js';

/** Devices that wait for a passphrase get one where there is somebody to ask. */
async function unlockAsked(stateDirectory: string, {children: deployed}: Deployment): Promise<void> {
	if (!isInteractive()) {
		return;
	}

	const {children} = (await requestControl(stateDirectory, {op: 'status'})) as RuntimeStatus;
	const devices = await Promise.all(children.map(async ({name}) => describeDevice(stateDirectory, name)));
	for (const device of devices) {
		if (device?.locked) {
			const isIsolated = deployed.some(({isolation}) => isolation !== undefined);
			await (isIsolated ? unlockBeside : unlockWhileRunning)({stateDirectory, child: device.child});
		}
	}
}

/** Whoever isolates a component wants no passphrase in the runtime's process. */
async function unlockBeside(target: DeviceTarget): Promise<void> {
	if (await unlockSeparately(target)) {
		process.kill(process.pid, 'SIGINT');
	}
}

async function unlockWhileRunning(target: DeviceTarget): Promise<void> {
	try {
		await unlockDevice(target, existingOrigin({}));
	} catch (error) {
		if (error instanceof PromptCancelled && error.byInterrupt) {
			process.kill(process.pid, 'SIGINT');
			return;
		}

		throw error;
	}
}

export interface StartOptions extends LogForm {
	/** False: edits are applied only when "runtime apply" or "runtime swap" says so. */
	readonly watch: boolean;
}

export async function start(
	deployFile: string | undefined,
	stateDirectory: string,
	{watch, ...form}: StartOptions,
): Promise<number> {
	const foresee = (read: Deployment) => {
		preflight(read, startedOf(read), stateDirectory);
	};

	const deployment = await readDeployment(deployFile, foresee);
	if (!deployment) {
		return exitCode.usage;
	}

	// A signal that comes while the children start is kept until there is something to stop.
	const log = logTo(print, form);
	const stopAsked = new Promise<void>(resolve => {
		onStopSignal(resolve, (text, level) => {
			log(`[runtime] ${text}`, {level, text});
		});
	});
	const running = await startDeployment(deployment, {
		stateDirectory,
		log,
		follow: {
			watch,
			async load(file) {
				const edited = await loadDeployment(file);
				foresee(edited);
				return edited;
			},
		},
	});
	running.ready
		.then(
			async () => unlockAsked(stateDirectory, deployment),
			() => undefined,
		)
		.catch((error: unknown) => {
			complain(`[runtime] ${reasonOf(error)}`);
		});
	const stopped = stopAsked.then(async () => running.stop());
	const code = await Promise.race([running.ended, stopped.then(async () => running.ended)]);
	return running.lingering.length > 0 ? leaveAtOnce(code) : code;
}
