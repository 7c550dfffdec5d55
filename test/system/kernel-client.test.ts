/** The NBD client of the Linux kernel, in a guest: nbd.ko with Debian's nbd-client, over TCP, in clear and with TLS. */
import fs from 'node:fs';
import {once} from 'node:events';
import net from 'node:net';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import {temporaryDirectory} from '../support/component-stand.js';
import {runTool, testWith} from '../support/external-tools.js';
import {projectFolder, runRuntime, startRuntime, type RuntimeProcess} from '../support/runtime-process.js';
import {machineRequirements, makeGuest, VirtualMachine} from '../support/virtual-machine.js';

const MiB = 2 ** 20;
const extendedByteLength = 1_337_978_880;

const needed = [...machineRequirements, 'nbd-client', 'mkfs.ext4', 'e2fsck', 'openssl'];

async function freePort(): Promise<number> {
	const server = net.createServer().listen(0, '127.0.0.1');
	await once(server, 'listening');
	const {port} = server.address() as net.AddressInfo;
	server.close();
	await once(server, 'close');
	return port;
}

/** The default assembly, with a TCP socket and `words` in the configuration of its NBD server. */
function writeDeployFile(folder: string, port: number, words = ''): string {
	const original = fs.readFileSync(join(projectFolder, 'deploy.xml'), 'utf8');
	const file = join(folder, 'deploy.xml');
	fs.writeFileSync(
		file,
		original.replace('<unix path="nbd.sock"/>', `<unix path="nbd.sock"/><tcp port="${port}"/>${words}`),
	);
	return file;
}

/** An authority, and a certificate of it for each name. */
async function makeCertificates(folder: string, names: readonly string[]): Promise<void> {
	const openssl = async (...words: string[]) => runTool('openssl', words, folder);
	const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
	await openssl(
		'req',
		'-x509',
		...newKey,
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
		await openssl('req', ...newKey, '-subj', `/CN=${name}`, '-keyout', `${name}-key.pem`, '-out', `${name}.csr`);
		fs.writeFileSync(join(folder, 'extension'), `subjectAltName=DNS:${name}\n`);
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

testWith(needed, "the kernel's client: file system, trim, restart of the server, extension, TLS", async t => {
	const folder = temporaryDirectory();
	const stateDirectory = join(folder, 'state');
	const guest = join(folder, 'guest');
	const image = join(folder, 'image');
	const port = await freePort();
	await makeGuest(guest, ['nbd-client', 'mkfs.ext4', 'e2fsck']);
	const certificates = join(guest, 'root/tls');
	fs.mkdirSync(certificates);
	await makeCertificates(certificates, ['server', 'guest']);
	fs.writeFileSync(image, '');
	fs.truncateSync(image, 64 * MiB);
	await runTool('mkfs.ext4', ['-q', '-F', '-d', join(guest, 'root'), image]);

	let runtime: RuntimeProcess = await startRuntime(writeDeployFile(folder, port), stateDirectory);
	let machine: VirtualMachine | undefined;
	try {
		machine = await VirtualMachine.boot(guest, `file=${image}`);
		const run = async (command: string) => machine!.run(command);
		await run(
			'for name in failover net_failover virtio_net nbd; do insmod /modules/$name.ko || exit; done; mkdir /mnt',
		);
		await run('ip link set lo up; ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up');

		// The client gives up when the server is gone, so whoever wants to go on begins anew.
		const client = `nbd-client -n -L -N current -timeout 60 10.0.2.2 ${port} /dev/nbd0`;
		await run(`(setsid sh -c 'until [ -e /tmp/over ]; do ${client}; sleep 1; done' >/tmp/log 2>&1 &)`);
		const readByteCount = 'dd if=/dev/nbd0 bs=4k count=1 iflag=direct 2>/dev/null | wc -c';
		const usable = `for i in $(seq 60); do [ $(${readByteCount}) = 4096 ] && exit; sleep 1; done; cat /tmp/log; exit 1`;
		await run(usable);
		t.is(await run('cat /sys/block/nbd0/size'), `${2 ** 21}\n`);
		await run('mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 /dev/nbd0 && mount /dev/nbd0 /mnt');
		await run(
			'dd if=/dev/urandom of=/mnt/file bs=64k count=64 && cp /mnt/file /mnt/other && sync && rm /mnt/other',
		);
		t.regex(await run('fstrim -v /mnt'), /\d{9,} bytes/);
		const hash = await run('sha256sum /mnt/file');
		await run('umount /mnt');

		// What was flushed is there when the server is killed and comes back.
		await runtime.stop('SIGKILL');
		await setTimeout(1000);
		t.is(await run(readByteCount), '0\n', 'it fails and does not hang');
		runtime = await startRuntime(join(folder, 'deploy.xml'), stateDirectory);
		await run(usable);
		await run('e2fsck -f -n /dev/nbd0 && mount -o ro /dev/nbd0 /mnt');
		t.is(await run('sha256sum /mnt/file'), hash);
		await run('umount /mnt; touch /tmp/over; nbd-client -d /dev/nbd0');
		await t.throwsAsync(run('nbd-client -c /dev/nbd0'), undefined, 'disconnected');

		// By netlink, as nbd-client does without options; a connection made after an extension has the new size.
		const attach = `nbd-client -N current 10.0.2.2 ${port} /dev/nbd1`;
		await run(attach);
		t.is(await run('cat /sys/block/nbd1/size'), `${2 ** 21}\n`);
		const {code, output} = await runRuntime(['extend', 'vbd', '65536', '--state', stateDirectory]);
		t.is(code, 0, output);
		await run(`nbd-client -d /dev/nbd1 && ${attach}`);
		t.is(Number(await run('cat /sys/block/nbd1/size')) * 512, extendedByteLength);
		await run('e2fsck -f -p /dev/nbd1 && resize2fs /dev/nbd1 && mount /dev/nbd1 /mnt');
		t.is(await run('sha256sum /mnt/file'), hash);
		await run('umount /mnt && nbd-client -d /dev/nbd1');
		t.is(await runtime.stop(), 0);

		// With TLS, which a process of nbd-client speaks for the kernel.
		const place = (name: string) => join(certificates, name);
		const tls = `<tls certificate="${place('server-cert.pem')}" key="${place('server-key.pem')}" client_ca="${place('ca-cert.pem')}"/><client name="guest"/>`;
		runtime = await startRuntime(writeDeployFile(folder, port, tls), stateDirectory);
		await t.throwsAsync(run(`nbd-client -N current 10.0.2.2 ${port} /dev/nbd2`), {message: /requires TLS/});
		await run(
			`nbd-client -N current 10.0.2.2 ${port} /dev/nbd2 -certfile /tls/guest-cert.pem -keyfile /tls/guest-key.pem -cacertfile /tls/ca-cert.pem -tlshostname server`,
		);
		await run('mount /dev/nbd2 /mnt && dd if=/dev/urandom of=/mnt/more bs=64k count=16 && sync');
		t.is(await run('sha256sum /mnt/file'), hash);
		await run('umount /mnt && nbd-client -d /dev/nbd2');
	} finally {
		await machine?.end();
		t.is(await runtime.stop(), 0);
	}

	const {code, output} = await runRuntime([
		'run',
		'cbe_check',
		join(folder, 'deploy.xml'),
		'--state',
		stateDirectory,
	]);
	t.is(code, 0, output);
});
