/**
 * TLS for clients that ask for it by NBD_OPT_STARTTLS: with pre-shared keys (RFC 4279), or with certificates. Files are
 * read at the start, and those with secrets must be their owner's alone.
 */
import fs from 'node:fs';
import type {Socket} from 'node:net';
import {dirname, join} from 'node:path';
import tls from 'node:tls';
import {StartError, type Environment, type Obstacle, type PreflightContext} from '../../runtime/sdk/component.js';
import {whyUnreadable} from '../../runtime/sdk/host-path.js';
import type {TlsClient} from './attach-hint.js';

export interface TlsConfig {
	readonly psk?: string | undefined;
	readonly certificate?: string | undefined;
	readonly key?: string | undefined;
	readonly client_ca?: string | undefined;
}

/** A client behind TLS. */
export interface SecuredClient {
	readonly socket: tls.TLSSocket;
	/** Name of its pre-shared key, or common name of its certificate; undefined where clients need no certificate. */
	readonly identity: string | undefined;
}

/** Pre-shared keys by the client's name. */
type PskTable = ReadonlyMap<string, Buffer>;

/** With ephemeral Diffie-Hellman first: a key that is stolen later does not open what was recorded before. */
const pskCiphers =
	'ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES256-GCM-SHA384:DHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES256-CBC-SHA384:PSK-AES256-GCM-SHA384';

/** Shortest pre-shared key, in bytes. */
const pskLengthMin = 16;

function readSecret(path: string): Buffer {
	const {mode} = fs.statSync(path);
	if ((mode & 0o077) !== 0) {
		throw new StartError(`${path} can be read by others (mode ${(mode & 0o777).toString(8)}); chmod 600 it`);
	}

	return fs.readFileSync(path);
}

/** Lines `NAME:HEX`, as GnuTLS's psktool makes them; `#` begins a comment. */
function parsePskFile(path: string, text: string): PskTable {
	const keys = new Map<string, Buffer>();
	for (const [i, line] of text.split('\n').entries()) {
		if (line.trim() === '' || line.startsWith('#')) {
			continue;
		}

		const [, name, hex] = /^([^:]+):((?:[\da-f]{2})+)\s*$/i.exec(line) ?? [];
		if (name === undefined || hex.length < 2 * pskLengthMin) {
			throw new StartError(
				`${path}, line ${i + 1}: NAME:KEY is required, the key in at least ${2 * pskLengthMin} hexadecimal digits; psktool makes such files`,
			);
		}

		if (keys.has(name)) {
			throw new StartError(`${path}, line ${i + 1}: "${name}" has a key already`);
		}

		keys.set(name, Buffer.from(hex, 'hex'));
	}

	if (keys.size === 0) {
		throw new StartError(`${path} has no key; "psktool -u NAME -p ${path}" adds one`);
	}

	return keys;
}

const remedies = {
	psk: 'correct the path, or make the file: "psktool -u NAME -p FILE", then chmod 600',
	certificate: 'correct the path, or make the certificate; the README of nbd says how',
	key: 'correct the path, or make the key; the README of nbd says how',
	client_ca: 'correct the path, or make the certificate; the README of nbd says how',
} as const;

/** What keeps TLS from being served: files that are missing, open to others, or not what they should be. */
export function tlsObstacles(config: TlsConfig, context: Pick<PreflightContext, 'resolvePath'>): Obstacle[] {
	const missing = (['psk', 'certificate', 'key', 'client_ca'] as const).flatMap(name => {
		const path = config[name] === undefined ? undefined : context.resolvePath(config[name]);
		const reason = path === undefined ? undefined : whyUnreadable(path);
		return reason === undefined
			? []
			: [{at: [name], what: `the file ${path} cannot be read: ${reason}`, remedy: remedies[name]}];
	});
	if (missing.length > 0) {
		return missing;
	}

	try {
		TlsServer.read(config, context);
		return [];
	} catch (error) {
		const [what, remedy = 'mend the file'] = (error as Error).message.split(/; (?!.*; )/);
		return [{what, remedy}];
	}
}

export class TlsServer {
	readonly #options: tls.TlsOptions;
	readonly #keys: PskTable | undefined;
	/** Of the keys, or of the certificate. */
	readonly #path: string;

	private constructor(options: tls.TlsOptions, path: string, keys?: PskTable) {
		this.#options = options;
		this.#path = path;
		this.#keys = keys;
	}

	/** What a client on this machine says, as one of `names` where there are any. */
	clientFor(names: readonly string[]): Pick<TlsClient, 'psk' | 'certificates'> {
		const known = [...(this.#keys?.keys() ?? [])];
		const name = names.find(candidate => known.includes(candidate)) ?? known.at(0);
		if (name !== undefined) {
			return {psk: {name, path: this.#path}};
		}

		const folder = dirname(this.#path);
		return {certificates: fs.existsSync(join(folder, 'ca-cert.pem')) ? folder : undefined};
	}

	/** @throws StartError where a file is missing, open to others, or not what it should be */
	static read(
		{psk, certificate, key, client_ca: clientCa}: TlsConfig,
		env: Pick<Environment, 'resolvePath'>,
	): TlsServer {
		try {
			if (psk !== undefined) {
				const path = env.resolvePath(psk);
				return new TlsServer({}, path, parsePskFile(path, readSecret(path).toString('latin1')));
			}

			const options: tls.TlsOptions = {
				cert: fs.readFileSync(env.resolvePath(certificate ?? '')),
				key: readSecret(env.resolvePath(key ?? '')),
				...(clientCa !== undefined && {
					ca: fs.readFileSync(env.resolvePath(clientCa)),
					requestCert: true,
					rejectUnauthorized: true,
				}),
			};
			// Fails here and not with the first client.
			tls.createSecureContext(options);
			return new TlsServer(options, env.resolvePath(certificate ?? ''));
		} catch (error) {
			throw error instanceof StartError
				? error
				: new StartError(`TLS: ${error instanceof Error ? error.message : String(error)}`);
		}
	}

	/** Takes the socket over. @throws Error where the client does not prove who it is */
	async accept(socket: Socket): Promise<SecuredClient> {
		let pskIdentity: string | undefined;
		const keys = this.#keys;
		const server = tls.createServer({
			...this.#options,
			allowHalfOpen: true,
			minVersion: 'TLSv1.2',
			...(keys && {
				// Node's callback for pre-shared keys belongs to TLS 1.2.
				maxVersion: 'TLSv1.2' as const,
				ciphers: pskCiphers,
				pskCallback(_socket: tls.TLSSocket, identity: string) {
					pskIdentity = identity;
					return keys.get(identity) ?? null;
				},
			}),
		});
		const secured = await new Promise<tls.TLSSocket>((resolve, reject) => {
			server.once('secureConnection', resolve);
			server.once('tlsClientError', reject);
			socket.once('close', () => {
				reject(new Error('the client left'));
			});
			server.emit('connection', socket);
		});
		return {
			socket: secured,
			identity: keys ? pskIdentity : this.#options.requestCert ? commonNameOf(secured) : undefined,
		};
	}
}

function commonNameOf(socket: tls.TLSSocket): string {
	const name: unknown = socket.getPeerCertificate().subject?.CN;
	return typeof name === 'string' ? name : '';
}
