/**
 * nbd: an NBD server in front of any block device, with its snapshots where they can be reached.
 *
 * Guarantee: a request is answered once, after the device has answered; a flush or FUA reply means that the device has
 * made durable what was replied before, on any connection. Whatever clients send, memory stays bounded.
 */
import {z} from 'zod';
import {defineComponent, optional, type Environment} from '../../runtime/sdk/component.js';
import {PartialBlockBuffers} from '../front_end/byte-device.js';
import {block} from '../sessions/block.js';
import {deviceControl} from '../sessions/device-control.js';
import {attachHint} from './attach-hint.js';
import {ClientConnections} from './client-connections.js';
import {ExportList} from './export-list.js';
import {requestByteLengthMax} from './limits.js';
import {ReplyPages} from './outbox.js';
import {PayloadMemory} from './payload-memory.js';
import {closeServerSockets, openServerSockets, type SocketAddress} from './server-socket.js';

const config = z.strictObject({
	/** Unix sockets; relative paths lie in the state directory. */
	unix: z.array(z.strictObject({path: z.string().min(1)})).default([]),
	/** TCP sockets. Clients are neither authenticated nor encrypted there. */
	tcp: z.array(z.strictObject({
		host: z.string().min(1).default('127.0.0.1'),
		port: z.coerce.number().int().min(0).max(65_535).default(10_809),
	})).default([]),
	/** The device's export name beside the empty one. */
	export: z.string().min(1).max(256).default('current'),
	readonly: z.enum(['yes', 'no']).default('no'),
}).refine(({unix, tcp}) => unix.length + tcp.length > 0, 'there is nowhere to listen; add <unix path="nbd.sock"/> or <tcp host="127.0.0.1" port="10809"/>');

/** The largest request for which there is memory, a power of two. */
function largestRequest(env: Environment): number {
	let byteLength = requestByteLengthMax;
	while (byteLength > env.leaseLimit / 2) {
		byteLength /= 2;
	}

	return byteLength;
}

export default defineComponent({
	requires: {device: block, control: optional(deviceControl)},
	config,
	async start({config, sessions: {device, control}, env}) {
		let lastFault = '';
		const exports = new ExportList({
			device, control, deviceName: config.export, readOnly: config.readonly === 'yes', buffers: new PartialBlockBuffers(env),
		});
		const byteLengthMax = largestRequest(env);
		const connections = new ClientConnections({
			env,
			exports,
			memory: new PayloadMemory(env),
			pages: new ReplyPages(),
			requestByteLengthMax: byteLengthMax,
			payloadByteLengthMax: Math.max(byteLengthMax, Math.floor(env.leaseLimit / 4)),
			onFault(message) {
				// A client that keeps asking must not fill the log.
				if (message !== lastFault) {
					lastFault = message;
					env.log(`a request failed: ${message}`, 'warning');
				}
			},
		});

		const addresses: SocketAddress[] = [...config.unix.map(({path}) => ({path: env.resolvePath(path)})), ...config.tcp];
		const servers = await openServerSockets(addresses, socket => {
			connections.accept(socket);
		});

		return {
			provides: {},
			async stop() {
				closeServerSockets(servers);
				await connections.finish();
				await device.sync({}).catch((error: unknown) => {
					env.log(`the last flush failed: ${error instanceof Error ? error.message : String(error)}`, 'error');
				});
			},
			interrupted: {
				device(how) {
					if (how === 'reset') {
						env.log(`the device went back to its last secured state; closing ${connections.count} connections, so that clients notice`, 'warning');
						connections.closeAll();
					}
				},
			},
			status: () => ({connections: connections.count, refused_connections: connections.refusedCount}),
			hints: () => servers.map(server => attachHint(server.address())),
		};
	},
});
