/** `runtime diff`: what applying a deployment file would do to a running runtime. */
import {displayPath} from '../deployment/display-path.js';
import {ControlError, requestControl, type DeploymentDifference} from '../supervisor/control-client.js';
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';
import {formatTable} from './table.js';

function describe({file, changes, reset}: DeploymentDifference): string[] {
	if (changes.length === 0) {
		return [`[runtime] ${displayPath(file)} changes nothing of what runs`];
	}

	return [
		...formatTable(
			['CHILD', 'CHANGE', 'WHAT'],
			changes.map(({child, action, detail}) => [child, action, detail]),
		),
		...reset.map(
			({child, label}) => `There will be other data behind "${label}" of ${child}: its clients are disconnected.`,
		),
	];
}

export async function diff(file: string | undefined, stateDirectory: string, asJson: boolean): Promise<number> {
	try {
		const difference = (await requestControl(stateDirectory, {op: 'diff', file})) as DeploymentDifference;
		for (const line of asJson ? [JSON.stringify(difference, undefined, '\t')] : describe(difference)) {
			print(line);
		}

		return exitCode.ok;
	} catch (error) {
		if (!(error instanceof ControlError && error.code === 'wrong_deployment')) {
			throw error;
		}

		complain(error.message);
		return exitCode.usage;
	}
}
