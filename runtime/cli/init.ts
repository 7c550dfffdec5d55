/** `runtime init`: makes a deployment file of one's own, from a shipped assembly. */
import {existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync} from 'node:fs';
import {dirname, resolve} from 'node:path';
import {loadDeployment, loadContext} from '../deployment/deployment-loader.js';
import {displayPath} from '../deployment/display-path.js';
import {UnplacedError, withOwnValues, type OwnValues} from '../deployment/own-deployment.js';
import {DeploymentError} from '../deployment/problem.js';
import {suggestName} from '../deployment/suggestion.js';
import {exitCode} from './exit-code.js';
import {complain, print} from './output.js';
import {assemblyFile, projectSchema} from './shipped-file.js';

export interface InitOptions extends Omit<OwnValues, 'schema'> {
	/** The assembly to start from: its name, or a file. */
	readonly from: string;
	/** The state directory as it was given, for the hint. */
	readonly state: string;
}

function sourceOf(from: string): string | undefined {
	const shipped = /^[a-z\d_]+$/.test(from) ? assemblyFile(from) : resolve(from);
	return existsSync(shipped) ? shipped : undefined;
}

function shellWord(text: string): string {
	return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Writes the file where none is. @throws Error with the reason */
function writeNew(file: string, text: string): void {
	mkdirSync(dirname(file), {recursive: true});
	writeFileSync(file, text, {flag: 'wx'});
}

export async function init(file: string, {from, state, ...values}: InitOptions): Promise<number> {
	const path = resolve(file);
	const refuse = (reason: string) => {
		complain(`[runtime] ${reason}`);
		complain('[runtime] nothing was written');
		return exitCode.usage;
	};

	if (existsSync(path)) {
		return refuse(`${displayPath(path)} is there already and is not overwritten; name another file`);
	}

	const source = sourceOf(from);
	if (source === undefined) {
		const names = ['deploy', ...readdirSync(dirname(assemblyFile('raw'))).map(name => name.replace(/\.xml$/, ''))];
		return refuse(`there is no assembly "${from}"; ${suggestName(from, names, 'assemblies')}`);
	}

	try {
		const text = withOwnValues(readFileSync(source, 'utf8'), {...values, schema: projectSchema});
		await loadDeployment(path, loadContext(path), Buffer.from(text));
		writeNew(path, text);
	} catch (error) {
		if (error instanceof DeploymentError) {
			complain(error.message);
			return refuse('with these values it would be wrong');
		}

		return refuse(
			error instanceof UnplacedError
				? `${error.message} (${displayPath(source)})`
				: `${displayPath(path)} cannot be written: ${(error as Error).message}`,
		);
	}

	print(`[runtime] ${displayPath(path)} was made from ${displayPath(source)}; it is yours to edit`);
	print(
		`[runtime] start it: runtime start ${shellWord(file)}${state === 'var' ? '' : ` --state ${shellWord(state)}`}`,
	);
	return exitCode.ok;
}
