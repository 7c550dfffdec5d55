/** A control file: reading it tells how an operation stands, writing to it begins one. */
import type {Environment} from '../../runtime/sdk/component.js';
import {sealEnvelope} from '../lib/crypto/key-envelope.js';
import {withoutLineEnd} from '../../runtime/sdk/secret-line.js';
import type {Client} from '../../runtime/sdk/session.js';
import type {deviceControl, OperationStatus} from '../sessions/device-control.js';
import {parseExtension, parseGeneration, parseTrigger, requireName} from './command.js';
import {FileError, errnoNameOf} from './errno.js';
import {commandByteLengthMax, commandWaitMs} from './file-system-limits.js';
import {progressLine, stateLine} from './operation-report.js';

export interface ControlFile {
	readonly name: string;
	/** The text as it is now. */
	read(): Promise<string>;
	/**
	 * What is written is a secret: bytes that are taken as they are, but for one line end, wiped, and shown nowhere.
	 */
	readonly takesSecret: boolean;
	/** Carries out a command. Absent where there is nothing to command. @throws FileError or SessionError */
	write?(content: Buffer): Promise<void>;
}

/** An operation that ends soon, and is remembered by its file alone. */
class ShortOperation implements ControlFile {
	#running = 0;
	#lastResult: OperationStatus['lastResult'] = 'none';

	constructor(
		readonly name: string,
		readonly work: (content: Buffer) => Promise<void>,
		readonly takesSecret = false,
	) {}

	async read(): Promise<string> {
		return stateLine({phase: this.#running > 0 ? 'in-progress' : 'idle', lastResult: this.#lastResult});
	}

	async write(content: Buffer): Promise<void> {
		this.#running++;
		try {
			await this.work(content);
			this.#lastResult = 'success';
		} catch (error) {
			this.#lastResult = 'failed';
			throw error;
		} finally {
			this.#running--;
		}
	}
}

export interface ControlFileEffects {
	/** The content of the device is another one at once; what was cached of it is wrong. */
	contentChanged(): Promise<void>;
	/** Makes everything durable and serves the device's data no more. */
	deinitialize(): Promise<void>;
}

type Control = Client<typeof deviceControl>;

/** What is no secret is text, and white space around it does not count. */
function commanded(work: (command: string) => Promise<void>): (content: Buffer) => Promise<void> {
	return async content => work(content.toString().trim());
}

function longOperation(
	control: Control,
	name: 'extend' | 'rekey' | 'check',
	begin: (command: string) => Promise<void>,
): ControlFile[] {
	const status = async () => (await control.operations({}))[name];
	return [
		{name, takesSecret: false, read: async () => stateLine(await status()), write: commanded(begin)},
		{name: `${name}_progress`, takesSecret: false, read: async () => progressLine(await status())},
	];
}

/**
 * A passphrase leaves this component only sealed to the trust anchor; nothing at all asks the anchor to open by itself.
 */
async function unlock(control: Control, written: Buffer, env: Environment): Promise<void> {
	const secret = withoutLineEnd(written);
	try {
		if (secret.length === 0) {
			await control.unlock({});
			return;
		}

		const {publicKey} = await control.recipient({});
		const sealed = sealEnvelope(secret, publicKey, count => env.randomBytes(count));
		await control.unlock({sealed: Buffer.from(sealed).toString('hex')});
	} finally {
		written.fill(0);
	}
}

/** The snapshot that is meant, by its number or its name. @throws FileError EINVAL */
async function findSnapshot(control: Control, text: string): Promise<number> {
	const generation = parseGeneration(text);
	if (generation !== undefined) {
		return generation;
	}

	const {snapshots} = await control.list_snapshots({});
	const found = snapshots.find(({name}) => name === text);
	if (!found) {
		throw new FileError(
			'EINVAL',
			`there is no snapshot "${text}"; "ls snapshots" shows their numbers, and "cat snapshots/NUMBER/name" a name`,
		);
	}

	return found.generation;
}

function makeFiles(
	control: Control,
	{contentChanged, deinitialize}: ControlFileEffects,
	env: Environment,
): ControlFile[] {
	return [
		new ShortOperation(
			'create_snapshot',
			commanded(async command => {
				await control.create_snapshot(command === 'true' ? {} : {name: requireName(command)});
			}),
		),
		new ShortOperation(
			'discard_snapshot',
			commanded(async command => {
				await control.discard_snapshot({generation: await findSnapshot(control, command)});
			}),
		),
		new ShortOperation(
			'revert_snapshot',
			commanded(async command => {
				await control.revert_snapshot({generation: await findSnapshot(control, command)});
				await contentChanged();
			}),
		),
		...longOperation(control, 'extend', async command => {
			await control.extend(parseExtension(command));
		}),
		...longOperation(control, 'rekey', async command => {
			parseTrigger(command);
			await control.rekey({});
		}),
		...longOperation(control, 'check', async command => {
			parseTrigger(command);
			await control.check({});
		}),
		new ShortOperation(
			'lock',
			commanded(async command => {
				parseTrigger(command);
				await control.lock({});
				await contentChanged();
			}),
		),
		new ShortOperation('unlock', async written => unlock(control, written, env), true),
		new ShortOperation(
			'deinitialize',
			commanded(async command => {
				parseTrigger(command);
				await deinitialize();
			}),
		),
	];
}

/** A name that does not exist is bad input here. Undefined for what is a bug. */
function asCommandFailure(error: unknown): FileError | undefined {
	const code = errnoNameOf(error);
	return code === undefined
		? undefined
		: new FileError(code === 'ESTALE' ? 'EINVAL' : code, (error as Error).message);
}

/** Says in the log why a command failed, because an error number says little, and what was unexpected. */
function reporting(file: ControlFile, env: Environment): ControlFile {
	const {write} = file;
	if (!write) {
		return file;
	}

	return {
		name: file.name,
		takesSecret: file.takesSecret,
		read: async () => file.read(),
		async write(content) {
			try {
				if (content.length > commandByteLengthMax) {
					throw new FileError('EINVAL', `a command of more than ${commandByteLengthMax} bytes is none`);
				}

				await write.call(file, content);
			} catch (error) {
				const failure = asCommandFailure(error);
				if (failure) {
					env.log(`${file.name}: ${failure.message} (${failure.code})`, 'warning');
				}

				throw failure ?? error;
			}
		},
	};
}

/**
 * Waits for a command for a while only; `content` is the file's from now on. The command goes on, and its failure is in
 * the log and in the file.
 */
export async function writeWithPatience(file: ControlFile, content: Buffer, env: Environment): Promise<void> {
	if (!file.write) {
		throw new FileError('EACCES', `${file.name} can be read only`);
	}

	const work = file.write(content);
	await Promise.race([work, env.sleep(commandWaitMs)]);
	work.catch((error: unknown) => {
		if (errnoNameOf(error) === undefined) {
			env.fail(error instanceof Error ? (error.stack ?? error.message) : String(error));
		}
	});
}

/** No control files where nothing can be controlled. */
export function controlFiles(
	control: Control | undefined,
	effects: ControlFileEffects,
	env: Environment,
): ControlFile[] {
	return control ? makeFiles(control, effects, env).map(file => reporting(file, env)) : [];
}
