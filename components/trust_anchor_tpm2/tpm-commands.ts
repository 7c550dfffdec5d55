/** The TPM commands that the anchor needs (TPM 2.0 part 3), as functions of domain values. */
import {createECDH, createHash, type ECDH} from 'node:crypto';
import {AuthSession, nonceLength, permanentEntity, type Authorization, type Entity} from './auth-session.js';
import {freshBytes, type Entropy} from './fresh-bytes.js';
import {deriveByKdfa, deriveByKdfe} from './key-derivation.js';
import {TpmError} from './tpm-error.js';
import {TpmReader, TpmWriter} from './tpm-buffer.js';
import type {Tpm} from './tpm.js';

const sha256Algorithm = 0x000b;
const eccAlgorithm = 0x0023;
const keyedHashAlgorithm = 0x0008;
const aesAlgorithm = 0x0006;
const cfbMode = 0x0043;
const nullAlgorithm = 0x0010;
const curveP256 = 0x0003;
const aesKeyBits = 128;
const coordinateLength = 32;
const curve = 'prime256v1';

/** TPMA_OBJECT. */
const fixedTpm = 0x2;
const fixedParent = 0x10;
const sensitiveDataOrigin = 0x20;
const userWithAuth = 0x40;
const noDictionaryAttackProtection = 0x400;
const restricted = 0x1_0000;
const decrypt = 0x2_0000;

/** TPM_RH_OWNER. */
export const ownerHierarchy = permanentEntity(0x4000_0001);
const nullHandle = permanentEntity(0x4000_0007);

/** TPM_SE_HMAC, TPM_SE_POLICY and TPM_SE_TRIAL. */
const sessionTypes = {hmac: 0, policy: 1, trial: 3} as const;

/** The name of an object or an NV index: the hash of its public area, after the hash's algorithm. */
export function nameOf(publicArea: Uint8Array): Buffer {
	return Buffer.concat([
		new TpmWriter().u16(sha256Algorithm).bytes(),
		createHash('sha256').update(publicArea).digest(),
	]);
}

/** A storage key in the TPM, and what a session needs to be salted for it. */
export interface StorageKey extends Entity {
	/** Coordinates of its public point. */
	readonly x: Buffer;
	readonly y: Buffer;
}

/**
 * The storage root key that the TCG's provisioning guidance describes (ECC P-256): the same for the same owner seed.
 */
function storageKeyTemplate(): Buffer {
	return new TpmWriter()
		.u16(eccAlgorithm)
		.u16(sha256Algorithm)
		.u32(
			fixedTpm |
				fixedParent |
				sensitiveDataOrigin |
				userWithAuth |
				noDictionaryAttackProtection |
				restricted |
				decrypt,
		)
		.sized(Buffer.alloc(0))
		.u16(aesAlgorithm)
		.u16(aesKeyBits)
		.u16(cfbMode)
		.u16(nullAlgorithm)
		.u16(curveP256)
		.u16(nullAlgorithm)
		.sized(Buffer.alloc(coordinateLength))
		.sized(Buffer.alloc(coordinateLength))
		.bytes();
}

/** Makes the storage root key from the owner's seed. */
export async function createPrimary(tpm: Tpm, owner: Authorization): Promise<StorageKey> {
	const template = storageKeyTemplate();
	const {handle, parameters} = await tpm.execute(
		{
			name: 'CreatePrimary',
			code: 0x131,
			handles: [ownerHierarchy],
			answersHandle: true,
			secretParameter: new TpmWriter().sized(Buffer.alloc(0)).sized(Buffer.alloc(0)).bytes(),
			parameters: new TpmWriter().sized(template).sized(Buffer.alloc(0)).u32(0).bytes(),
		},
		owner,
	);
	const publicArea = parameters.sized();
	const unique = new TpmReader(publicArea);
	// Everything before the point is as the template says, or it is not the key that was asked for.
	const fixedLength = template.length - 2 * (2 + coordinateLength);
	if (!unique.raw(fixedLength).equals(template.subarray(0, fixedLength))) {
		throw new TpmError('malformed', 'the TPM made another key than the one that was asked for');
	}

	const x = padded(unique.sized());
	const y = padded(unique.sized());
	unique.end();
	return {handle, name: nameOf(publicArea), x, y};
}

