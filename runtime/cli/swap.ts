/** `runtime swap`: gives a child of a running runtime another binary, in the deployment file and at once. */
import {readFileSync, realpathSync} from 'node:fs';
import {EditError, withBinary} from '../deployment/binary-edit.js';
import {loadDeployment, loadContext} from '../deployment/deployment-loader.js';
import {displayPath} from '../deployment/display-path.js';
import {DeploymentError} from '../deployment/problem.js';
import {requestControl, type RuntimeStatus} from '../supervisor/control-client.js';
import {applyEdit} from './apply.js';
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';
import {replaceFile} from './replaced-file.js';
import {isShipped} from './shipped-file.js';

async function fileOf(stateDirectory: string): Promise<string> {
	const {deployment} = (await requestControl(stateDirectory, {op: 'status'})) as RuntimeStatus;
	if (!deployment) {
		throw new Error('the running deployment comes from no file');
	}

	return deployment.file;
}

/** The edited text, or undefined once it has been said why there is none. */
async function edit(file: string, text: string, name: string, binary: string): Promise<string | undefined> {
	try {
		const edited = withBinary(displayPath(file), text, name, binary);
		await loadDeployment(file, loadContext(file), Buffer.from(edited));
		return edited;
	} catch (error) {
		if (!(error instanceof EditError || error instanceof DeploymentError)) {
			throw error;
		}

		complain(error instanceof EditError ? `[runtime] ${error.message}` : error.message);
		complain(`[runtime] ${displayPath(file)} was left as it is`);
		return undefined;
	}
}

/** @param force edits also what comes with the project */
export async function swap(name: string, binary: string, stateDirectory: string, force: boolean): Promise<number> {
	const file = await fileOf(stateDirectory);
	// An edit through a symbolic link is one of the file behind it.
	const target = realpathSync(file);
	if (isShipped(target) && !force) {
		complain(
			`[runtime] ${displayPath(file)} comes with the project, and a command does not change it by the way: make a file of your own with "runtime init my.xml", start that one, and swap there; or say --force`,
		);
		complain(`[runtime] ${displayPath(file)} was left as it is`);
		return exitCode.usage;
	}

	const text = readFileSync(target, 'utf8');
	const edited = await edit(file, text, name, binary);
	if (edited === undefined) {
		return exitCode.usage;
	}

	if (edited === text) {
		print(`[runtime] child "${name}" has the binary ${binary} already`);
		return exitCode.ok;
	}

	replaceFile(target, edited);
	const {result} = await applyEdit(stateDirectory);
	if (result === 'applied' || result === 'unchanged') {
		return exitCode.ok;
	}

	// Whoever saved something else meanwhile keeps it.
	if (readFileSync(target, 'utf8') === edited) {
		replaceFile(target, text);
		complain(`[runtime] ${displayPath(file)} is as it was before`);
	}

	return exitCode.failed;
}
