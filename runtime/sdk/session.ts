/**
 * Session contracts: the only language in which components talk to each other.
 *
 * A contract is a closed set of operations and error codes. The types of both ends, and the checks that both ends
 * make on receipt, come from the one zod schema of each operation.
 */
import {z} from 'zod';

/** Who writes the payload of a bulk field: `in` flows from client to server, `out` from server to client. */
export type BulkDirection = 'in' | 'out';

/** How one top-level field of a request or a reply carries payload that never passes the codec. */
export type BulkMark =
	/** One contiguous buffer. */
	| {readonly shape: 'buffer'; readonly direction: BulkDirection}
	/** A list of buffers, in order. */
	| {readonly shape: 'segments'; readonly direction: BulkDirection}
	/** Memory that the server shares with the client for the life of the session (replies only). */
	| {readonly shape: 'region'};

const bulkMarks = new WeakMap<z.ZodType, BulkMark>();

function marked<T extends z.ZodType>(schema: T, mark: BulkMark): T {
	bulkMarks.set(schema, mark);
	return schema;
}

/** A payload buffer of a request. With `out`, the server fills the client's buffer before it replies. */
export function bulk(direction: BulkDirection) {
	return marked(
		z.custom<Uint8Array>(value => value instanceof Uint8Array, 'a byte buffer is required'),
		{shape: 'buffer', direction},
	);
}

/** A list of payload buffers of a request, filled or read in order. */
export function segments(direction: BulkDirection) {
	return marked(
		z.custom<Uint8Array[]>(
			value => Array.isArray(value) && value.every(part => part instanceof Uint8Array),
			'a list of byte buffers is required',
		),
		{shape: 'segments', direction},
	);
}

/** Memory in a reply that stays shared between server and client. Works only where both ends share an address space. */
export function region() {
	return marked(
		z.custom<Uint8Array>(value => value instanceof Uint8Array, 'shared memory is required'),
		{shape: 'region'},
	);
}

/** A short byte string that travels inside the message (hashes, public keys); copied at both ends. */
export function bytes(length?: number) {
	return z.custom<Uint8Array>(
		value => value instanceof Uint8Array && (length === undefined || value.length === length),
		length === undefined ? 'bytes are required' : `${length} bytes are required`,
	);
}

function isVector(value: unknown, min: number): value is number[] {
	if (!Array.isArray(value)) {
		return false;
	}

	// Not `every`, which passes over holes.
	for (let i = 0; i < value.length; i++) {
		if (!(Number.isSafeInteger(value[i]) && value[i] >= min)) {
			return false;
		}
	}

	return true;
}

/**
 * A vector of integers from `min` to 2^53 - 1, each of which is checked. `Item` keeps vectors of different things
 * apart.
 */
export function vector<Item extends number = number>(min = 0) {
	return z.custom<Item[]>(value => isVector(value, min), `a list of integers from ${min} on is required`);
}

export interface BulkField {
	readonly name: string;
	readonly mark: BulkMark;
}

/** What is wrong with how the fields of a message fit each other; undefined where they do. */
type Fault = string | undefined;

export interface Operation<Request extends z.ZodType = z.ZodType, Reply extends z.ZodType = z.ZodType> {
	readonly request: Request;
	readonly reply: Reply;
	/** How the fields of a request that the schema has accepted do not fit each other. */
	requestFault(request: z.output<Request>): Fault;
	/** How a reply that the schema has accepted does not fit itself or its request. */
	replyFault(reply: z.output<Reply>, request: z.output<Request>): Fault;
	readonly requestBulk: readonly BulkField[];
	readonly replyBulk: readonly BulkField[];
}

const nothing = z.strictObject({});
type Nothing = typeof nothing;

function bulkFieldsOf(schema: z.ZodType): BulkField[] {
	if (!(schema instanceof z.ZodObject)) {
		return [];
	}

	const fields: BulkField[] = [];
	for (const [name, field] of Object.entries(schema.shape)) {
		const mark = bulkMarks.get(field as z.ZodType);
		if (mark) {
			fields.push({name, mark});
		}
	}

	return fields;
}

const fitting = (): Fault => undefined;

