/** NBD behind TLS, with the clients of libnbd and QEMU, and with one that cheats. */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {temporaryDirectory} from '../support/component-stand.js';
import {runTool, testWith} from '../support/external-tools.js';
import {NbdPeer} from '../support/nbd-peer.js';
import {projectFolder, startRuntime, type RuntimeProcess} from '../support/runtime-process.js';
import {SeededRandom} from '../support/seeded-random.js';

const MiB = 2 ** 20;
const random = new SeededRandom(7);
const keyLine = (name: string) => `${name}:${random.bytes(32).toString('hex')}\n`;

/** A device in memory whose NBD server has `words` in its configuration; replies with the TCP port. */
async function serve(
	t: ExecutionContext,
	folder: string,
	words: string,
): Promise<{runtime: RuntimeProcess; port: string}> {
	const file = join(folder, 'deploy.xml');
	const original = readFileSync(join(projectFolder, 'config/assemblies/ram.xml'), 'utf8');
	const edited = original.replace('<unix path="nbd.sock"/>', `<unix path="nbd.sock"/><tcp port="0"/>${words}`);
	t.not(edited, original);
	writeFileSync(file, edited);
	const runtime = await startRuntime(file, join(folder, 'state'));
	t.teardown(async () => runtime.stop());
	await runtime.printed('nbds://');
	const port = /nbds:\/\/(?:\w+@)?127\.0\.0\.1:(\d+)/.exec(runtime.output)?.[1];
	return {runtime, port: port ?? ''};
}

/** The error of a tool that must fail. */
async function failureOf(t: ExecutionContext, program: string, words: readonly string[]): Promise<string> {
	const error = await t.throwsAsync(runTool(program, words));
	return error.message;
}

testWith(
	['nbdcopy', 'nbdinfo', 'qemu-img'],
	'pre-shared keys: who has one gets what its name allows, others get nothing',
	async t => {
		const folder = temporaryDirectory();
		const [alice, bob, carol] = [keyLine('alice'), keyLine('bob'), keyLine('carol')];
		writeFileSync(join(folder, 'clients.psk'), alice + bob + carol, {mode: 0o600});
		// The name under which QEMU looks for it.
		writeFileSync(join(folder, 'keys.psk'), alice + bob + carol, {mode: 0o600});
		writeFileSync(join(folder, 'forged.psk'), keyLine('alice'), {mode: 0o600});
		const {port, runtime} = await serve(
			t,
			folder,
			`<tls psk="${join(folder, 'clients.psk')}"/><client name="alice"/><client name="bob" exports="curr*" readonly="yes"/><client name="carol" exports="snapshots/*"/>`,
		);
		const uri = (name: string, file = 'clients.psk') =>
			`nbds://${name}@127.0.0.1:${port}/?tls-psk-file=${join(folder, file)}`;

		writeFileSync(join(folder, 'source'), random.bytes(8 * MiB));
		await runTool('nbdcopy', ['--flush', join(folder, 'source'), uri('alice')]);
		await runTool('nbdcopy', [uri('alice'), join(folder, 'copy')]);
		t.true(
			readFileSync(join(folder, 'copy'))
				.subarray(0, 8 * MiB)
				.equals(readFileSync(join(folder, 'source'))),
		);

		t.regex(await runTool('nbdinfo', [uri('bob')]), /is_read_only: true/);
		await runtime.printed(/attach: nbdinfo "nbds:.*"\n/);
		t.regex(
			await runTool('nbdinfo', ['--size', /attach: nbdinfo "(nbds:.*)"\n/.exec(runtime.output)![1]]),
			/^\d+\s*$/,
			'the hint works as it is printed',
		);
		t.regex(await failureOf(t, 'nbdinfo', ['--size', uri('carol')]), /no export named/);
		t.regex(await failureOf(t, 'nbdinfo', ['--size', uri('dave')]), /tls|TLS|username|alert/);
		t.regex(await failureOf(t, 'nbdinfo', ['--size', uri('alice', 'forged.psk')]), /gnutls_handshake/);
		t.regex(await failureOf(t, 'nbdinfo', ['--size', `nbd://127.0.0.1:${port}/`]), /requires TLS/);
		t.regex(
			await runTool('qemu-img', [
				'info',
				'--object',
				`tls-creds-psk,id=tls0,endpoint=client,dir=${folder},username=alice`,
				'--image-opts',
				`driver=nbd,host=127.0.0.1,port=${port},tls-creds=tls0`,
			]),
			/virtual size/,
		);
		// A local client needs neither TLS nor a name, since the mode of the socket lets it in; it may use TLS.
		t.regex(
			await runTool('nbdinfo', ['--size', `nbd+unix:///?socket=${join(folder, 'state/nbd.sock')}`]),
			/^\d+\s*$/,
		);
		t.regex(
			await runTool('nbdinfo', [
				'--size',
				`nbds+unix://alice@/?socket=${join(folder, 'state/nbd.sock')}&tls-psk-file=${join(folder, 'clients.psk')}`,
			]),
			/^\d+\s*$/,
		);
	},
);

