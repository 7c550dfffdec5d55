/**
 * nbd: an NBD server in front of any block device, with its snapshots where they can be reached.
 *
 * Guarantee: a request is answered once, after the device has answered; a flush or FUA reply means that the device has
 * made durable what was replied before, on any connection. Whatever clients send, memory stays bounded.
 */
import {z} from 'zod';
import {defineComponent, optional} from '../../runtime/sdk/component.js';
import {PartialBlockBuffers} from '../lib/front_end/byte-device.js';
import {RequestCounter} from '../lib/front_end/request-counter.js';
import {block} from '../sessions/block.js';
import {deviceControl} from '../sessions/device-control.js';
import {attachHint} from './attach-hint.js';
import {BusyWait} from './busy-wait.js';
import {ClientAccess} from './client-access.js';
import {ClientConnections} from './client-connections.js';
import {ExportList} from './export-list.js';
import {pollMaxUs, receiveMemorySize, requestByteLengthMax} from './client-limits.js';
import {ReplyPages} from './outbox.js';
import {PayloadMemory} from './payload-memory.js';
import {closeServerSockets, openServerSockets, unixSocketObstacle, type SocketAddress} from './server-socket.js';
import {TlsServer, tlsObstacles} from './tls-server.js';

const config = z
	.strictObject({
		/** Unix sockets; relative paths lie in the state directory. */
		unix: z.array(z.strictObject({path: z.string().min(1)})).default([]),
		/** TCP sockets. Without TLS, clients are neither authenticated nor encrypted there. */
		tcp: z
			.array(
				z.strictObject({
					host: z.string().min(1).default('127.0.0.1'),
					port: z.coerce.number().int().min(0).max(65_535).default(10_809),
				}),
			)
			.default([]),
		/** The device's export name beside the empty one. */
		export: z.string().min(1).max(256).default('current'),
		readonly: z.enum(['yes', 'no']).default('no'),
		/**
		 * How long the thread waits for a client's next request before it sleeps, where the last ones came sooner; in
		 * microseconds.
		 */
		poll_us: z.coerce.number().int().min(0).max(pollMaxUs).default(0),
		/** TLS with pre-shared keys, or with certificates. Relative paths lie in the state directory. */
		tls: z
			.array(
				z
					.strictObject({
						/** Lines NAME:HEX. */
						psk: z.string().min(1).optional(),
						certificate: z.string().min(1).optional(),
						key: z.string().min(1).optional(),
						/** Clients need a certificate of this authority. */
						client_ca: z.string().min(1).optional(),
						/** Where clients must use it; elsewhere they may. */
						required_on: z.enum(['tcp', 'all']).default('tcp'),
					})
					.refine(
						({psk, certificate, key, client_ca: clientCa}) =>
							psk === undefined
								? certificate !== undefined && key !== undefined
								: certificate === undefined && key === undefined && clientCa === undefined,
						'either psk="FILE", or certificate="FILE" and key="FILE" are required',
					),
			)
			.max(1)
			.default([]),
		/** Where there is one, only clients named here see an export. */
		client: z
			.array(
				z.strictObject({
					name: z.string().min(1),
					/** Export names with blanks in between; * at the end of one stands for anything. */
					exports: z.string().min(1).default('*'),
					readonly: z.enum(['yes', 'no']).default('no'),
				}),
			)
			.default([]),
	})
	.refine(
		({tls, client}) =>
			client.length === 0 ||
			tls.some(({psk, client_ca: clientCa}) => psk !== undefined || clientCa !== undefined),
		'<client> needs a <tls> by which clients are known: with psk or client_ca',
	)
	.refine(
		({unix, tcp}) => unix.length + tcp.length > 0,
		'there is nowhere to listen; add <unix path="nbd.sock"/> or <tcp host="127.0.0.1" port="10809"/>',
	);

export default defineComponent({
	requires: {device: block, control: optional(deviceControl)},
	config,
	obstacles: ({unix, tls}, context) => [
		...unix.flatMap(({path}, i) => {
			const obstacle = unixSocketObstacle(context.resolvePath(path), context.stateDirectory);
			return obstacle ? [{at: ['unix', i, 'path'], ...obstacle}] : [];
		}),
		...tls.flatMap((given, i) =>
			tlsObstacles(given, context).map(({at, ...obstacle}) => ({at: ['tls', i, ...(at ?? [])], ...obstacle})),
		),
	],
	needsRuntime: 'listens for clients on the network and in the state directory',
	async start({config, sessions: {device, control}, env}) {
		let lastFault = '';
		const exports = new ExportList({
			device,
			control,
			deviceName: config.export,
			readOnly: config.readonly === 'yes',
			buffers: new PartialBlockBuffers(env),
		});
		const counter = new RequestCounter();
		const memory = new PayloadMemory(env, PartialBlockBuffers.byteLength);
		const tlsServer = config.tls.length > 0 ? TlsServer.read(config.tls[0], env) : undefined;
		const connections = new ClientConnections({
			env,
			access: new ClientAccess(
				exports,
				config.client.map(({name, exports, readonly}) => ({
					name,
					exports: exports.split(/\s+/),
					readOnly: readonly === 'yes',
				})),
			),
			tls: tlsServer,
			memory,
			counter,
			pages: new ReplyPages(),
			busyWait: new BusyWait(config.poll_us / 1000),
			receiveMemory: Buffer.allocUnsafeSlow(receiveMemorySize),
			requestByteLengthMax: Math.min(requestByteLengthMax, memory.requestByteLengthMax),
			onFault(message) {
				// A client that keeps asking must not fill the log.
				if (message !== lastFault) {
					lastFault = message;
					env.log(message, 'warning');
				}
			},
		});

		const addresses: SocketAddress[] = [
			...config.unix.map(({path}) => ({path: env.resolvePath(path)})),
			...config.tcp,
		];
		const servers = await openServerSockets(addresses, (socket, address) => {
			const isLocal = 'path' in address;
			connections.accept(socket, {
				isLocal,
				mustUseTls: config.tls.some(({required_on: place}) => !isLocal || place === 'all'),
			});
		});

		return {
			provides: {},
			async stop() {
				closeServerSockets(servers);
				await connections.finish();
				await device.sync({}).catch((error: unknown) => {
					env.log(
						`the last flush failed: ${error instanceof Error ? error.message : String(error)}`,
						'error',
					);
				});
			},
			interrupted: {
				device(how) {
					if (how === 'reset') {
						env.log(
							`the device went back to its last secured state; closing ${connections.count} connections, so that clients notice`,
							'warning',
						);
						connections.closeAll();
					}
				},
			},
			served: () => counter.served,
			status: () => ({connections: connections.count, refused_connections: connections.refusedCount}),
			hints() {
				const isRequiredLocally = config.tls.some(({required_on: place}) => place === 'all');
				const tlsClient = tlsServer && {
					...tlsServer.clientFor(config.client.map(({name}) => name)),
					isRequiredLocally,
				};
				return servers.map(({address}) => attachHint(address, tlsClient));
			},
		};
	},
});
