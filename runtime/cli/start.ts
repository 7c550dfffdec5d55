/** `runtime start`: runs a deployment until it is told to stop. */
import {startDeployment} from '../supervisor/supervisor.js';
import {readDeployment} from './deploy-file.js';
import {exitCode} from './exit-code.js';
import {print} from './output.js';
import {onStopSignal} from './stop-signals.js';

export async function start(deployFile: string | undefined, stateDirectory: string): Promise<number> {
	const deployment = await readDeployment(deployFile);
	if (!deployment) {
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
