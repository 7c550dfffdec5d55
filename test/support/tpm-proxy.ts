/** Something between a program and its TPM: it sees every command and response, and may alter or swallow them. */
import {once} from 'node:events';
import net from 'node:net';
import {join} from 'node:path';
import {temporaryDirectory} from './component-stand.js';

export interface TpmTraffic {
	/** Counts the commands of all connections from 1. */
	readonly number: number;
	/** TPM_CC. */
	readonly code: number;
	readonly bytes: Buffer;
}

/** What becomes of a message: itself or another one, or the connection ends. */
type Fate = Buffer | 'cut';

export interface TpmProxyOptions {
	command?(traffic: TpmTraffic): Fate;
	response?(traffic: TpmTraffic): Fate;
}

const lengthOffset = 2;
const codeOffset = 6;
const headerLength = 10;

function isWhole(bytes: Buffer): boolean {
	return bytes.length >= headerLength && bytes.length >= bytes.readUInt32BE(lengthOffset);
}

export class TpmProxy {
	readonly socketPath = join(temporaryDirectory(), 'proxy.sock');
	/** Everything that crossed, in both directions, as the program and the TPM sent it. */
	readonly crossed: Buffer[] = [];
	readonly #server: net.Server;
	readonly #sockets = new Set<net.Socket>();
	#commandCount = 0;

	private constructor(targetPath: string, options: TpmProxyOptions) {
		this.#server = net.createServer(socket => {
			this.#serve(socket, net.connect({path: targetPath}), options);
		});
	}

	static async start(targetPath: string, options: TpmProxyOptions = {}): Promise<TpmProxy> {
		const proxy = new TpmProxy(targetPath, options);
		proxy.#server.listen(proxy.socketPath);
		await once(proxy.#server, 'listening');
		return proxy;
	}

	get commandCount(): number {
		return this.#commandCount;
	}

	async stop(): Promise<void> {
		for (const socket of this.#sockets) {
			socket.destroy();
		}

		this.#server.close();
		await once(this.#server, 'close');
	}

	#serve(client: net.Socket, tpm: net.Socket, options: TpmProxyOptions): void {
		const cut = () => {
			client.destroy();
			tpm.destroy();
		};
		let current = {number: 0, code: 0};
		for (const socket of [client, tpm]) {
			this.#sockets.add(socket);
			socket.on('error', cut);
			socket.on('close', cut);
		}

		const forward = (message: Buffer, to: net.Socket, decide: ((traffic: TpmTraffic) => Fate) | undefined) => {
			this.crossed.push(message);
			const fate = decide?.({...current, bytes: message}) ?? message;
			if (fate === 'cut') {
				cut();
			} else {
				to.write(fate);
			}
		};
		collect(client, command => {
			current = {number: ++this.#commandCount, code: command.readUInt32BE(codeOffset)};
			forward(command, tpm, options.command);
		});
		collect(tpm, response => {
			forward(response, client, options.response);
		});
	}
}

/** Calls `use` with each whole message. */
function collect(socket: net.Socket, use: (message: Buffer) => void): void {
	let received: Buffer = Buffer.alloc(0);
	socket.on('data', piece => {
		received = Buffer.concat([received, piece]);
		if (isWhole(received)) {
			const message = received;
			received = Buffer.alloc(0);
			use(message);
		}
	});
}
