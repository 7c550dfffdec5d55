/** A client of the NBD protocol that says exactly what a test tells it to, right or wrong. */
import {once} from 'node:events';
import net from 'node:net';
import tls from 'node:tls';

export interface Option {
	readonly type: number;
	readonly data?: Buffer;
}

export interface OptionReply {
	readonly option: number;
	readonly type: number;
	readonly data: Buffer;
}

export interface WireRequest {
	readonly command: number;
	readonly flags?: number;
	readonly cookie?: number;
	readonly offset?: number;
	readonly length?: number;
	readonly payload?: Buffer;
	readonly magic?: number;
}

export interface Chunk {
	readonly type: number;
	readonly done: boolean;
	readonly cookie: number;
	/** Where the request began, as extended headers say it. */
	readonly offset?: number | undefined;
	readonly data: Buffer;
}

export function uint16(...values: number[]): Buffer {
	const bytes = Buffer.alloc(values.length * 2);
	values.forEach((value, index) => bytes.writeUInt16BE(value, index * 2));
	return bytes;
}

export function uint32(...values: number[]): Buffer {
	const bytes = Buffer.alloc(values.length * 4);
	values.forEach((value, index) => bytes.writeUInt32BE(value, index * 4));
	return bytes;
}

export function uint64(value: number): Buffer {
	return uint32(Math.floor(value / 2 ** 32), value % 2 ** 32);
}

/** A string with its length in front. */
export function lengthAndText(text: string): Buffer {
	return Buffer.concat([uint32(Buffer.byteLength(text)), Buffer.from(text)]);
}

/** Data of INFO and GO. */
export function infoRequest(name: string, ...kinds: number[]): Buffer {
	return Buffer.concat([lengthAndText(name), uint16(kinds.length, ...kinds)]);
}

/** A request with a length of 64 bits, for connections with extended headers. */
export function encodeExtendedRequest({
	command,
	flags = 0,
	cookie = 0,
	offset = 0,
	length = 0,
	payload,
}: WireRequest): Buffer {
	const cookieAndPlace = [uint64(cookie), uint64(offset), uint64(payload?.length ?? length)];
	return Buffer.concat([uint32(0x21e4_1c71), uint16(flags, command), ...cookieAndPlace, payload ?? Buffer.alloc(0)]);
}

export function encodeRequest({
	command,
	flags = 0,
	cookie = 0,
	offset = 0,
	length = 0,
	payload,
	magic = 0x2560_9513,
}: WireRequest): Buffer {
	const cookieAndPlace = [uint64(cookie), uint64(offset), uint32(payload?.length ?? length)];
	return Buffer.concat([uint32(magic), uint16(flags, command), ...cookieAndPlace, payload ?? Buffer.alloc(0)]);
}

export class NbdPeer {
	readonly socket: net.Socket;
	#chunks: Buffer[] = [];
	#byteLength = 0;
	#ended = false;
	#extended = false;
	#wake: () => void = () => undefined;

	private constructor(socket: net.Socket) {
		this.socket = socket;
		socket.on('data', chunk => {
			this.#chunks.push(chunk);
			this.#byteLength += chunk.length;
			this.#wake();
		});
		socket.on('error', () => undefined);
		socket.on('close', () => {
			this.#ended = true;
			this.#wake();
		});
		socket.on('end', () => {
			this.#ended = true;
			this.#wake();
		});
	}

	/** @param place a path, or a port of 127.0.0.1 */
	static async connect(place: string | number): Promise<NbdPeer> {
		const socket = typeof place === 'string' ? net.connect(place) : net.connect(place, '127.0.0.1');
		await once(socket, 'connect');
		return new NbdPeer(socket);
	}

	/** Begins TLS with a pre-shared key, after the greeting, and goes on behind it. */
	async startTls(identity: string, psk: Buffer): Promise<NbdPeer> {
		await this.option({type: 5});
		this.socket.removeAllListeners('data');
		const ciphers = 'ECDHE-PSK-CHACHA20-POLY1305';
		const socket = tls.connect({
			socket: this.socket,
			ciphers,
			maxVersion: 'TLSv1.2',
			checkServerIdentity: () => undefined,
			pskCallback: () => ({psk, identity}),
		});
		await once(socket, 'secureConnect');
		return new NbdPeer(socket);
	}

	send(...parts: Buffer[]): void {
		this.socket.write(Buffer.concat(parts));
	}

	/** Exactly `length` bytes. @throws Error where the server ends before */
	async take(length: number): Promise<Buffer> {
		while (this.#byteLength < length) {
			if (this.#ended) {
				throw new Error(`the server closed after ${this.#byteLength} of ${length} bytes`);
			}

			await this.#change();
		}

		const received = this.#joined();
		this.#chunks = [received.subarray(length)];
		this.#byteLength -= length;
		return received.subarray(0, length);
	}

	/** Waits for the server to close, and gives what it sent before. */
	async closed(): Promise<Buffer> {
		while (!this.#ended) {
			await this.#change();
		}

		return this.#joined();
	}