/** An authority, and certificates of it for names. */
async function makeCertificates(folder: string, names: readonly string[]): Promise<void> {
	const openssl = async (...words: string[]) => runTool('openssl', words, folder);
	await openssl(
		'req',
		'-x509',
		'-newkey',
		'ec',
		'-pkeyopt',
		'ec_paramgen_curve:P-256',
		'-nodes',
		'-days',
		'2',
		'-subj',
		'/CN=authority',
		'-keyout',
		'ca-key.pem',
		'-out',
		'ca-cert.pem',
	);
	for (const name of names) {
		await openssl(
			'req',
			'-newkey',
			'ec',
			'-pkeyopt',
			'ec_paramgen_curve:P-256',
			'-nodes',
			'-subj',
			`/CN=${name}`,
			'-keyout',
			`${name}-key.pem`,
			'-out',
			`${name}.csr`,
		);
		writeFileSync(join(folder, 'extension'), `subjectAltName=DNS:${name},IP:127.0.0.1\n`);
		await openssl(
			'x509',
			'-req',
			'-in',
			`${name}.csr`,
			'-CA',
			'ca-cert.pem',
			'-CAkey',
			'ca-key.pem',
			'-CAcreateserial',
			'-days',
			'2',
			'-extfile',
			'extension',
			'-out',
			`${name}-cert.pem`,
		);
	}
}

testWith(['nbdinfo', 'nbdcopy', 'openssl'], 'certificates: both ends prove who they are', async t => {
	const folder = temporaryDirectory();
	await makeCertificates(folder, ['localhost', 'client']);
	const {port} = await serve(
		t,
		folder,
		`<tls certificate="${join(folder, 'localhost-cert.pem')}" key="${join(folder, 'localhost-key.pem')}" client_ca="${join(folder, 'ca-cert.pem')}"/><client name="client"/>`,
	);
	const uri = `nbds://localhost:${port}/?tls-certificates=${folder}`;
	t.regex(await runTool('nbdinfo', ['--size', uri]), /^\d+\s*$/);
	writeFileSync(join(folder, 'source'), random.bytes(MiB));
	await runTool('nbdcopy', ['--flush', join(folder, 'source'), uri]);

	const stranger = temporaryDirectory();
	await makeCertificates(stranger, ['client']);
	writeFileSync(join(stranger, 'ca-cert.pem'), readFileSync(join(folder, 'ca-cert.pem')));
	await t.throwsAsync(runTool('nbdinfo', ['--size', `nbds://localhost:${port}/?tls-certificates=${stranger}`]));
});

test.serial(
	'what is sent in clear behind the request for TLS ends the connection, and files with secrets must be private',
	async t => {
		const folder = temporaryDirectory();
		writeFileSync(join(folder, 'clients.psk'), keyLine('alice'), {mode: 0o600});
		const {port, runtime} = await serve(t, folder, `<tls psk="${join(folder, 'clients.psk')}"/>`);
		t.not(port, '');
		const peer = await NbdPeer.connect(join(folder, 'state/nbd.sock'));
		await peer.greet();
		peer.sendOption({type: 5});
		peer.sendOption({type: 3});
		// The acknowledgement, and nothing else.
		t.is((await peer.closed()).length, 20);
		t.is(await runtime.stop(), 0);

		const other = temporaryDirectory();
		writeFileSync(join(other, 'open.psk'), keyLine('alice'), {mode: 0o644});
		const error = await t.throwsAsync(serve(t, other, `<tls psk="${join(other, 'open.psk')}"/>`));
		t.regex(error.message, /open\.psk can be read by others \(mode 644\); chmod 600 it/);
	},
);
