/** Waits for several jobs that share memory or locks with their caller. */

/**
 * Resolves when all have succeeded. All run to their end before a failure is reported, the first one of the list:
 * nothing may go on afterwards.
 */
export async function allEnded(jobs: ReadonlyArray<Promise<unknown>>): Promise<void> {
	for (const result of await Promise.allSettled(jobs)) {
		if (result.status === 'rejected') {
			throw result.reason;
		}
	}
}
