/** A TPM 2.0 in software (Debian: `swtpm`): its state is a folder, which tests put back, throw away and copy. */
import {spawn, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {setTimeout} from 'node:timers/promises';
import {join} from 'node:path';
import {missingRequirements} from './external-tools.js';
import {temporaryDirectory} from './component-stand.js';

/** False where the program is missing; tests that need it are skipped by name. */
export const hasSoftwareTpm = missingRequirements(['swtpm']).length === 0;

const startAttemptMax = 500;

/** What it keeps without power: its files by name. */
export type TpmState = Readonly<Record<string, Buffer>>;

export class SoftwareTpm {
	/** Where it takes commands. */
	readonly socketPath: string;
	readonly #folder: string;
	readonly #stateFolder: string;
	#process: ChildProcess | undefined;

	private constructor(folder: string) {
		this.#folder = folder;
		this.socketPath = join(folder, 'tpm.sock');
		this.#stateFolder = join(folder, 'state');
		mkdirSync(this.#stateFolder);
	}

	/** A TPM that nobody has used before. */
	static async start(): Promise<SoftwareTpm> {
		const tpm = new SoftwareTpm(temporaryDirectory());
		await tpm.resume();
		return tpm;
	}

	/**
	 * Starts it with its present state, as a machine does that is switched on: PCRs begin anew, what was loaded is
	 * gone.
	 */
	async resume(): Promise<void> {
		rmSync(this.socketPath, {force: true});
		this.#process = spawn(
			'swtpm',
			[
				'socket',
				'--tpm2',
				'--tpmstate',
				`dir=${this.#stateFolder}`,
				'--server',
				`type=unixio,path=${this.socketPath}`,
				'--ctrl',
				`type=unixio,path=${join(this.#folder, 'control.sock')}`,
				'--flags',
				'not-need-init,startup-clear',
			],
			{stdio: 'ignore'},
		);
		for (let attempt = 0; !existsSync(this.socketPath); attempt++) {
			if (attempt === startAttemptMax) {
				throw new Error('swtpm did not start');
			}

			await setTimeout(10);
		}
	}

	async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
		const running = this.#process;
		this.#process = undefined;
		if (running && running.exitCode === null && running.signalCode === null) {
			const ended = once(running, 'exit');
			running.kill(signal);
			await ended;
		}
	}

	/** Switches it off and on again. */
	async restart(signal?: NodeJS.Signals): Promise<void> {
		await this.stop(signal);
		await this.resume();
	}

	/** A copy of its state, by name. */
	async saveState(name: string): Promise<void> {
		await this.stop();
		cpSync(this.#stateFolder, join(this.#folder, name), {recursive: true});
		await this.resume();
	}

	/** Puts a copy of its state back. */
	async restoreState(name: string): Promise<void> {
		await this.stop();
		rmSync(this.#stateFolder, {recursive: true});
		cpSync(join(this.#folder, name), this.#stateFolder, {recursive: true});
		await this.resume();
	}

	/** What it would keep if it lost power now. */
	get content(): TpmState {
		const names = readdirSync(this.#stateFolder).filter(name => name.endsWith('.permall'));
		return Object.fromEntries(names.map(name => [name, readFileSync(join(this.#stateFolder, name))]));
	}

	/** Another TPM takes its place: a new one, or one with this content. */
	async replace(content: TpmState = {}): Promise<void> {
		await this.stop();
		rmSync(this.#stateFolder, {recursive: true});
		mkdirSync(this.#stateFolder);
		for (const [name, bytes] of Object.entries(content)) {
			writeFileSync(join(this.#stateFolder, name), bytes);
		}

		await this.resume();
	}
}
