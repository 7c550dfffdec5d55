/**
 * A TPM on the other end of a channel: builds commands, checks responses, and drops what it loaded when it is closed.
 * Every length is checked before it is believed, and nothing of an answer is used before its authorization is checked.
 */
import type {Environment} from '../../runtime/sdk/component.js';
import type {Authorization, AuthSession, Entity} from './auth-session.js';
import {refusal, successCode, TpmError} from './tpm-error.js';
import {TpmReader, TpmWriter} from './tpm-buffer.js';
import {headerLength, openTpmChannel, type TpmChannel} from './tpm-channel.js';

export type TpmEnvironment = Pick<Environment, 'randomBytes' | 'sleep'>;

/** TPM_ST_NO_SESSIONS and TPM_ST_SESSIONS. */
const plainTag = 0x8001;
const sessionsTag = 0x8002;

/** A busy TPM is asked again this often, after pauses that double: 20 ms at first, about 20 s in all. */
const attemptMax = 11;
const firstPauseMs = 20;

export interface TpmCommand {
	/** Name and code as in TPM 2.0 part 3. */
	readonly name: string;
	readonly code: number;
	readonly handles?: readonly Entity[];
	/** The first parameter's content, without its length, where it may be encrypted. It is wiped. */
	readonly secretParameter?: Buffer;
	/** All parameters, or those after `secretParameter`. */
	readonly parameters?: Uint8Array;
	readonly answersHandle?: boolean;
}

export interface TpmAnswer {
	/** 0 where the command answers with none. */
	readonly handle: number;
	readonly parameters: TpmReader;
}

const capabilityCommand = {name: 'GetCapability', code: 0x17a};
const flushCommand = {name: 'FlushContext', code: 0x165};
const handlesCapability = 1;
/** First handles of transient objects and of loaded sessions (TPM_HT_TRANSIENT, TPM_HT_LOADED_SESSION). */
const loadedHandleRanges = [0x8000_0000, 0x0200_0000];
const handleCountMax = 64;

export class Tpm {
	readonly env: TpmEnvironment;
	readonly #channel: TpmChannel;
	/** Objects and sessions that are in the TPM because of us. */
	readonly #loaded: number[] = [];
	readonly #sessions: AuthSession[] = [];

	private constructor(channel: TpmChannel, env: TpmEnvironment) {
		this.#channel = channel;
		this.env = env;
	}

	/** Runs `job` with the TPM at `path` and leaves nothing behind in it. @throws TpmError */
	static async use<T>(path: string, env: TpmEnvironment, job: (tpm: Tpm) => Promise<T>): Promise<T> {
		const channel = await openTpmChannel(path, env);
		const tpm = new Tpm(channel, env);
		try {
			if (channel.isUnmanaged) {
				await tpm.#flushLeftovers();
			}

			return await job(tpm);
		} finally {
			await tpm.#close();
		}
	}

	/** The session's key is wiped at the end. */
	noteSession(session: AuthSession): void {
		this.#sessions.push(session);
	}

	/** Drops one object or session before the end: a TPM has places for three of each. */
	async release(handle: number): Promise<void> {
		this.#loaded.splice(this.#loaded.indexOf(handle), 1);
		await this.#flush(handle);
	}

	/** @throws TpmError of the kind `refused` where the TPM did not carry out the command */
	async execute(command: TpmCommand, authorization?: Authorization): Promise<TpmAnswer> {
		const {name, handles = [], answersHandle = false} = command;
		const parameters = this.#parametersOf(command, authorization);
		const body = new TpmWriter();
		for (const {handle} of handles) {
			body.u32(handle);
		}

		if (authorization) {
			const entry = authorization.session.authorize(
				authorization,
				command.code,
				handles.map(entity => entity.name),
				parameters,
			);
			body.u32(entry.length).raw(entry);
		}

		const content = body.raw(parameters).bytes();
		const header = new TpmWriter()
			.u16(authorization ? sessionsTag : plainTag)
			.u32(headerLength + content.length)
			.u32(command.code);
		try {
			return this.#parse(
				await this.#transmit(name, header.raw(content).bytes()),
				command,
				answersHandle,
				authorization,
			);
		} catch (error) {
			throw error instanceof TpmError && error.kind === 'malformed'
				? new TpmError('malformed', `the TPM's answer to ${name} cannot be used: ${error.message}`)
				: error;
		}
	}

	#parametersOf(
		{secretParameter, parameters = Buffer.alloc(0)}: TpmCommand,
		authorization: Authorization | undefined,
	): Uint8Array {
		authorization?.session.prepare(authorization, secretParameter);
		if (!secretParameter) {
			return parameters;
		}

		const all = new TpmWriter().sized(secretParameter).raw(parameters).bytes();
		secretParameter.fill(0);
		return all;
	}

	/** The response to a command, asked for again while the TPM is busy; a refusal is an error. */
	async #transmit(name: string, command: Buffer): Promise<TpmReader> {
		for (let attempt = 1; ; attempt++) {
			const response = await this.#channel.transmit(command);
			const header = new TpmReader(response);
			const tag = header.u16();
			header.u32();
			const code = header.u32();
			if (code === successCode) {
				const expectedTag = command.readUInt16BE(0);
				if (tag !== expectedTag) {
					throw new TpmError(
						'malformed',
						`its tag is 0x${tag.toString(16)}, not 0x${expectedTag.toString(16)}`,
					);
				}

				return header;
			}

			const error = refusal(name, code);
			if (!error.is('retry', 'yielded', 'testing', 'nv_rate') || attempt === attemptMax) {
				throw error;
			}

			await this.env.sleep(firstPauseMs * 2 ** (attempt - 1));
		}
	}

	#parse(
		response: TpmReader,
		{code}: TpmCommand,
		answersHandle: boolean,
		authorization: Authorization | undefined,
	): TpmAnswer {
		const handle = answersHandle ? response.u32() : 0;
		if (answersHandle) {
			this.#loaded.push(handle);
		}

		if (!authorization) {
			return {handle, parameters: response};
		}

		const parameters = response.raw(response.u32());
		authorization.session.check(authorization, code, parameters, response);
		const reader = new TpmReader(parameters);
		if (authorization.encryptResponse) {
			authorization.session.reveal(authorization, new TpmReader(parameters).sized());
		}

		return {handle, parameters: reader};
	}

	/** What a killed program left loaded would fill the few places that a TPM has. */
	async #flushLeftovers(): Promise<void> {
		for (const first of loadedHandleRanges) {
			const {parameters} = await this.execute({
				...capabilityCommand,
				parameters: new TpmWriter().u32(handlesCapability).u32(first).u32(handleCountMax).bytes(),
			});
			parameters.u8();
			parameters.u32();
			const count = parameters.u32();
			if (count > handleCountMax) {
				throw new TpmError(
					'malformed',
					`the TPM's answer to GetCapability cannot be used: it announces ${count} handles`,
				);
			}

			for (let i = 0; i < count; i++) {
				await this.#flush(parameters.u32());
			}
		}
	}

	async #flush(handle: number): Promise<void> {
		await this.execute({...flushCommand, parameters: new TpmWriter().u32(handle).bytes()});
	}

	async #close(): Promise<void> {
		for (const session of this.#sessions) {
			session.wipe();
		}

		try {
			for (const handle of this.#loaded.reverse()) {
				await this.#flush(handle);
			}
		} catch {
			// A TPM that does not answer any more keeps nothing that matters; the next connection flushes it.
		} finally {
			await this.#channel.close();
		}
	}
}
