/** `runtime start`: runs a deployment until it is told to stop. */
import type {Deployment} from '../deployment/model.js';
import {startDeployment} from '../supervisor/supervisor.js';
import {readDeployment} from './deploy-file.js';
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';
import {onStopSignal} from './stop-signals.js';

/** Tools wait for `runtime run`, but for one with whose exit the runtime is to end. */
function hasAnythingToStart({children}: Deployment): boolean {
	return children.some(({component, exitPropagate}) => component.kind === 'service' || exitPropagate);
}

export async function start(deployFile: string | undefined, stateDirectory: string): Promise<number> {
	const deployment = await readDeployment(deployFile);
	if (!deployment) {
		return exitCode.usage;
	}

	if (!hasAnythingToStart(deployment)) {
		complain('[runtime] the deployment has tools only; run one with "runtime run NAME"');
		return exitCode.usage;
	}

	// A signal that comes while the children start is kept until there is something to stop.
	const stopAsked = new Promise<void>(resolve => {
		onStopSignal(resolve);
	});
	const running = await startDeployment(deployment, {stateDirectory, log: print});
	const stopped = stopAsked.then(async () => running.stop());
	return await Promise.race([running.ended, stopped.then(async () => running.ended)]);
}
