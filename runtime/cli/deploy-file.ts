/** Which deployment a command is about, and what is wrong with it. */
import {existsSync} from 'node:fs';
import {resolve} from 'node:path';
import {fileURLToPath} from 'node:url';
import {loadDeployment} from '../deployment/deployment-loader.js';
import {displayPath} from '../deployment/display-path.js';
import type {Deployment} from '../deployment/checked-deployment.js';
import {DeploymentError} from '../deployment/problem.js';
import {complain} from './output.js';

const fileName = 'deploy.xml';

/** The file given, else the current directory's deploy.xml, else the project's. */
function chosenFile(given: string | undefined): string {
	const here = resolve(given ?? fileName);
	return given !== undefined || existsSync(here)
		? here
		: fileURLToPath(new URL(`../../../${fileName}`, import.meta.url));
}

/**
 * The checked deployment, or undefined once everything that is wrong with it has been printed. @param preflight looks
 * for what would keep it from starting here, and throws a DeploymentError
 */
export async function readDeployment(
	given: string | undefined,
	preflight: (deployment: Deployment) => void = () => undefined,
): Promise<Deployment | undefined> {
	const file = chosenFile(given);
	try {
		const deployment = await loadDeployment(file);
		preflight(deployment);
		return deployment;
	} catch (error) {
		if (!(error instanceof DeploymentError)) {
			throw error;
		}

		const {length} = error.problems;
		complain(error.message);
		complain(`[runtime] ${displayPath(file)}: ${length} ${length === 1 ? 'error' : 'errors'}; nothing was started`);
		return undefined;
	}
}
