/** The newstyle fixed handshake: from the greeting to the export that the client chose. */
import type {Socket} from 'node:net';
import {isSessionError} from '../../runtime/sdk/session.js';
import {blockSize} from '../sessions/block.js';
import type {ByteSource} from './byte-source.js';
import type {Exports} from './client-access.js';
import type {Export} from './export-list.js';
import {optionCountMax, optionLengthMax, optionSkipMax} from './client-limits.js';
import {readInfoRequest, readMetaContextRequest} from './option-reader.js';
import {
	allocationContext,
	handshakeFlags,
	handshakeMagic,
	infoTypes,
	optionMagic,
	optionReplies,
	optionReplyMagic,
	optionTypes,
	stringLengthMax,
	transmissionFlags,
} from './protocol.js';

/** What both ends agreed on. */
export interface Agreement {
	readonly export: Export;
	readonly structuredReplies: boolean;
	/** Headers have lengths of 64 bits, and every reply is a structured one. */
	readonly extendedHeaders: boolean;
	/** The client may ask which parts are allocated. */
	readonly allocationContext: boolean;
}

export interface HandshakeOptions {
	readonly source: ByteSource;
	readonly socket: Socket;
	readonly exports: Exports;
	/**
	 * `offered`: the client may begin TLS; `required`: it must, before anything else; `none`: it has begun, or there is
	 * none.
	 */
	readonly tls: 'none' | 'offered' | 'required';
	/** The greeting has been exchanged before TLS began; the client wanted no zeroes. */
	readonly greeted?: {readonly noZeroes: boolean} | undefined;
	/** Bytes of the largest request, for the client to know. */
	readonly requestByteLengthMax: number;
}

/** What became of one option. */
type Outcome = 'next' | 'close' | 'start_tls' | Agreement;

function uint16(value: number): Buffer {
	const bytes = Buffer.alloc(2);
	bytes.writeUInt16BE(value);
	return bytes;
}

function uint32(value: number): Buffer {
	const bytes = Buffer.alloc(4);
	bytes.writeUInt32BE(value);
	return bytes;
}

function uint64(value: number): Buffer {
	return Buffer.concat([uint32(Math.floor(value / 2 ** 32)), uint32(value % 2 ** 32)]);
}

export class Handshake {
	readonly #options: HandshakeOptions;
	#noZeroes = false;
	#structuredReplies = false;
	#extendedHeaders = false;
	/** Name of the export for which the client chose the allocation context. */
	#contextExport: string | undefined;

	constructor(options: HandshakeOptions) {
		this.#options = options;
		this.#noZeroes = options.greeted?.noZeroes ?? false;
	}

	get noZeroes(): boolean {
		return this.#noZeroes;
	}

	/** Undefined where the client left, asked to end, or did not speak the protocol. */
	async run(): Promise<Agreement | 'start_tls' | undefined> {
		if (!this.#options.greeted && !(await this.#greet())) {
			return undefined;
		}

		for (let i = 0; i < optionCountMax; i++) {
			const outcome = await this.#answerOption();
			if (outcome === 'close') {
				return undefined;
			}

			if (outcome !== 'next') {
				return outcome;
			}
		}

		return undefined;
	}

	async #greet(): Promise<boolean> {
		await this.#send(handshakeMagic, uint16(handshakeFlags.fixedNewstyle | handshakeFlags.noZeroes));
		const flags = (await this.#options.source.take(4))?.readUInt32BE();
		if (flags === undefined || (flags & ~(handshakeFlags.fixedNewstyle | handshakeFlags.noZeroes)) !== 0) {
			return false;
		}

		this.#noZeroes = (flags & handshakeFlags.noZeroes) !== 0;
		return true;
	}

	async #answerOption(): Promise<Outcome> {
		const {source} = this.#options;
		const header = await source.take(16);
		if (!header?.subarray(0, 8).equals(optionMagic)) {
			return 'close';
		}

		const type = header.readUInt32BE(8);
		const length = header.readUInt32BE(12);
		if (length > optionLengthMax) {
			return this.#refuseLong(type, length);
		}

