/** What a request must satisfy before it reaches the device: checked once, here. */
import {commandFlags, commands, errorNumbers, type ErrorNumber} from './protocol.js';
import type {Agreement} from './handshake.js';
import type {Request} from './request.js';

/** Flags that a command may carry. */
function flagsAllowed(command: number, {structuredReplies}: Agreement): number {
	switch (command) {
		case commands.read: {
			return commandFlags.fua | (structuredReplies ? commandFlags.dontFragment : 0);
		}

		case commands.blockStatus: {
			return commandFlags.fua | commandFlags.requestOne;
		}

		default: {
			return commandFlags.fua;
		}
	}
}

function checkRange({command, offset, length}: Request, agreement: Agreement, byteLengthMax: number): ErrorNumber {
	if (offset + length > agreement.export.byteLength) {
		return command === commands.write ? errorNumbers.noSpace : errorNumbers.invalid;
	}

	return length > byteLengthMax ? errorNumbers.invalid : errorNumbers.none;
}

/** The error with which to answer at once; `none` where the request can be served. */
export function checkRequest(request: Request, agreement: Agreement, byteLengthMax: number): ErrorNumber {
	if ((request.flags & ~flagsAllowed(request.command, agreement)) !== 0) {
		return errorNumbers.invalid;
	}

	switch (request.command) {
		case commands.read: {
			return checkRange(request, agreement, byteLengthMax);
		}

		case commands.write: {
			return agreement.export.readOnly ? errorNumbers.notPermitted : checkRange(request, agreement, byteLengthMax);
		}

		case commands.flush: {
			return request.offset === 0 && request.length === 0 ? errorNumbers.none : errorNumbers.invalid;
		}

		case commands.blockStatus: {
			const asked = agreement.allocationContext && request.length > 0;
			return asked ? checkRange(request, agreement, Infinity) : errorNumbers.invalid;
		}

		default: {
			return errorNumbers.invalid;
		}
	}
}
