/** `runtime restart`: ends a component as a fault would and waits until it is up again. */
import {requestControl} from '../supervisor/control-client.js';
import {exitCode} from './exit-code.js';
import {print} from './output.js';

export async function restart(name: string, stateDirectory: string): Promise<number> {
	await requestControl(stateDirectory, {op: 'restart', name});
	print(`[runtime] child "${name}" was restarted`);
	return exitCode.ok;
}
