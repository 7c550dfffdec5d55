import test from 'ava';
import {attachHint} from './attach-hint.js';

test("a socket's path is one that a URI and a shell leave as it is", t => {
	t.is(attachHint('/tmp/state/nbd.sock'), 'nbdinfo "nbd+unix:///?socket=/tmp/state/nbd.sock"');
	t.is(
		attachHint('/tmp/ü $x "a"&b#c?d!`e`/nbd.sock'),
		'nbdinfo "nbd+unix:///?socket=/tmp/%C3%BC%20%24x%20%22a%22%26b%23c%3Fd%21%60e%60/nbd.sock"',
	);
});

test('a TCP address names its scheme', t => {
	t.is(attachHint({address: '127.0.0.1', family: 'IPv4', port: 10_809}), 'nbdinfo "nbd://127.0.0.1:10809"');
	t.is(attachHint({address: '::1', family: 'IPv6', port: 10_809}), 'nbdinfo "nbd://[::1]:10809"');
});

test('with TLS it names who the client is and where its keys are', t => {
	const tcp = {address: '127.0.0.1', family: 'IPv4', port: 10_809};
	const psk = {name: 'alice b', path: '/var/my keys/clients.psk'};
	t.is(
		attachHint(tcp, {psk, isRequiredLocally: false}),
		'nbdinfo "nbds://alice%20b@127.0.0.1:10809/?tls-psk-file=/var/my%20keys/clients.psk"',
	);
	t.is(attachHint('/s/nbd.sock', {psk, isRequiredLocally: false}), 'nbdinfo "nbd+unix:///?socket=/s/nbd.sock"');
	t.is(
		attachHint('/s/nbd.sock', {psk, isRequiredLocally: true}),
		'nbdinfo "nbds+unix://alice%20b@/?socket=/s/nbd.sock&tls-psk-file=/var/my%20keys/clients.psk"',
	);
	t.is(
		attachHint(tcp, {certificates: '/etc/pki', isRequiredLocally: false}),
		'nbdinfo "nbds://127.0.0.1:10809/?tls-certificates=/etc/pki"',
	);
	t.is(
		attachHint(tcp, {certificates: undefined, isRequiredLocally: false}),
		'nbdinfo "nbds://127.0.0.1:10809/?tls-certificates=FOLDER-WITH-ca-cert.pem"',
	);
});