/** A coordinate in full length; TPMs may leave out zeros at its beginning. */
function padded(coordinate: Buffer): Buffer {
	if (coordinate.length > coordinateLength) {
		throw new TpmError('malformed', `a coordinate of ${coordinate.length} bytes is none of this curve`);
	}

	return Buffer.concat([Buffer.alloc(coordinateLength - coordinate.length), coordinate]);
}

export type SessionKind = keyof typeof sessionTypes;

export interface SessionOptions {
	readonly kind: SessionKind;
	/**
	 * The key for which the session's salt is encrypted; without one the session is only as secret as the authorization
	 * value.
	 */
	readonly saltKey?: StorageKey;
	/** The policy demands the authorization value. */
	readonly policyProvesAuthValue?: boolean;
}

/** A key pair whose private half comes from the environment, and is wiped with the salt. */
function ephemeralKey(env: Entropy): ECDH {
	const pair = createECDH(curve);
	for (;;) {
		const secret = freshBytes(env, coordinateLength);
		try {
			pair.setPrivateKey(secret);
			return pair;
		} catch {
			// One in 2^32 numbers is no private key of the curve.
		} finally {
			secret.fill(0);
		}
	}
}

/** A salt that only the holder of the key can know (part 1, annex C.6.1): as it is sent, and itself. */
function makeSalt({x, y}: StorageKey, env: Entropy): {encrypted: Buffer; salt: Buffer} {
	const pair = ephemeralKey(env);
	const point = pair.getPublicKey();
	const [ownX, ownY] = [point.subarray(1, 1 + coordinateLength), point.subarray(1 + coordinateLength)];
	let shared;
	try {
		shared = pair.computeSecret(Buffer.concat([Buffer.of(4), x, y]));
	} catch {
		throw new TpmError('malformed', "the TPM's storage key is no point of its curve");
	}

	try {
		return {
			encrypted: new TpmWriter().sized(ownX).sized(ownY).bytes(),
			salt: deriveByKdfe(shared, 'SECRET', ownX, x),
		};
	} finally {
		shared.fill(0);
	}
}

async function startSession(
	tpm: Tpm,
	{kind, saltKey, policyProvesAuthValue = false}: SessionOptions,
): Promise<AuthSession> {
	const nonceCaller = freshBytes(tpm.env, nonceLength);
	const salted = saltKey ? makeSalt(saltKey, tpm.env) : undefined;
	try {
		const {handle, parameters} = await tpm.execute({
			name: 'StartAuthSession',
			code: 0x176,
			handles: [saltKey ?? nullHandle, nullHandle],
			answersHandle: true,
			parameters: new TpmWriter()
				.sized(nonceCaller)
				.sized(salted?.encrypted ?? Buffer.alloc(0))
				.u8(sessionTypes[kind])
				.u16(aesAlgorithm)
				.u16(aesKeyBits)
				.u16(cfbMode)
				.u16(sha256Algorithm)
				.bytes(),
		});
		const nonceTpm = Buffer.from(parameters.sized());
		parameters.end();
		const session = new AuthSession(
			handle,
			{
				sessionKey: salted
					? deriveByKdfa(salted.salt, 'ATH', nonceTpm, nonceCaller, nonceLength)
					: Buffer.alloc(0),
				nonceTpm,
				provesAuthValue: kind === 'hmac' || policyProvesAuthValue,
			},
			tpm.env,
		);
		tpm.noteSession(session);
		return session;
	} finally {
		salted?.salt.fill(0);
	}
}

/** Runs `job` with a session of its own. After a failure the session stays until the connection ends. */
export async function withSession<T>(
	tpm: Tpm,
	options: SessionOptions,
	job: (session: AuthSession) => Promise<T>,
): Promise<T> {
	const session = await startSession(tpm, options);
	const result = await job(session);
	await tpm.release(session.handle);
	return result;
}

function sessionHandle(session: AuthSession): Entity {
	return permanentEntity(session.handle);
}

/** TPML_PCR_SELECTION of one bank. */
function pcrSelection(pcrs: readonly number[]): Buffer {
	const bits = Buffer.alloc(3);
	for (const pcr of pcrs) {
		bits[pcr >> 3] |= 1 << (pcr & 7);
	}

	return new TpmWriter().u32(1).u16(sha256Algorithm).u8(bits.length).raw(bits).bytes();
}