	/** Reads the greeting and answers with `flags`. */
	async greet(flags = 3): Promise<Buffer> {
		const greeting = await this.take(18);
		this.send(uint32(flags));
		return greeting;
	}

	sendOption({type, data = Buffer.alloc(0)}: Option): void {
		this.send(Buffer.from('IHAVEOPT'), uint32(type, data.length), data);
	}

	/** Sends an option and reads replies up to the one that ends it: an acknowledgement or an error. */
	async option(option: Option): Promise<OptionReply[]> {
		this.sendOption(option);
		const replies: OptionReply[] = [];
		for (;;) {
			const reply = await this.optionReply();
			replies.push(reply);
			if (reply.type === 1 || reply.type > 0x7fff_ffff) {
				return replies;
			}
		}
	}

	async optionReply(): Promise<OptionReply> {
		const header = await this.take(20);
		if (header.toString('hex', 0, 8) !== '0003e889045565a9') {
			throw new Error('no option reply');
		}

		return {
			option: header.readUInt32BE(8),
			type: header.readUInt32BE(12),
			data: await this.take(header.readUInt32BE(16)),
		};
	}

	/** From the greeting into the transmission phase; the size and flags of the export. */
	async attach({name = '', structured = true, context = false, extended = false, greeted = false} = {}): Promise<{
		byteLength: number;
		flags: number;
	}> {
		if (!greeted) {
			await this.greet();
		}

		if (extended) {
			await this.option({type: 11});
			this.#extended = true;
		} else if (structured) {
			await this.option({type: 8});
		}

		if (context) {
			await this.option({
				type: 10,
				data: Buffer.concat([lengthAndText(name), uint32(1), lengthAndText('base:allocation')]),
			});
		}

		const replies = await this.option({type: 7, data: infoRequest(name)});
		const info = replies.find(({type, data}) => type === 3 && data.readUInt16BE(0) === 0);
		if (!info) {
			throw new Error(`the export "${name}" was refused`);
		}

		return {
			byteLength: info.data.readUInt32BE(2) * 2 ** 32 + info.data.readUInt32BE(6),
			flags: info.data.readUInt16BE(10),
		};
	}

	request(request: WireRequest): void {
		this.send(this.#extended ? encodeExtendedRequest(request) : encodeRequest(request));
	}

	/** A simple reply's error and cookie. */
	async simpleReply(): Promise<{error: number; cookie: number}> {
		const header = await this.take(16);
		if (header.readUInt32BE(0) !== 0x6744_6698) {
			throw new Error('no simple reply');
		}

		return {error: header.readUInt32BE(4), cookie: header.readUInt32BE(12)};
	}

	/** A structured reply, up to its last chunk. */
	async chunks(): Promise<Chunk[]> {
		const chunks: Chunk[] = [];
		for (;;) {
			const header = await this.take(this.#extended ? 32 : 20);
			if (header.readUInt32BE(0) !== (this.#extended ? 0x6e8a_278c : 0x668e_33ef)) {
				throw new Error('no structured reply');
			}

			const done = (header.readUInt16BE(4) & 1) !== 0;
			const offset = this.#extended ? header.readUInt32BE(16) * 2 ** 32 + header.readUInt32BE(20) : undefined;
			const data = await this.take(header.readUInt32BE(this.#extended ? 28 : 16));
			chunks.push({type: header.readUInt16BE(6), done, cookie: header.readUInt32BE(12), offset, data});
			if (done) {
				return chunks;
			}
		}
	}

	/** Reads bytes of the export over structured replies. @throws Error with the number of an error reply */
	async read(offset: number, length: number, flags = 0): Promise<Buffer> {
		this.request({command: 0, offset, length, flags});
		const result = Buffer.alloc(length, 0xee);
		for (const {type, data} of await this.chunks()) {
			if (type === 0x8001) {
				throw new Error(`read error ${data.readUInt32BE(0)}`);
			}

			const start = type === 1 || type === 2 ? data.readUInt32BE(0) * 2 ** 32 + data.readUInt32BE(4) - offset : 0;
			if (type === 1) {
				data.copy(result, start, 8);
			}

			if (type === 2) {
				result.fill(0, start, start + data.readUInt32BE(8));
			}
		}

		return result;
	}

	/** Writes and gives the error of the reply, 0 for none. */
	async write(offset: number, payload: Buffer, flags = 0): Promise<number> {
		this.request({command: 1, offset, payload, flags});
		return this.#extended ? this.chunkError() : (await this.simpleReply()).error;
	}

	/** The error of a structured reply, 0 for none. */
	async chunkError(): Promise<number> {
		const failed = (await this.chunks()).find(({type}) => type === 0x8001);
		return failed?.data.readUInt32BE(0) ?? 0;
	}

	/** Joined only where somebody takes bytes: joining with each arrival would copy large replies again and again. */
	#joined(): Buffer {
		return this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks);
	}

	async #change(): Promise<void> {
		await new Promise<void>(resolve => {
			this.#wake = resolve;
		});
	}
}
