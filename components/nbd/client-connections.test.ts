import {once} from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {NbdPeer} from '../../test/support/nbd-peer.js';
import {NbdStand} from '../../test/support/nbd-stand.js';
import {
	connectionCountMax,
	localConnectionCountMin,
	stallMsMax,
	tlsMsMax,
	unknownCountMax,
	unknownMsMin,
} from './client-limits.js';
import {bindPrivately, closeSocket} from './private-socket.js';

/** A server on TCP too, and its port there. */
async function startOnTcp(
	options: Parameters<typeof NbdStand.start>[0] = {},
): Promise<{stand: NbdStand; port: number}> {
	const stand = await NbdStand.start({...options, config: {...options.config, tcp: [{port: 0}]}});
	const hint = stand.component.running.hints!().find(line => line.includes('127.0.0.1'));
	return {stand, port: Number(/:(\d+)/.exec(hint ?? '')?.[1])};
}

async function connectAll(t: ExecutionContext, port: number, count: number): Promise<net.Socket[]> {
	const sockets: net.Socket[] = [];
	for (let i = 0; i < count; i++) {
		const socket = net.connect(port, '127.0.0.1');
		socket.on('error', () => undefined);
		socket.resume();
		await once(socket, 'connect');
		sockets.push(socket);
	}

	t.teardown(() => {
		for (const socket of sockets) {
			socket.destroy();
		}
	});
	return sockets;
}

function pskFile(): string {
	const file = path.join(temporaryDirectory(), 'clients.psk');
	fs.writeFileSync(file, `alice:${'5a'.repeat(32)}\n`, {mode: 0o600});
	return file;
}

/** A clock that a test sets. */
function handClock() {
	let nowMs = 0;
	let wake: () => void = () => undefined;
	return {
		environment: {
			now: () => nowMs,
			sleep: async () =>
				new Promise<void>(resolve => {
					wake = resolve;
				}),
		},
		advance(milliseconds: number) {
			nowMs += milliseconds;
			wake();
		},
	};
}

/** A server that demands TLS there, with a clock that the test sets. */
async function startBehindTls(options: Parameters<typeof NbdStand.start>[0] = {}) {
	const clock = handClock();
	return {
		...(await startOnTcp({...options, config: {tls: [{psk: pskFile()}]}, environment: clock.environment})),
		clock,
	};
}

test('a thousand idle TCP connections leave the unix socket usable', async t => {
	const {stand, port} = await startOnTcp();
	await connectAll(t, port, 1000);
	await setTimeout(100);
	t.is(stand.component.running.status!().connections, connectionCountMax - localConnectionCountMin);
	const peers = [];
	for (let i = 0; i < localConnectionCountMin; i++) {
		peers.push(await stand.attach());
	}

	for (const peer of peers) {
		t.is(await peer.write(0, Buffer.alloc(4096)), 0);
	}

	for (const {socket} of peers) {
		socket.destroy();
	}

	await stand.stop();
});

test('clients that do not say who they are are bounded in number and time, and make room for others', async t => {
	const {stand, port, clock} = await startBehindTls();
	const sockets = await connectAll(t, port, unknownCountMax + 10);
	await setTimeout(50);
	const connectionCount = () => stand.component.running.status!().connections;
	t.is(connectionCount(), unknownCountMax);
	t.is(stand.component.running.status!().refused_connections, 10);

	clock.advance(unknownMsMin);
	const [late] = await connectAll(t, port, 1);
	await once(late, 'data');
	await once(sockets[0], 'close');
	t.is(connectionCount(), unknownCountMax);

	clock.advance(tlsMsMax - unknownMsMin + 1);
	await setTimeout(50);
	t.is(connectionCount(), 1);
	t.true(stand.component.log.some(({text}) => text.includes('TLS did not begin within 10 s')));
	await stand.stop();
});

test('behind TLS, a client that takes its replies slowly is not cut off, one that takes nothing is', async t => {
	const {stand, port, clock} = await startBehindTls({blockCount: 8192});
	stand.medium.image.fill(1);
	const plain = await NbdPeer.connect(port);
	await plain.greet();
	const peer = await plain.startTls('alice', Buffer.alloc(32, 0x5a));
	await peer.attach({greeted: true});
	const {socket} = peer;
	socket.pause();
	peer.request({command: 0, length: 32 * 2 ** 20});
	const wasCut = () => stand.component.log.some(({text}) => text.includes('no byte of its replies taken'));
	for (let round = 0; round < 20; round++) {
		// What the client has in memory of its own has to go before it takes more from the socket.
		for (let i = 0; i < 8; i++) {
			socket.resume();
			await once(socket, 'data');
			socket.pause();
		}

		await setTimeout(5);
		clock.advance(stallMsMax - 1);
		await setTimeout(1);
		t.false(wasCut(), `round ${round}`);
	}

	for (let round = 0; round < 2; round++) {
		await setTimeout(50);
		clock.advance(stallMsMax + 1);
	}

	await setTimeout(5);
	t.true(wasCut());
	socket.destroy();
	await stand.stop();
});

test('a peer that is gone is noticed over TCP: the kernel probes it', async t => {
	const {stand, port} = await startOnTcp();
	const socket = net.connect(port, '127.0.0.1');
	await once(socket, 'data');
	const portDigits = port.toString(16).toUpperCase().padStart(4, '0');
	const local = fs
		.readFileSync('/proc/net/tcp', 'utf8')
		.split('\n')
		.map(line => line.trim().split(/\s+/))
		.find(([, place, , state]) => place?.endsWith(`:${portDigits}`) && state === '01');
	// The sixth field is the socket's running timer; 02 is the one of keepalive.
	t.is(local?.[5].slice(0, 2), '02');
	socket.destroy();
	await stand.stop();
});

test('the file of a unix socket has its mode before anybody can connect', t => {
	const file = path.join(temporaryDirectory(), 'socket');
	const fd = bindPrivately(file);
	t.is(fs.statSync(file).mode & 0o777, 0o600);
	t.throws(() => bindPrivately(file), {message: /EADDRINUSE/});
	t.throws(() => bindPrivately(path.join(file, 'below')), {message: /ENOTDIR/});
	closeSocket(fd);
});

test('what has taken the place of the socket stays when the server stops', async t => {
	const stand = await NbdStand.start();
	fs.rmSync(stand.socketPath);
	fs.writeFileSync(stand.socketPath, "somebody else's");
	await stand.stop();
	t.is(fs.readFileSync(stand.socketPath, 'utf8'), "somebody else's");
});