/** Binds the session to the present values of the PCRs. */
export async function policyPcr(tpm: Tpm, session: AuthSession, pcrs: readonly number[]): Promise<void> {
	await tpm.execute({
		name: 'PolicyPCR',
		code: 0x17f,
		handles: [sessionHandle(session)],
		parameters: new TpmWriter().sized(Buffer.alloc(0)).raw(pcrSelection(pcrs)).bytes(),
	});
}

/** Has the session demand proof that the authorization value is known, without sending it. */
export async function policyAuthValue(tpm: Tpm, session: AuthSession): Promise<void> {
	await tpm.execute({name: 'PolicyAuthValue', code: 0x16b, handles: [sessionHandle(session)]});
}

export async function policyGetDigest(tpm: Tpm, session: AuthSession): Promise<Buffer> {
	const {parameters} = await tpm.execute({name: 'PolicyGetDigest', code: 0x189, handles: [sessionHandle(session)]});
	return Buffer.from(parameters.sized());
}

/** The value of one PCR of the SHA-256 bank, undefined where the TPM has none of that number there. */
export async function readPcr(tpm: Tpm, pcr: number): Promise<Buffer | undefined> {
	const {parameters} = await tpm.execute({name: 'PCR_Read', code: 0x17e, parameters: pcrSelection([pcr])});
	parameters.u32();
	const selectionCount = parameters.u32();
	for (let i = 0; i < selectionCount; i++) {
		parameters.u16();
		parameters.raw(parameters.u8());
	}

	return parameters.u32() === 1 ? Buffer.from(parameters.sized()) : undefined;
}

/** A sealed object as it is kept outside of the TPM: of use with the TPM and the parent that made it only. */
export interface SealedObject {
	readonly publicArea: Buffer;
	readonly privateArea: Buffer;
}

export interface SealRequest {
	/** The caller wipes both. */
	readonly secret: Uint8Array;
	readonly authValue: Uint8Array;
	readonly policyDigest: Uint8Array;
}

/** Seals a secret below `parent`; it crosses the bus encrypted. */
export async function createSealed(
	tpm: Tpm,
	parent: StorageKey,
	session: AuthSession,
	{secret, authValue, policyDigest}: SealRequest,
): Promise<SealedObject> {
	const template = new TpmWriter()
		.u16(keyedHashAlgorithm)
		.u16(sha256Algorithm)
		.u32(fixedTpm | fixedParent | noDictionaryAttackProtection)
		.sized(policyDigest)
		.u16(nullAlgorithm)
		.sized(Buffer.alloc(0))
		.bytes();
	const {parameters} = await tpm.execute(
		{
			name: 'Create',
			code: 0x153,
			handles: [parent],
			secretParameter: new TpmWriter().sized(authValue).sized(secret).bytes(),
			parameters: new TpmWriter().sized(template).sized(Buffer.alloc(0)).u32(0).bytes(),
		},
		{session, encryptCommand: true},
	);
	const privateArea = Buffer.from(parameters.sized());
	return {privateArea, publicArea: Buffer.from(parameters.sized())};
}

export async function loadSealed(
	tpm: Tpm,
	parent: StorageKey,
	session: AuthSession,
	{publicArea, privateArea}: SealedObject,
): Promise<Entity> {
	const {handle, parameters} = await tpm.execute(
		{
			name: 'Load',
			code: 0x157,
			handles: [parent],
			answersHandle: true,
			parameters: new TpmWriter().sized(privateArea).sized(publicArea).bytes(),
		},
		{session},
	);
	const name = Buffer.from(parameters.sized());
	if (!name.equals(nameOf(publicArea))) {
		throw new TpmError('malformed', 'the TPM loaded another object than the one it was given');
	}

	return {handle, name};
}

/** The sealed secret, which crosses the bus encrypted. The caller wipes it. */
export async function unseal(tpm: Tpm, object: Entity, session: AuthSession, authValue: Uint8Array): Promise<Buffer> {
	const {parameters} = await tpm.execute(
		{name: 'Unseal', code: 0x15e, handles: [object]},
		{session, authValue, encryptResponse: true},
	);
	const sealed = parameters.sized();
	const secret = Buffer.from(sealed);
	sealed.fill(0);
	return secret;
}
