/**
 * One NV index of the TPM: a few bytes that only who knows its authorization value reads or writes, and that nobody
 * puts back. Its name covers its attributes, so an index of the same number that somebody else defined does not pass
 * for it.
 */
import {type AuthSession, type Authorization, type Entity} from './auth-session.js';
import {nameOf, ownerHierarchy, withSession} from './tpm-commands.js';
import {TpmError} from './tpm-error.js';
import {TpmWriter} from './tpm-buffer.js';
import type {Tpm} from './tpm.js';

const sha256Algorithm = 0x000b;

/** TPMA_NV: read and written with its own authorization value; wrong values do not count towards a lockout. */
const authWrite = 0x4;
const authRead = 0x4_0000;
const noDictionaryAttackProtection = 0x200_0000;
const written = 0x2000_0000;
const attributes = authWrite | authRead | noDictionaryAttackProtection;

/** The owner's indices (TCG registry of reserved handles); their other bits are drawn at random. */
const firstHandle = 0x0180_0000;
const handleCount = 0x40_0000;

export interface NvArea {
	readonly handle: number;
	readonly byteLength: number;
	/** 32 random-looking bytes: the sessions below are as secret as it is. */
	readonly authValue: Uint8Array;
}

export type NvState =
	/** There is no index of this number. */
	| 'missing'
	/** It is ours, and nothing has been written to it since it was defined. */
	| 'unwritten'
	/** It is ours and holds something. */
	| 'written'
	/** Somebody else defined it. */
	| 'foreign';

function publicAreaOf({handle, byteLength}: NvArea, isWritten: boolean): Buffer {
	return new TpmWriter()
		.u32(handle)
		.u16(sha256Algorithm)
		.u32(attributes | (isWritten ? written : 0))
		.sized(Buffer.alloc(0))
		.u16(byteLength)
		.bytes();
}

function entityOf(area: NvArea, isWritten: boolean): Entity {
	return {handle: area.handle, name: nameOf(publicAreaOf(area, isWritten))};
}

/** The public area of an index as the TPM tells it to everybody; undefined where there is none. */
async function readPublic(tpm: Tpm, handle: number): Promise<Buffer | undefined> {
	try {
		const {parameters} = await tpm.execute({
			name: 'NV_ReadPublic',
			code: 0x169,
			handles: [{handle, name: Buffer.alloc(0)}],
		});
		return Buffer.from(parameters.sized());
	} catch (error) {
		if (error instanceof TpmError && error.is('handle', 'value')) {
			return undefined;
		}

		throw error;
	}
}

/** A handle that no index has yet. */
export async function freeNvHandle(tpm: Tpm): Promise<number> {
	for (;;) {
		const drawn = tpm.env.randomBytes(4);
		const handle = firstHandle + (Buffer.from(drawn).readUInt32BE() % handleCount);
		drawn.fill(0);
		if ((await readPublic(tpm, handle)) === undefined) {
			return handle;
		}
	}
}

/** True for the handles that `freeNvHandle` gives. */
export function isUsableNvHandle(handle: number): boolean {
	return handle >= firstHandle && handle < firstHandle + handleCount;
}

/** Makes the index. Its authorization value crosses the bus encrypted, as `owner` is a salted session. */
export async function defineNv(tpm: Tpm, owner: Authorization, area: NvArea): Promise<void> {
	await tpm.execute(
		{
			name: 'NV_DefineSpace',
			code: 0x12a,
			handles: [ownerHierarchy],
			secretParameter: Buffer.from(area.authValue),
			parameters: new TpmWriter().sized(publicAreaOf(area, false)).bytes(),
		},
		{...owner, encryptCommand: true},
	);
}

export async function undefineNv(tpm: Tpm, owner: Authorization, area: NvArea, isWritten: boolean): Promise<void> {
	await tpm.execute(
		{name: 'NV_UndefineSpace', code: 0x122, handles: [ownerHierarchy, entityOf(area, isWritten)]},
		owner,
	);
}

/** An index in use. The session needs no salt: the authorization value is as strong as a key. */
export class NvIndex {
	readonly #tpm: Tpm;
	readonly #area: NvArea;
	readonly #session: AuthSession;

	private constructor(tpm: Tpm, area: NvArea, session: AuthSession) {
		this.#tpm = tpm;
		this.#area = area;
		this.#session = session;
	}

	static async use<T>(tpm: Tpm, area: NvArea, job: (index: NvIndex) => Promise<T>): Promise<T> {
		return withSession(tpm, {kind: 'hmac'}, async session => job(new NvIndex(tpm, area, session)));
	}

	/** Whose the index is, proven by a read that only ours allows. */
	async state(): Promise<NvState> {
		const publicArea = await readPublic(this.#tpm, this.#area.handle);
		if (publicArea === undefined) {
			return 'missing';
		}

		const isWritten = publicArea.equals(publicAreaOf(this.#area, true));
		if (!isWritten && !publicArea.equals(publicAreaOf(this.#area, false))) {
			return 'foreign';
		}

		try {
			await this.#read(isWritten);
			return 'written';
		} catch (error) {
			if (!(error instanceof TpmError)) {
				throw error;
			}

			// The TPM looks at the authorization first.
			if (error.is('nv_uninitialized')) {
				return 'unwritten';
			}

			if (error.is('bad_auth', 'auth_fail')) {
				return 'foreign';
			}

			throw error;
		}
	}

	async read(): Promise<Buffer> {
		return this.#read(true);
	}

	async write(content: Uint8Array, isFirst = false): Promise<void> {
		const {byteLength, authValue} = this.#area;
		if (content.length !== byteLength) {
			throw new RangeError(`${content.length} bytes are no content of an index of ${byteLength}`);
		}

		const entity = entityOf(this.#area, !isFirst);
		await this.#tpm.execute(
			{
				name: 'NV_Write',
				code: 0x137,
				handles: [entity, entity],
				parameters: new TpmWriter().sized(content).u16(0).bytes(),
			},
			{session: this.#session, authValue},
		);
	}

	async #read(isWritten: boolean): Promise<Buffer> {
		const {byteLength, authValue} = this.#area;
		const entity = entityOf(this.#area, isWritten);
		const {parameters} = await this.#tpm.execute(
			{
				name: 'NV_Read',
				code: 0x14e,
				handles: [entity, entity],
				parameters: new TpmWriter().u16(byteLength).u16(0).bytes(),
			},
			{session: this.#session, authValue},
		);
		const content = Buffer.from(parameters.sized());
		if (content.length !== byteLength) {
			throw new TpmError('malformed', `the TPM gave ${content.length} bytes of an index of ${byteLength}`);
		}

		return content;
	}
}
