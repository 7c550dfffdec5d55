/**
 * One end of a session to another thread: a ring of messages in each direction, and a message port for what is too large
 * for them and to wake a thread that sleeps in its event loop. Messages arrive in the order in which they were sent.
 */
import {MessageChannel, type MessagePort} from 'node:worker_threads';
import {ArenaLink} from './arena.js';
import {decode, encode} from './codec.js';
import {doorbell, nudge, ring, type Bell} from './doorbell.js';
import {makeRing, RingReader, RingWriter} from './message-ring.js';
import type {OnTriple, SessionPort, ThreadHandle} from './session-port.js';

/** What comes through the port: a message, something about arenas, or nothing but a reason to wake up. */
type PortMessage = Uint8Array | Parameters<ArenaLink['receive']>[0] | null;

/** The two ends of a session between the threads of these bells. */
export function threadEnds(one: Bell, other: Bell): readonly [ThreadHandle, ThreadHandle] {
	const {port1, port2} = new MessageChannel();
	const [there, back] = [makeRing(), makeRing()];
	return [
		{port: port1, incoming: back, outgoing: there, peer: other},
		{port: port2, incoming: there, outgoing: back, peer: one},
	];
}

export class RingPort implements SessionPort {
	readonly link: ArenaLink;
	readonly #port: MessagePort;
	readonly #peer: Bell;
	readonly #writer: RingWriter;
	readonly #reader: RingReader;
	#isRingDue = false;
	#closed = false;
	readonly #ring = (): void => {
		this.#isRingDue = false;
		if (!this.#closed && ring(this.#peer)) {
			this.#port.postMessage(null);
		}
	};

	constructor({port, incoming, outgoing, peer}: ThreadHandle, onTriple: OnTriple) {
		this.#port = port;
		this.#peer = peer;
		this.link = new ArenaLink(message => {
			this.#sendAside(message);
		});
		this.#writer = new RingWriter(outgoing);
		this.#reader = new RingReader(incoming, onTriple);
		doorbell.add(this.#reader);
		port.on('message', (message: PortMessage) => {
			if (message !== null) {
				this.#takeAside(message, onTriple);
			}

			doorbell.wake();
		});
	}

	get closed(): boolean {
		return this.#closed;
	}

	send(number: number, kind: number, content: readonly unknown[]): void {
		if (this.#closed) {
			return;
		}

		if (!this.#writer.write(number, kind, content)) {
			const message = encode([number, kind, ...content]);
			this.#sendAside(message, [message.buffer as ArrayBuffer]);
		} else if (!this.#isRingDue) {
			// Once for all that is sent in one go.
			this.#isRingDue = true;
			process.nextTick(this.#ring);
		}
	}

	close(): void {
		this.#closed = true;
		this.#reader.close();
		doorbell.remove(this.#reader);
		this.link.close();
		this.#port.close();
	}

	#sendAside(message: NonNullable<PortMessage>, transfer: readonly ArrayBuffer[] = []): void {
		this.#writer.noteAside();
		this.#port.postMessage(message, transfer);
		nudge(this.#peer);
	}

	#takeAside(message: NonNullable<PortMessage>, onTriple: OnTriple): void {
		// What stands in the ring was sent before.
		this.#reader.empty();
		this.#reader.noteAside();
		if (this.#closed) {
			return;
		}

		if (message instanceof Uint8Array) {
			const [number, kind, ...content] = decode(message);
			onTriple(number as number, kind as number, content);
		} else {
			this.link.receive(message);
		}
	}
}
