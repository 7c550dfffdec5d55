/** What tells whether files have been written since: their identity, size and times, without reading them. */
import {stat} from 'node:fs/promises';

async function signatureOf(file: string): Promise<string> {
	try {
		const {dev, ino, size, mtimeNs, ctimeNs} = await stat(file, {bigint: true});
		return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
	} catch (error) {
		return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
	}
}

/** One signature for each file: it differs whenever the file was replaced, written in place, made or removed. */
export async function fileSignatures(files: readonly string[]): Promise<Map<string, string>> {
	return new Map(
		await Promise.all(files.map(async (file): Promise<[string, string]> => [file, await signatureOf(file)])),
	);
}
