/** How to reach a listening socket, as a command for a shell. */
import type {AddressInfo} from 'node:net';

export function attachHint(address: string | AddressInfo | null): string {
	if (address === null || typeof address === 'string') {
		return `nbdinfo "nbd+unix:///?socket=${encodeURI(address ?? '')}"`;
	}

	const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
	return `nbdinfo "nbd://${host}:${address.port}"`;
}