export interface OperationDeclaration<Request extends z.ZodType, Reply extends z.ZodType> {
	readonly request?: Request;
	readonly reply?: Reply;
	/**
	 * Relations between the fields of a request, beyond what a schema says of each: same lengths, payload that fits.
	 */
	readonly requestFault?: (request: z.output<Request>) => Fault;
	/** The same of a reply, and of a reply and its request. */
	readonly replyFault?: (reply: z.output<Reply>, request: z.output<Request>) => Fault;
}

/** Declares an operation. Bulk fields must stand at the top level of the request or reply object. */
export function op<Request extends z.ZodType = Nothing, Reply extends z.ZodType = Nothing>({
	request,
	reply,
	requestFault,
	replyFault,
}: OperationDeclaration<Request, Reply>): Operation<Request, Reply> {
	const requestSchema = request ?? nothing;
	const replySchema = reply ?? nothing;
	return {
		request: requestSchema as Request,
		reply: replySchema as Reply,
		requestFault: requestFault ?? fitting,
		replyFault: replyFault ?? fitting,
		requestBulk: bulkFieldsOf(requestSchema),
		replyBulk: bulkFieldsOf(replySchema),
	};
}

export type Operations = Readonly<Record<string, Operation>>;

export interface Session<
	Name extends string = string,
	ErrorCode extends string = string,
	Ops extends Operations = Operations,
> {
	/** The service's name, as deploy.xml writes it. */
	readonly name: Name;
	readonly errors: readonly ErrorCode[];
	readonly ops: Ops;
	/** Operation names in a fixed order: the position of a name is its number on the wire. */
	readonly opNames: readonly string[];
	/** True where some reply shares memory, so that both ends must live in one process. */
	readonly sharesMemory: boolean;
	/** True where every server answers alike, so that one can take the place of another under running clients. */
	readonly interchangeable: boolean;
	/** The code with which a request is refused whose fields do not fit each other. */
	readonly misfit: ErrorCode | 'bad_request';
}

export function defineSession<const Name extends string, const ErrorCode extends string, const Ops extends Operations>(
	name: Name,
	{
		errors,
		ops,
		interchangeable = false,
		misfit = 'bad_request',
	}: {errors: readonly ErrorCode[]; ops: Ops; interchangeable?: boolean; misfit?: NoInfer<ErrorCode> | 'bad_request'},
): Session<Name, ErrorCode, Ops> {
	return {
		name,
		errors,
		ops,
		interchangeable,
		misfit,
		opNames: Object.keys(ops),
		sharesMemory: Object.values(ops).some(operation => operation.replyBulk.length > 0),
	};
}

/** Error codes that every session can answer with, whatever its contract. */
export type TransportErrorCode =
	/** The server died and with it state that the client relied on; the client must start over. */
	| 'session_lost'
	/** The request did not fit the contract. */
	| 'bad_request';

export interface SessionErrorDetail {
	readonly [key: string]: string | number | boolean | undefined;
}

/** The one error type that crosses a session. `detail` holds plain values for logs and for the client's decisions. */
export class SessionError<Code extends string = string> extends Error {
	override readonly name = 'SessionError';

	constructor(
		readonly code: Code | TransportErrorCode,
		message: string,
		readonly detail: SessionErrorDetail = {},
	) {
		super(message);
	}
}

export function isSessionError(error: unknown): error is SessionError {
	return error instanceof SessionError;
}

export type RequestOf<O extends Operation> = z.input<O['request']>;
export type ReplyOf<O extends Operation> = z.output<O['reply']>;

/** What a component calls: one async function per operation. */
export type Client<S extends Session> = {
	readonly [K in keyof S['ops']]: (request: RequestOf<S['ops'][K]>) => Promise<ReplyOf<S['ops'][K]>>;
};

/** The client at the other end of a request. */
export interface ClientContext {
	/** A number that no other session to this server instance has, and that a reconnected client does not get again. */
	readonly session: number;
	/**
	 * Who it is to the server: the label that deploy.xml gives the route (`<child label>`), else the client's own name
	 * there.
	 */
	readonly client: string;
}

/**
 * What a component provides: one function per operation. Anything thrown that is no SessionError kills the component.
 */
export type Handlers<S extends Session> = {
	readonly [K in keyof S['ops']]: (
		request: z.output<S['ops'][K]['request']>,
		context: ClientContext,
	) => Promise<z.input<S['ops'][K]['reply']>> | z.input<S['ops'][K]['reply']>;
};
