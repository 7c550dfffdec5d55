/** `runtime run`: runs one tool of a deployment, with the servers it needs, until it exits. */
import type {Deployment} from '../deployment/model.js';
import {suggestName} from '../deployment/suggestion.js';
import {runTool} from '../supervisor/supervisor.js';
import {readDeployment} from './deploy-file.js';
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';

/** What keeps the child from being run, if anything. */
function refusal({children}: Deployment, name: string): string | undefined {
	const child = children.find(candidate => candidate.name === name);
	if (child?.component.kind === 'tool') {
		return undefined;
	}

	const tools = children.filter(candidate => candidate.component.kind === 'tool').map(candidate => candidate.name);
	return child
		? `child "${name}" is a service, which "runtime start" starts; tools: ${tools.join(', ') || 'none'}`
		: `there is no child "${name}" in the deployment; ${suggestName(name, tools, 'tools')}`;
}

export async function run(name: string, deployFile: string | undefined, stateDirectory: string): Promise<number> {
	const deployment = await readDeployment(deployFile);
	if (!deployment) {
		return exitCode.usage;
	}

	const reason = refusal(deployment, name);
	if (reason !== undefined) {
		complain(`[runtime] ${reason}`);
		return exitCode.usage;
	}

	return await runTool(deployment, name, {stateDirectory, log: print});
}
