/**
 * Words that only this project had for things that have a name in the field. They are retired: neither code nor
 * documents use them again. What a word of the field would have to be explained by stays, and stands in
 * docs/glossary.md.
 */

/** Retired as the whole name of a class, type, function or variable; as English words they are free. */
export const retiredNames: Readonly<Record<string, string>> = {
	Turn: 'Mutex',
	Gate: 'ReadWriteLock',
	Finding: 'PoolSlots',
	Securing: 'Checkpoint',
	Outlook: 'PreflightContext',
	Surroundings: 'LoadContext',
	Restraint: 'Sandbox',
	LoadingTurns: 'LoadLimiter',
	ThreadTerms: 'ThreadSettings',
	SpreadWork: 'ParallelWork',
	WorkSheet: 'JobTable',
	SpareRoom: 'Discarder',
	EmptiedRoom: 'EmptiedLeaves',
	Reclaiming: 'Reclaimer',
	HostRoom: 'SpaceReservation',
	KeyWay: 'KeyDelivery',
	ChangeGround: 'ChangeHost',
	Untold: 'WithoutProvider',
	Meddling: 'Overrides',
	dieOf: 'failWith',
	obey: 'handle',
	hear: 'receive',
	tell: 'send or notify',
};

/**
 * Retired everywhere, also in comments, documents, names of files and as a part of longer names; alone and as many.
 */
export const retiredWords: Readonly<Record<string, string>> = {
	securing: 'checkpoint',
	roster: 'table of children',
	inquiries: 'requests to hosts',
	contingent: 'bump allocator',
	lookout: 'poller',
	foresight: 'preflight',
	'spare-room': 'discarder',
	'host-room': 'space reservation',
};

/** Every use of a retired name in the text of a module, comments left out, as `line: name`. */
export function retiredNamesIn(code: string): string[] {
	const names = new RegExp(`(?<![\\w$])#?(${Object.keys(retiredNames).join('|')})(?![\\w$])`, 'g');
	return usesOf(
		code.replaceAll(/(['"`])(?:\\.|(?!\1)[^\\])*\1/g, text => text.replaceAll(/\S/g, ' ')),
		names,
	);
}

/** Every use of a retired word in a text, as `line: word`. */
export function retiredWordsIn(text: string): string[] {
	const forms = Object.keys(retiredWords).flatMap(word => [
		`(?<![A-Za-z])${word}`,
		word[0].toUpperCase() + word.slice(1),
	]);
	return usesOf(text, new RegExp(`(${forms.join('|')})s?(?![a-z])`, 'g'));
}

function usesOf(text: string, pattern: RegExp): string[] {
	return text.split('\n').flatMap((line, i) => [...line.matchAll(pattern)].map(([, word]) => `${i + 1}: ${word}`));
}
