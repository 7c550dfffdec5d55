/** How to reach a listening socket, as a command for a shell. */
import type {AddressInfo} from 'node:net';

/** What a client says for TLS. */
export interface TlsClient {
	/** With pre-shared keys: a name that has one, and the file with the keys. */
	readonly psk?: {readonly name: string; readonly path: string};
	/** With certificates: the folder with the authority's certificate, where it is known. */
	readonly certificates?: string | undefined;
	/** Clients of unix sockets must use TLS, too. */
	readonly isRequiredLocally: boolean;
}

/** Only what neither a URI nor a shell's double quotes take for anything else. */
function encoded(text: string): string {
	return encodeURIComponent(text).replaceAll('!', '%21');
}

function encodedPath(path: string): string {
	return path
		.split('/')
		.map(part => encoded(part))
		.join('/');
}

function parameterOf({psk, certificates}: TlsClient): string {
	// Without a folder the user has to name his own.
	return psk
		? `tls-psk-file=${encodedPath(psk.path)}`
		: `tls-certificates=${certificates === undefined ? 'FOLDER-WITH-ca-cert.pem' : encodedPath(certificates)}`;
}

/** @param tlsClient where TLS is served; clients have to use it on TCP */
export function attachHint(address: string | AddressInfo | null, tlsClient?: TlsClient): string {
	const user = tlsClient?.psk ? `${encoded(tlsClient.psk.name)}@` : '';
	if (address === null || typeof address === 'string') {
		const socket = `socket=${encodedPath(address ?? '')}`;
		return tlsClient?.isRequiredLocally
			? `nbdinfo "nbds+unix://${user}/?${socket}&${parameterOf(tlsClient)}"`
			: `nbdinfo "nbd+unix:///?${socket}"`;
	}

	const host = `${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
	return tlsClient ? `nbdinfo "nbds://${user}${host}/?${parameterOf(tlsClient)}"` : `nbdinfo "nbd://${host}"`;
}
