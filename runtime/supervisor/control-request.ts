/**
 * Requests to a running runtime over `runtime.sock`: one JSON object a line, answered by one JSON object a line. A line
 * with `payload` is followed by so many bytes, which are the field `data` of its request or result.
 */
import {join} from 'node:path';
import {z} from 'zod';

/** Most bytes that follow a line: 1 MiB. */
export const payloadByteLengthMax = 2 ** 20;

export const ControlRequest = z.discriminatedUnion('op', [
	z.strictObject({op: z.literal('status')}),
	/** Ends a child's thread as a fault would; answered when the child is up again. */
	z.strictObject({op: z.literal('restart'), name: z.string()}),
	/** A request to a service: of the child named, or of the first one that provides it. */
	z.strictObject({
		op: z.literal('call'),
		service: z.string(),
		operation: z.string(),
		request: z.record(z.string(), z.unknown()).default({}),
		child: z.string().optional(),
		/** Bytes that follow the line and are the request's `data`. */
		payload: z.number().int().nonnegative().max(payloadByteLengthMax).optional(),
		/** True where the result's `data` shall follow the line of the reply. */
		raw: z.boolean().optional(),
	}),
	/** What applying a deployment file would do; the one that runs unless `file` is given, an absolute path. */
	z.strictObject({op: z.literal('diff'), file: z.string().optional()}),
	/** Reads the deployment file and applies what was edited; answered when that is over. */
	z.strictObject({op: z.literal('apply')}),
	/** Stops everything in order; answered with an `EndReport` when all of it has stopped. */
	z.strictObject({op: z.literal('stop')}),
	/** How far the end is; answered with an `EndStage`, or null where nobody has asked for the end. */
	z.strictObject({op: z.literal('ending')}),
]);

export type ControlRequest = z.input<typeof ControlRequest>;

export const ControlReply = z.union([
	z.strictObject({
		ok: z.literal(true),
		result: z.unknown(),
		payload: z.number().int().nonnegative().max(payloadByteLengthMax).optional(),
	}),
	z.strictObject({ok: z.literal(false), code: z.string(), message: z.string()}),
]);

/** How everything stopped. */
export interface EndReport {
	readonly exitCode: number;
	/** What went wrong meanwhile, a line each. */
	readonly problems: readonly string[];
}

export type ControlReply = z.output<typeof ControlReply>;

/** Bytes of one request line. */
export const controlLineMax = 65_536;

export const controlSocketName = 'runtime.sock';

export function controlSocketPath(stateDirectory: string): string {
	return join(stateDirectory, controlSocketName);
}
