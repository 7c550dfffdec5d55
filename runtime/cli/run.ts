/** `runtime run`: runs one tool of a deployment, with the servers it needs, until it exits. */
import type {Child, Deployment} from '../deployment/checked-deployment.js';
import {suggestName} from '../deployment/suggestion.js';
import {variableLength} from '../process/process-environment.js';
import {dropSecret, giveSecret} from '../process/process-secrets.js';
import {childrenNeededBy} from '../supervisor/child-graph.js';
import {preflight} from '../supervisor/preflight.js';
import {runTool, withService} from '../supervisor/deployment-run.js';
import {readDeployment} from './deploy-file.js';
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';
import {askSecret, isInteractive} from './terminal-prompt.js';

const passphraseVariable = 'CBE_PASSPHRASE';

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

/**
 * A tool cannot wait for a passphrase: where its trust anchor needs one, it is asked for before, and found as if the
 * environment had it.
 */
async function askForAnchor(deployment: Deployment, name: string, stateDirectory: string): Promise<void> {
	if (
		!isInteractive() ||
		variableLength(passphraseVariable) !== undefined ||
		process.env['CBE_PASSPHRASE_FILE'] !== undefined
	) {
		return;
	}

	const tool = deployment.children.find(child => child.name === name)!;
	const isAnchor = ({component}: Child) =>
		Object.values(component.provides).some(session => session.name === 'anchor_keys');
	for (const anchor of childrenNeededBy(deployment, tool).filter(child => isAnchor(child))) {
		const isLocked = await withService(
			deployment,
			anchor.name,
			{stateDirectory, log: () => undefined},
			async call => {
				const {state, hasKeyFile} = (await call('anchor_keys', 'list', {})) as {
					state: string;
					hasKeyFile: boolean;
				};
				return state === 'present' && !hasKeyFile;
			},
		);
		if (isLocked) {
			const secret = await askSecret('Passphrase: ');
			giveSecret(passphraseVariable, secret);
			secret.fill(0);
			return;
		}
	}
}

export async function run(name: string, deployFile: string | undefined, stateDirectory: string): Promise<number> {
	const deployment = await readDeployment(deployFile, read => {
		const tool = read.children.find(child => child.name === name);
		preflight(read, tool ? childrenNeededBy(read, tool) : [], stateDirectory);
	});
	if (!deployment) {
		return exitCode.usage;
	}

	const reason = refusal(deployment, name);
	if (reason !== undefined) {
		complain(`[runtime] ${reason}`);
		return exitCode.usage;
	}

	await askForAnchor(deployment, name, stateDirectory);
	try {
		return await runTool(deployment, name, {stateDirectory, log: print});
	} finally {
		dropSecret(passphraseVariable);
	}
}
