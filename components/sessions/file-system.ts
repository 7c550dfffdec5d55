/** A small tree of files for people and scripts that cannot mount it. Payload travels in the messages. */
import {z} from 'zod';
import {bytes, defineSession, op} from '../../runtime/sdk/session.js';

const Path = z.string().max(4096);

/** Most bytes that one request reads or writes: 1 MiB. */
export const transferByteLengthMax = 2 ** 20;

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

const Content = bytes().refine(
	({length}) => length <= transferByteLengthMax,
	`at most ${transferByteLengthMax} bytes go with one request`,
);
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
		/**
		 * Fewer bytes than asked for mean the end of the file. They come in `into` where the caller brings memory of
		 * that length.
		 */
		read: op({
			request: z.strictObject({
				path: Path,
				offset: Offset,
				length: z.number().int().positive().max(transferByteLengthMax),
				into: Content.optional(),
			}),
			reply: z.strictObject({data: Content}),
		}),
		write: op({request: z.strictObject({path: Path, offset: Offset, data: Content})}),
		/** Once it replies, what was written to the file before is durable. */
		sync: op({request: z.strictObject({path: Path})}),
	},
});
