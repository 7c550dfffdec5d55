/** How the command ends. */
export const exitCode = {
	ok: 0,
	/** Something that ran failed. */
	failed: 1,
	/** The command line or a deployment file is wrong; nothing was started and nothing was written. */
	usage: 2,
} as const;
