/** What goes wrong between this program and a TPM, and the response codes that mean something here. */

export type TpmErrorKind =
	/** Nobody answers at the path, or the connection ended. */
	| 'unreachable'
	/** What came back is no answer of a TPM to the command that was sent, or was altered on its way. */
	| 'malformed'
	/** The TPM answered with a response code. */
	| 'refused';

export class TpmError extends Error {
	override readonly name = 'TpmError';

	constructor(
		readonly kind: TpmErrorKind,
		message: string,
		readonly code = 0,
	) {
		super(message);
	}

	/** True where the TPM refused the command for one of these reasons. */
	is(...reasons: ResponseReason[]): boolean {
		return this.kind === 'refused' && reasons.some(reason => responseReasons[reason] === baseCode(this.code));
	}
}

export const successCode = 0;

/**
 * TPM 2.0 part 2, section 6.6.3. Codes of format 1 stand here without the handle, session or parameter they are about.
 */
const responseReasons = {
	bad_auth: 0x0a2,
	auth_fail: 0x08e,
	policy_fail: 0x09d,
	handle: 0x08b,
	value: 0x084,
	integrity: 0x09f,
	auth_unavailable: 0x12f,
	hierarchy: 0x085,
	pcr_changed: 0x128,
	nv_defined: 0x14c,
	nv_uninitialized: 0x14a,
	nv_space: 0x14b,
	initialize: 0x100,
	lockout: 0x921,
	nv_rate: 0x920,
	retry: 0x922,
	yielded: 0x908,
	testing: 0x90a,
} as const;

export type ResponseReason = keyof typeof responseReasons;

/** Bit 7 marks format 1, where bits 6 and 8 to 11 tell what the code is about. */
function baseCode(code: number): number {
	return code & 0x080 ? code & 0x0bf : code;
}

const hints: Partial<Record<ResponseReason, string>> = {
	auth_unavailable: 'the TPM does not allow this authorization',
	hierarchy: "the TPM's owner hierarchy is disabled; enable it in the firmware's settings",
	nv_space: 'the TPM has no room left for another NV index; remove one that is not used any more',
	initialize: 'the TPM has not been started; its firmware or its emulator has to do that',
	lockout: 'the TPM is locked out after too many wrong passwords; wait, or reset the lockout',
	nv_rate: 'the TPM limits how often its memory is written',
};

/** The error for a command that the TPM did not carry out. */
export function refusal(command: string, code: number): TpmError {
	const reason = (Object.keys(responseReasons) as ResponseReason[]).find(
		name => responseReasons[name] === baseCode(code),
	);
	const name = reason ? `, ${hints[reason] ?? reason.replaceAll('_', ' ')}` : '';
	return new TpmError('refused', `the TPM refused ${command} (response code 0x${code.toString(16)}${name})`, code);
}
