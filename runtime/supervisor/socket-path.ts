/** A path to a unix socket that the system takes, however deep the socket lies. */
import {closeSync, openSync} from 'node:fs';
import {join} from 'node:path';

/** Bytes of the longest path of a unix socket (sun_path without its final zero). */
const socketPathLengthMax = 107;

export interface SocketPath {
	readonly path: string;
	/** The path is good for nothing afterwards; a socket that was made or reached by it stays. */
	release(): void;
}

/**
 * Where the path itself is too long, it leads through an open descriptor of its folder. @throws Error where that cannot
 * be opened
 */
export function socketPath(folder: string, name: string): SocketPath {
	const path = join(folder, name);
	if (Buffer.byteLength(path) <= socketPathLengthMax) {
		return {path, release: () => undefined};
	}

	const fd = openSync(folder, 'r');
	return {
		path: `/proc/self/fd/${fd}/${name}`,
		release() {
			closeSync(fd);
		},
	};
}
