/** This project's device, as its user runs it: `runtime start ASSEMBLY --state DIRECTORY`. */
import {existsSync, mkdirSync, readdirSync} from 'node:fs';
import {basename, join, resolve} from 'node:path';
import {projectFolder} from '../support/runtime-process.js';
import {requestControl} from '../../runtime/supervisor/control-client.js';
import {runProgram} from './program.js';
import {ServerProcess} from './server-process.js';
import type {Target} from './target.js';

/** Microseconds between samples of a profile. */
const sampleIntervalUs = 500;

/** The file of an assembly: a path, or the name of a shipped one. @throws Error where there is none */
export function assemblyFile(name: string): string {
	const candidates = [
		resolve(name),
		join(projectFolder, name),
		join(projectFolder, 'config/assemblies', name),
		join(projectFolder, `config/assemblies/${name}.xml`),
	];
	const file = candidates.find(candidate => candidate.endsWith('.xml') && existsSync(candidate));
	if (!file) {
		throw new Error(`there is no assembly "${name}"; name a file, or one of those in config/assemblies`);
	}

	return file;
}

/** Names of all shipped assemblies, the default one first. */
export function shippedAssemblies(): string[] {
	return [
		'deploy.xml',
		...readdirSync(join(projectFolder, 'config/assemblies'))
			.filter(name => name.endsWith('.xml'))
			.sort(),
	];
}

export interface DeviceOptions {
	/** The NBD server's socket in the state directory. */
	readonly socket?: string;
	/** Of the environment, such as a passphrase. */
	readonly variables?: Readonly<Record<string, string>>;
}

export class DeviceTarget implements Target {
	readonly name: string;
	readonly role = 'device';
	/** CPUs of the next start, as taskset writes them; all where undefined. */
	cpus: string | undefined;
	/** Where the next start leaves profiles of all threads; none where undefined. */
	profileDirectory: string | undefined;
	readonly #deployFile: string;
	readonly stateDirectory: string;
	#process: ServerProcess | undefined;

	readonly #socket: string;
	readonly #variables: Readonly<Record<string, string>>;

	/** @param directory its state lies in a folder of its own there */
	constructor(assembly: string, directory: string, {socket = 'nbd.sock', variables = {}}: DeviceOptions = {}) {
		this.#deployFile = assemblyFile(assembly);
		this.#socket = socket;
		this.#variables = variables;
		this.name = basename(this.#deployFile);
		this.stateDirectory = join(directory, basename(this.#deployFile, '.xml'));
	}

	get uri(): string {
		return `nbd+unix:///?socket=${this.#socketPath}`;
	}

	get pid(): number {
		return this.#process?.pid ?? -1;
	}

	async start(): Promise<void> {
		mkdirSync(this.stateDirectory, {recursive: true});
		const profiling =
			this.profileDirectory === undefined
				? []
				: ['--cpu-prof', `--cpu-prof-dir=${this.profileDirectory}`, `--cpu-prof-interval=${sampleIntervalUs}`];
		const words = [
			...profiling,
			join(projectFolder, 'dist/runtime/cli/main.js'),
			'start',
			this.#deployFile,
			'--state',
			this.stateDirectory,
		];
		const [program, ...arguments_] = [
			...(this.cpus === undefined ? [] : ['taskset', '-c', this.cpus]),
			process.execPath,
			...words,
		];
		this.#process = new ServerProcess(program, arguments_, projectFolder, this.#variables);
		await this.#process.listens(this.#socketPath);
	}

	/** Runs one tool of the assembly on the stopped device. @throws Error where it fails */
	async runTool(name: string): Promise<string> {
		mkdirSync(this.stateDirectory, {recursive: true});
		return runProgram(
			process.execPath,
			[
				join(projectFolder, 'dist/runtime/cli/main.js'),
				'run',
				name,
				this.#deployFile,
				'--state',
				this.stateDirectory,
			],
			projectFolder,
			this.#variables,
		);
	}

	/** Asks the running device for one operation of `device_control`. */
	async control(operation: string, request: Record<string, unknown> = {}): Promise<unknown> {
		return requestControl(this.stateDirectory, {op: 'call', service: 'device_control', operation, request});
	}

	async stop(): Promise<void> {
		await this.#process?.stop();
	}

	get #socketPath(): string {
		return join(this.stateDirectory, this.#socket);
	}
}
