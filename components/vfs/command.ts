/** What users write into control files. */
import {FileError} from './errno.js';

function invalid(message: string): FileError {
	return new FileError('EINVAL', message);
}

/** A count or a generation: plain decimal digits. */
function wholeNumber(text: string, what: string): number {
	const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
	if (!Number.isSafeInteger(value)) {
		throw invalid(`"${text}" is no ${what}; write it in decimal digits`);
	}

	return value;
}

/** @throws FileError EINVAL unless the command is "true" */
export function parseTrigger(text: string): void {
	if (text !== 'true') {
		throw invalid(`"${text}" is not understood; write "true"`);
	}
}

/** Undefined where the text is a name. @throws FileError EINVAL */
export function parseGeneration(text: string): number | undefined {
	return /^\d*$/.test(text)
		? wholeNumber(text, 'snapshot; "ls snapshots" shows their numbers, and a number')
		: undefined;
}

/** @throws FileError EINVAL */
export function requireName(text: string): string {
	if (text === '') {
		throw invalid('nothing was written; write "true", or a name for the snapshot');
	}

	return text;
}

export interface Extension {
	readonly tree: 'vbd' | 'ft';
	readonly blockCount: number;
}

const extensionExample =
	'write "tree=vbd,blocks=65536" to add 65536 blocks of 4096 bytes to the device, or "tree=ft,blocks=16384" to add them to its pool of spare blocks';

/** @throws FileError EINVAL */
export function parseExtension(text: string): Extension {
	const values = new Map<string, string>();
	for (const part of text.split(',')) {
		const [, name, value] = /^\s*(tree|blocks)\s*=\s*(\S+)\s*$/.exec(part) ?? [];
		if (name === undefined || values.has(name)) {
			throw invalid(`"${text}" is not understood; ${extensionExample}`);
		}

		values.set(name, value);
	}

	const tree = values.get('tree');
	if (tree !== 'vbd' && tree !== 'ft') {
		throw invalid(`there is no tree "${tree ?? ''}"; ${extensionExample}`);
	}

	const blockCount = wholeNumber(values.get('blocks') ?? '', 'number of blocks');
	if (blockCount === 0) {
		throw invalid('an extension by 0 blocks changes nothing');
	}

	return {tree, blockCount};
}
