/** The last line of a tool that could not do its job because of what it found, not because of a bug. */
import type {ToolResult} from '../../../runtime/sdk/component.js';
import {isSessionError} from '../../../runtime/sdk/session.js';
import {ContainerError} from '../format/superblock-search.js';

/**
 * Runs a tool's job; expected failures become its result, bugs stay exceptions. `serverExitValue` where a server
 * failed: a medium, a host without room, an anchor that is locked; nothing is said about the container by that.
 */
export async function reportFailure(job: () => Promise<ToolResult>, serverExitValue = -1): Promise<ToolResult> {
	try {
		return await job();
	} catch (error) {
		if (error instanceof ContainerError || isSessionError(error)) {
			return {
				exitValue: isSessionError(error) && error.code !== 'integrity' ? serverExitValue : -1,
				message: error.message,
			};
		}

		throw error;
	}
}
