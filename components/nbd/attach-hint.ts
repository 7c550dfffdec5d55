/** How to reach a listening socket, as a command for a shell. */
import type {AddressInfo} from 'node:net';

/** Only what neither a URI nor a shell's double quotes take for anything else. */
function encodedPath(path: string): string {
	return path.split('/').map(part => encodeURIComponent(part).replaceAll('!', '%21')).join('/');
}

/** @param usesTls clients have to use TLS on TCP */
export function attachHint(address: string | AddressInfo | null, usesTls: boolean): string {
	if (address === null || typeof address === 'string') {
		return `nbdinfo "nbd+unix:///?socket=${encodedPath(address ?? '')}"`;
	}

	const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
	return `nbdinfo "${usesTls ? 'nbds' : 'nbd'}://${host}:${address.port}"`;
}
