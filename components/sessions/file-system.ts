/** A small tree of files for people and scripts that cannot mount it. Payload is short and travels in the messages. */
import {z} from 'zod';
import {defineSession, op} from '../../runtime/sdk/session.js';

const Path = z.string().max(4096);

/** Most bytes that one request reads or writes. */
export const transferByteLengthMax = 32 * 1024;

export const FileDescription = z.strictObject({
	name: z.string(),
	kind: z.enum(['directory', 'file']),
	/** Permission bits. */
	mode: z.number().int(),
	byteLength: z.number().int().nonnegative(),
	/** What is written to it is a secret: whoever shows or keeps what is written elsewhere must not here. */
	takesSecret: z.boolean(),
});

export type FileDescription = z.output<typeof FileDescription>;

const Base64 = z.string().max(Math.ceil(transferByteLengthMax / 3) * 4);
const Offset = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);

export const fileSystem = defineSession('file_system', {
	errors: [
		'not_found',
		'not_a_directory',
		'is_a_directory',
		/** The file cannot be used like that. */
		'not_permitted',
		/** What was written is not understood; the message says what would be. */
		'invalid',
		/** It cannot be done now. */
		'busy',
		'no_space',
		'failed',
	],
	ops: {
		describe: op({request: z.strictObject({path: Path}), reply: FileDescription}),
		/** The entries of a directory, in its own order. */
		list: op({request: z.strictObject({path: Path}), reply: z.strictObject({entries: z.array(FileDescription)})}),
		/** Fewer bytes than asked for mean the end of the file. */
		read: op({
			request: z.strictObject({path: Path, offset: Offset, length: z.number().int().positive().max(transferByteLengthMax)}),
			reply: z.strictObject({base64: Base64}),
		}),
		write: op({request: z.strictObject({path: Path, offset: Offset, base64: Base64})}),
		/** Once it replies, what was written to the file before is durable. */
		sync: op({request: z.strictObject({path: Path})}),
	},
});
