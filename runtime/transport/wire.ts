/** How the fields of requests and replies stand in a message: by position, payload as (arena, offset, length). */
import {z} from 'zod';
import type {BulkField, BulkMark, Operation, Session} from '../sdk/session.js';
import type {PayloadLink} from './session-port.js';
import {shapeCheck, type ShapeCheck} from './shape-check.js';

export interface WireField {
	readonly name: string;
	readonly mark: BulkMark | undefined;
}

export interface WireOperation {
	readonly index: number;
	/** For messages: `block.read`. */
	readonly title: string;
	readonly request: z.ZodType;
	readonly reply: z.ZodType;
	/** Accept what the schemas accept unchanged, where they accept it at once; see `shapeCheck`. */
	readonly isRequest: ShapeCheck;
	readonly isReply: ShapeCheck;
	/** How the fields of an accepted message do not fit each other; undefined where they do. */
	readonly requestFault: Operation['requestFault'];
	readonly replyFault: Operation['replyFault'];
	/** The code for a request with such a fault. */
	readonly misfit: string;
	readonly requestFields: readonly WireField[];
	readonly replyFields: readonly WireField[];
	/** The payload among `requestFields`. */
	readonly requestBulk: readonly BulkField[];
}

type Message = Record<string, unknown>;

/** What a reply is. */
export const answered = 0;
export const refused = 1;

function fieldsOf(schema: z.ZodType, bulk: readonly BulkField[], title: string): WireField[] {
	if (!(schema instanceof z.ZodObject)) {
		throw new TypeError(`${title}: requests and replies are objects`);
	}

	return Object.keys(schema.shape).map(name => ({name, mark: bulk.find(field => field.name === name)?.mark}));
}

const neverAtOnce: ShapeCheck = () => false;

const layouts = new WeakMap<Session, readonly WireOperation[]>();

/** The operations of a session in wire order. */
export function wireOperations(session: Session): readonly WireOperation[] {
	let operations = layouts.get(session);
	if (!operations) {
		operations = session.opNames.map((name, index) => {
			const {request, reply, requestBulk, replyBulk, requestFault, replyFault} = session.ops[name];
			const title = `${session.name}.${name}`;
			return {
				index,
				title,
				request,
				reply,
				requestBulk,
				requestFault,
				replyFault,
				misfit: session.misfit,
				isRequest: shapeCheck(request) ?? neverAtOnce,
				isReply: shapeCheck(reply) ?? neverAtOnce,
				requestFields: fieldsOf(request, requestBulk, title),
				replyFields: fieldsOf(reply, replyBulk, title),
			};
		});
		layouts.set(session, operations);
	}

	return operations;
}

/** Puts the fields of a message in order; payload must lie in arenas. */
export function toWire(fields: readonly WireField[], message: Message, link: PayloadLink): unknown[] {
	const values: unknown[] = [];
	for (const {name, mark} of fields) {
		const value = message[name];
		if (!mark) {
			values.push(value);
		} else if (mark.shape === 'segments') {
			const places: number[] = [];
			for (const part of value as Uint8Array[]) {
				places.push(link.show(part, mark.direction), part.byteOffset, part.length);
			}

			values.push(places);
		} else {
			const part = value as Uint8Array;
			values.push(
				link.show(part, mark.shape === 'region' ? 'out' : mark.direction),
				part.byteOffset,
				part.length,
			);
		}
	}

	return values;
}

function segmentsAt(places: readonly number[], link: PayloadLink): Buffer[] {
	const parts: Buffer[] = [];
	for (let at = 0; at < places.length; at += 3) {
		parts.push(link.view(places[at], places[at + 1], places[at + 2]));
	}

	return parts;
}

/** The inverse of `toWire`; the result has not been checked against its schema yet. */
export function fromWire(fields: readonly WireField[], values: readonly unknown[], link: PayloadLink): Message {
	const message: Message = {};
	let at = 0;
	for (const {name, mark} of fields) {
		if (!mark) {
			const value = values[at++];
			if (value !== undefined) {
				message[name] = value;
			}
		} else if (mark.shape === 'segments') {
			message[name] = segmentsAt(values[at++] as number[], link);
		} else {
			message[name] = link.view(values[at] as number, values[at + 1] as number, values[at + 2] as number);
			at += 3;
		}
	}

	return message;
}

/** Bytes of payload that a request carries. */
export function payloadLength(bulk: readonly BulkField[], message: Message): number {
	let length = 0;
	for (const {name, mark} of bulk) {
		if (mark.shape === 'segments') {
			for (const part of message[name] as Uint8Array[]) {
				length += part.length;
			}
		} else {
			length += (message[name] as Uint8Array).length;
		}
	}

	return length;
}