		const data = await source.take(length);
		return data ? this.#answer(type, data) : 'close';
	}

	async #refuseLong(type: number, length: number): Promise<Outcome> {
		if (type === optionTypes.exportName || length > optionSkipMax || !(await this.#options.source.skip(length))) {
			return 'close';
		}

		return this.#reply(type, optionReplies.tooBig);
	}

	async #answer(type: number, data: Buffer): Promise<Outcome> {
		try {
			return await this.#answerKnown(type, data);
		} catch (error) {
			if (!isSessionError(error)) {
				throw error;
			}

			// EXPORT_NAME has no reply that could say so.
			if (type === optionTypes.exportName) {
				return 'close';
			}

			return error.code === 'locked'
				? this.#reply(type, optionReplies.policy, Buffer.from(error.message))
				: this.#reply(type, optionReplies.shutdown, Buffer.from('the device is not available'));
		}
	}

	async #answerKnown(type: number, data: Buffer): Promise<Outcome> {
		if (this.#options.tls === 'required' && type !== optionTypes.startTls && type !== optionTypes.abort) {
			return type === optionTypes.exportName
				? 'close'
				: this.#reply(type, optionReplies.tlsRequired, Buffer.from('this server requires TLS'));
		}

		switch (type) {
			case optionTypes.exportName: {
				return this.#exportName(data);
			}

			case optionTypes.abort: {
				await this.#reply(type, optionReplies.ack);
				return 'close';
			}

			case optionTypes.startTls: {
				return this.#startTls(data);
			}

			case optionTypes.list: {
				return this.#list(data);
			}

			case optionTypes.info:
			case optionTypes.go: {
				return this.#info(type, data);
			}

			case optionTypes.structuredReply: {
				return this.#structuredReply(data);
			}

			case optionTypes.extendedHeaders: {
				return this.#extend(data);
			}

			case optionTypes.listMetaContext:
			case optionTypes.setMetaContext: {
				return this.#metaContext(type, data);
			}

			default: {
				return this.#reply(type, optionReplies.unsupported);
			}
		}
	}

	/** What was agreed on in clear counts for nothing behind TLS. */
	async #startTls(data: Buffer): Promise<Outcome> {
		if (this.#options.tls === 'none') {
			return this.#reply(optionTypes.startTls, optionReplies.unsupported);
		}

		if (data.length > 0) {
			return this.#reply(optionTypes.startTls, optionReplies.invalid);
		}

		await this.#reply(optionTypes.startTls, optionReplies.ack);
		return 'start_tls';
	}

	async #exportName(data: Buffer): Promise<Outcome> {
		const found =
			data.length > stringLengthMax ? undefined : await this.#options.exports.find(data.toString('utf8'));
		if (!found) {
			return 'close';
		}

		await this.#send(
			uint64(found.byteLength),
			uint16(this.#flagsOf(found)),
			Buffer.alloc(this.#noZeroes ? 0 : 124),
		);
		return this.#agree(found, data.toString('utf8'));
	}

	async #list(data: Buffer): Promise<Outcome> {
		if (data.length > 0) {
			return this.#reply(optionTypes.list, optionReplies.invalid);
		}

		for (const {name, description} of await this.#options.exports.list()) {
			const nameBytes = Buffer.from(name);
			await this.#reply(
				optionTypes.list,
				optionReplies.server,
				uint32(nameBytes.length),
				nameBytes,
				Buffer.from(description),
			);
		}

		return this.#reply(optionTypes.list, optionReplies.ack);
	}

	async #info(type: number, data: Buffer): Promise<Outcome> {
		const request = readInfoRequest(data);
		if (!request) {
			return this.#reply(type, optionReplies.invalid);
		}

		const found = await this.#options.exports.find(request.name);
		if (!found) {
			return this.#reply(type, optionReplies.unknownExport, Buffer.from('there is no export of this name'));
		}

		await this.#describe(type, found, request.kinds);
		await this.#reply(type, optionReplies.ack);
		return type === optionTypes.go ? this.#agree(found, request.name) : 'next';
	}

	async #describe(type: number, found: Export, kinds: readonly number[]): Promise<void> {
		const inform = async (kind: number, ...parts: Buffer[]) =>
			this.#reply(type, optionReplies.info, uint16(kind), ...parts);
		await inform(infoTypes.export, uint64(found.byteLength), uint16(this.#flagsOf(found)));
		await inform(infoTypes.blockSize, uint32(1), uint32(blockSize), uint32(this.#options.requestByteLengthMax));
		if (kinds.includes(infoTypes.name)) {
			await inform(infoTypes.name, Buffer.from(found.name));
		}

		if (kinds.includes(infoTypes.description)) {
			await inform(infoTypes.description, Buffer.from(found.description));
		}
	}

	async #structuredReply(data: Buffer): Promise<Outcome> {
		if (data.length > 0) {
			return this.#reply(optionTypes.structuredReply, optionReplies.invalid);
		}

		if (this.#extendedHeaders) {
			return this.#reply(
				optionTypes.structuredReply,
				optionReplies.extendedHeadersRequired,
				Buffer.from('extended headers have been agreed on'),
			);
		}

		this.#structuredReplies = true;
		return this.#reply(optionTypes.structuredReply, optionReplies.ack);
	}

	/** Extended headers bring structured replies with them. */
	async #extend(data: Buffer): Promise<Outcome> {
		if (data.length > 0 || this.#extendedHeaders) {
			return this.#reply(optionTypes.extendedHeaders, optionReplies.invalid);
		}

		this.#structuredReplies = true;
		this.#extendedHeaders = true;
		return this.#reply(optionTypes.extendedHeaders, optionReplies.ack);
	}

	async #metaContext(type: number, data: Buffer): Promise<Outcome> {
		const setting = type === optionTypes.setMetaContext;
		if (setting) {
			this.#contextExport = undefined;
		}

		const request = readMetaContextRequest(data);
		if (!request || (setting && !this.#structuredReplies)) {
			return this.#reply(type, optionReplies.invalid);
		}

		if (!(await this.#options.exports.find(request.name))) {
			return this.#reply(type, optionReplies.unknownExport);
		}

		const {queries} = request;
		const listed = !setting && (queries.length === 0 || queries.includes('base:'));
		if (listed || queries.includes(allocationContext.name)) {
			await this.#reply(
				type,
				optionReplies.metaContext,
				uint32(setting ? allocationContext.id : 0),
				Buffer.from(allocationContext.name),
			);
			this.#contextExport = setting ? request.name : this.#contextExport;
		}

		return this.#reply(type, optionReplies.ack);
	}

	#agree(found: Export, name: string): Agreement {
		return {
			export: found,
			structuredReplies: this.#structuredReplies,
			extendedHeaders: this.#extendedHeaders,
			allocationContext: this.#contextExport === name,
		};
	}

	/** A flush reaches everything that any connection wrote, so clients may use several at once. */
	#flagsOf({readOnly}: Export): number {
		return (
			transmissionFlags.hasFlags |
			transmissionFlags.sendFlush |
			transmissionFlags.sendFua |
			transmissionFlags.canMultiConnect |
			transmissionFlags.sendCache |
			(this.#structuredReplies ? transmissionFlags.sendDontFragment : 0) |
			(readOnly
				? transmissionFlags.readOnly
				: transmissionFlags.sendTrim | transmissionFlags.sendWriteZeroes | transmissionFlags.sendFastZero)
		);
	}

	async #reply(option: number, type: number, ...parts: Buffer[]): Promise<'next'> {
		const data = Buffer.concat(parts);
		await this.#send(optionReplyMagic, uint32(option), uint32(type), uint32(data.length), data);
		return 'next';
	}

	/** Waits until the client has taken it: one that asks without reading gets no second answer. */
	async #send(...parts: Buffer[]): Promise<void> {
		await new Promise<void>(resolve => {
			// A broken connection shows at the next read.
			this.#options.socket.write(Buffer.concat(parts), () => {
				resolve();
			});
		});
	}
}
