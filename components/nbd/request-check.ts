/** What a request must satisfy before it reaches the device: checked once, here. */
import {commandFlags, commands, errorNumbers, type ErrorNumber} from './protocol.js';
import type {Agreement} from './handshake.js';
import type {Request} from './request.js';

/** Flags that a command may carry. */
function flagsAllowed(command: number, {structuredReplies, extendedHeaders}: Agreement): number {
	switch (command) {
		case commands.read: {
			return commandFlags.fua | (structuredReplies ? commandFlags.dontFragment : 0);
		}

		case commands.write: {
			return commandFlags.fua | (extendedHeaders ? commandFlags.payloadLength : 0);
		}

		case commands.blockStatus: {
			return commandFlags.fua | commandFlags.requestOne;
		}

		case commands.writeZeroes: {
			return commandFlags.fua | commandFlags.noHole | commandFlags.fastZero;
		}

		default: {
			return commandFlags.fua;
		}
	}
}

function checkRange({command, offset, length}: Request, agreement: Agreement, byteLengthMax: number): ErrorNumber {
	if (offset + length > agreement.export.byteLength) {
		return command === commands.write || command === commands.writeZeroes
			? errorNumbers.noSpace
			: errorNumbers.invalid;
	}

	return length > byteLengthMax ? errorNumbers.invalid : errorNumbers.none;
}

/** Zeroes that must take room are written like any data: that is not faster than a write. */
function checkZeroes(request: Request, agreement: Agreement): ErrorNumber {
	const asksTooMuch = (request.flags & commandFlags.fastZero) !== 0 && (request.flags & commandFlags.noHole) !== 0;
	const error = checkRange(request, agreement, Infinity);
	return error === errorNumbers.none && asksTooMuch ? errorNumbers.notSupported : error;
}

/** True where payload follows the header, also of a request that is refused. */
export function carriesPayload({command, flags}: Request, {extendedHeaders}: Agreement): boolean {
	return command === commands.write || (extendedHeaders && (flags & commandFlags.payloadLength) !== 0);
}

/** The error with which to answer at once; `none` where the request can be served. */
export function checkRequest(request: Request, agreement: Agreement, byteLengthMax: number): ErrorNumber {
	if ((request.flags & ~flagsAllowed(request.command, agreement)) !== 0) {
		return errorNumbers.invalid;
	}

	switch (request.command) {
		case commands.read:
		case commands.cache: {
			return checkRange(request, agreement, byteLengthMax);
		}

		case commands.write: {
			return agreement.export.readOnly
				? errorNumbers.notPermitted
				: checkRange(request, agreement, byteLengthMax);
		}

		case commands.trim: {
			return agreement.export.readOnly ? errorNumbers.notPermitted : checkRange(request, agreement, Infinity);
		}

		case commands.writeZeroes: {
			return agreement.export.readOnly ? errorNumbers.notPermitted : checkZeroes(request, agreement);
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
