/** This project's device, as its user runs it: `runtime start ASSEMBLY --state DIRECTORY`. */
import {existsSync, mkdirSync} from 'node:fs';
import {basename, join, resolve} from 'node:path';
import {projectFolder} from '../support/runtime-process.js';
import {ServerProcess} from './server-process.js';
import type {Target} from './target.js';

/** Microseconds between samples of a profile. */
const sampleIntervalUs = 500;

/** The file of an assembly: a path, or the name of a shipped one. @throws Error where there is none */
export function assemblyFile(name: string): string {
	const candidates = [resolve(name), join(projectFolder, name), join(projectFolder, 'config/assemblies', name), join(projectFolder, `config/assemblies/${name}.xml`)];
	const file = candidates.find(candidate => candidate.endsWith('.xml') && existsSync(candidate));
	if (!file) {
		throw new Error(`there is no assembly "${name}"; name a file, or one of those in config/assemblies`);
	}

	return file;
}

export class DeviceTarget implements Target {
	readonly name: string;
	readonly role = 'device';
	/** Where the next start leaves profiles of all threads; none where undefined. */
	profileDirectory: string | undefined;
	readonly #deployFile: string;
	readonly stateDirectory: string;
	#process: ServerProcess | undefined;

	/** @param directory its state lies in a folder of its own there */
	constructor(assembly: string, directory: string) {
		this.#deployFile = assemblyFile(assembly);
		this.name = basename(this.#deployFile);
		this.stateDirectory = join(directory, basename(this.#deployFile, '.xml'));
	}

	get uri(): string {
		return `nbd+unix:///?socket=${join(this.stateDirectory, 'nbd.sock')}`;
	}

	get pid(): number {
		return this.#process?.pid ?? -1;
	}

	async start(): Promise<void> {
		mkdirSync(this.stateDirectory, {recursive: true});
		const profiling = this.profileDirectory === undefined
			? []
			: ['--cpu-prof', `--cpu-prof-dir=${this.profileDirectory}`, `--cpu-prof-interval=${sampleIntervalUs}`];
		const words = [...profiling, join(projectFolder, 'dist/runtime/cli.js'), 'start', this.#deployFile, '--state', this.stateDirectory];
		this.#process = new ServerProcess(process.execPath, words, projectFolder);
		await this.#process.listens(join(this.stateDirectory, 'nbd.sock'));
	}

	async stop(): Promise<void> {
		await this.#process?.stop();
	}
}
