/** Looks for secrets in the whole memory of a process, as somebody would who can read it. */
import {closeSync, openSync, readFileSync, readSync} from 'node:fs';
import {setImmediate as nextTurn} from 'node:timers/promises';

/** What is read at once. */
const chunkLength = 16 * 2 ** 20;

export interface Secret {
	readonly name: string;
	readonly bytes: Buffer;
}

export interface Found {
	readonly name: string;
	/** The mapping in which it lies, as the kernel lists it. */
	readonly mapping: string;
	readonly address: number;
}

export interface Scan {
	readonly found: readonly Found[];
	readonly scannedBytes: number;
}

/** A text as programs keep it: in UTF-8 or Latin-1, and as JavaScript's strings of two bytes a character. */
export function textSecret(name: string, text: string): Secret[] {
	return [
		{name, bytes: Buffer.from(text)},
		{name: `${name} (two bytes a character)`, bytes: Buffer.from(text, 'utf16le')},
	];
}

/** A key as it is, and as text. */
export function keySecret(name: string, key: Uint8Array): Secret[] {
	const bytes = Buffer.from(key);
	return [
		{name, bytes},
		...textSecret(`${name} in hexadecimal`, bytes.toString('hex')),
		...textSecret(`${name} in Base64`, bytes.toString('base64').replace(/=+$/, '')),
	];
}

/** Everything readable of a process, its threads' stacks and heaps included. What the test does goes on meanwhile. */
export async function scanMemory(pid: number, secrets: readonly Secret[]): Promise<Scan> {
	const overlap = Math.max(...secrets.map(({bytes}) => bytes.length)) - 1;
	const chunk = Buffer.alloc(chunkLength + overlap);
	const found: Found[] = [];
	let scannedBytes = 0;
	const memory = openSync(`/proc/${pid}/mem`, 'r');
	try {
		for (const mapping of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
			const [, first, last, rights] = /^([\da-f]+)-([\da-f]+) (\S+)/.exec(mapping) ?? [];
			if (!rights?.startsWith('r') || /\[(?:vvar|vsyscall|vvar_vclock)\]/.test(mapping)) {
				continue;
			}

			const end = parseInt(last, 16);
			for (let at = parseInt(first, 16); at < end; at += chunkLength) {
				await nextTurn();
				const length = readPiece(memory, chunk, at, Math.min(chunk.length, end - at));
				scannedBytes += Math.min(length, chunkLength);
				for (const {name, bytes} of secrets) {
					const place = chunk.subarray(0, length).indexOf(bytes);
					if (place !== -1) {
						found.push({name, mapping, address: at + place});
					}
				}
			}
		}
	} finally {
		closeSync(memory);
		chunk.fill(0);
	}

	return {found, scannedBytes};
}

/** Mappings may go while they are read. */
function readPiece(memory: number, chunk: Buffer, position: number, length: number): number {
	let read = 0;
	try {
		while (read < length) {
			const more = readSync(memory, chunk, read, length - read, position + read);
			if (more === 0) {
				break;
			}

			read += more;
		}
	} catch {
		return read;
	}

	return read;
}
