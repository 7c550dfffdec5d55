/** `runtime apply`: has a running runtime read its deployment file and apply what was edited. */
import {requestControl, type EditOutcome} from '../supervisor/control-client.js';
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';

/** Has the file applied; shows what came of it. */
export async function applyEdit(stateDirectory: string): Promise<EditOutcome> {
	const outcome = (await requestControl(stateDirectory, {op: 'apply'})) as EditOutcome;
	switch (outcome.result) {
		case 'applied': {
			print(
				`[runtime] applied: ${outcome.message}${outcome.pauseMs > 0 ? `; requests waited for ${outcome.pauseMs} ms at most` : ''}`,
			);
			break;
		}

		case 'unchanged': {
			print(`[runtime] ${outcome.message}`);
			break;
		}

		case 'refused': {
			complain(outcome.message);
			complain('[runtime] nothing was changed');
			break;
		}

		case 'failed': {
			complain(`[runtime] it could not be applied: ${outcome.message}; the deployment before runs on`);
			break;
		}
	}

	return outcome;
}

export async function apply(stateDirectory: string): Promise<number> {
	const {result} = await applyEdit(stateDirectory);
	return result === 'refused' ? exitCode.usage : result === 'failed' ? exitCode.failed : exitCode.ok;
}
