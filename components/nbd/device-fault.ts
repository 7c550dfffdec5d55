/** Failures of the device, in the numbers of the protocol. */
import type {SessionError} from '../../runtime/sdk/session.js';
import {errorNumbers, type ErrorNumber} from './protocol.js';

const numbersOfCodes: Readonly<Record<string, ErrorNumber>> = {
	no_space: errorNumbers.noSpace,
	out_of_range: errorNumbers.invalid,
	read_only: errorNumbers.notPermitted,
	locked: errorNumbers.notPermitted,
	session_lost: errorNumbers.shutdown,
	unknown_snapshot: errorNumbers.shutdown,
};

export function errorNumberOf({code}: SessionError): ErrorNumber {
	return numbersOfCodes[code] ?? errorNumbers.inputOutput;
}
