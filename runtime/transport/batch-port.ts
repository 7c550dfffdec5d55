/**
 * A message port on which everything sent in one turn of the event loop travels as one message: a list of triples
 * (number, kind, content).
 */
import type {MessagePort} from 'node:worker_threads';
import {ArenaLink} from './arena.js';
import {decode, encode} from './codec.js';
import type {OnTriple, SessionPort} from './session-port.js';

export class BatchPort implements SessionPort {
	readonly link: ArenaLink;
	readonly #port: MessagePort;
	#outgoing: unknown[] = [];
	#closed = false;

	constructor(port: MessagePort, onTriple: OnTriple) {
		this.#port = port;
		this.link = new ArenaLink(port);
		port.on('message', (message: Uint8Array | Parameters<ArenaLink['receive']>[0]) => {
			if (message instanceof Uint8Array) {
				const triples = decode(message);
				for (let at = 0; at < triples.length && !this.#closed; at += 3) {
					onTriple(triples[at] as number, triples[at + 1] as number, triples[at + 2] as unknown[]);
				}
			} else {
				this.link.receive(message);
			}
		});
	}

	get closed(): boolean {
		return this.#closed;
	}

	send(number: number, kind: number, content: readonly unknown[]): void {
		if (this.#outgoing.length === 0) {
			process.nextTick(() => {
				this.#flush();
			});
		}

		this.#outgoing.push(number, kind, content);
	}

	close(): void {
		this.#closed = true;
		this.#outgoing = [];
		this.link.close();
		this.#port.close();
	}

	#flush(): void {
		const outgoing = this.#outgoing;
		if (outgoing.length > 0 && !this.#closed) {
			this.#outgoing = [];
			const message = encode(outgoing);
			this.#port.postMessage(message, [message.buffer as ArrayBuffer]);
		}
	}
}
