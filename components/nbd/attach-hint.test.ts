import test from 'ava';
import {attachHint} from './attach-hint.js';

test('a socket\'s path is one that a URI and a shell leave as it is', t => {
	t.is(attachHint('/tmp/state/nbd.sock', false), 'nbdinfo "nbd+unix:///?socket=/tmp/state/nbd.sock"');
	t.is(attachHint('/tmp/ü $x "a"&b#c?d!`e`/nbd.sock', false), 'nbdinfo "nbd+unix:///?socket=/tmp/%C3%BC%20%24x%20%22a%22%26b%23c%3Fd%21%60e%60/nbd.sock"');
});

test('a TCP address names its scheme', t => {
	t.is(attachHint({address: '127.0.0.1', family: 'IPv4', port: 10_809}, false), 'nbdinfo "nbd://127.0.0.1:10809"');
	t.is(attachHint({address: '::1', family: 'IPv6', port: 10_809}, true), 'nbdinfo "nbds://[::1]:10809"');
});
