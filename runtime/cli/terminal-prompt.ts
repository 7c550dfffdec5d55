/** Questions on the terminal. What is typed for a passphrase is not shown, and not kept. */

/** The user ended the input instead of answering. */
export class PromptCancelled extends Error {
	override readonly name = 'PromptCancelled';

	/** @param byInterrupt by Ctrl-C, which in raw mode is no signal */
	constructor(readonly byInterrupt: boolean) {
		super('nothing was entered');
	}
}

const lengthMax = 1024;
const interrupt = 0x03;
const endOfInput = 0x04;
const backspaces = [0x08, 0x7f];
const eraseLine = 0x15;
const lineEnds = [0x0a, 0x0d];

/** The line as it is typed, in UTF-8. */
class TypedLine {
	readonly #bytes = Buffer.alloc(lengthMax);
	#length = 0;

	add(byte: number): void {
		if (this.#length < lengthMax) {
			this.#bytes[this.#length++] = byte;
		}
	}

	/** Takes the last character back, which may have several bytes. */
	erase(): void {
		while (this.#length > 0 && (this.#bytes[this.#length - 1] & 0xc0) === 0x80) {
			this.#bytes[--this.#length] = 0;
		}

		if (this.#length > 0) {
			this.#bytes[--this.#length] = 0;
		}
	}

	clear(): void {
		this.#bytes.fill(0);
		this.#length = 0;
	}

	/** The caller wipes it. */
	take(): Buffer {
		const line = Buffer.from(this.#bytes.subarray(0, this.#length));
		this.clear();
		return line;
	}
}

export function isInteractive(): boolean {
	return process.stdin.isTTY && process.stderr.isTTY;
}

/** Feeds what is typed to `line` until it is over. */
function listener(line: TypedLine, settle: (error?: PromptCancelled) => void): (chunk: Buffer) => void {
	return chunk => {
		for (const byte of chunk) {
			if (lineEnds.includes(byte)) {
				settle();
				break;
			} else if (byte === interrupt || byte === endOfInput) {
				settle(new PromptCancelled(byte === interrupt));
				break;
			} else if (backspaces.includes(byte)) {
				line.erase();
			} else if (byte === eraseLine) {
				line.clear();
			} else {
				line.add(byte);
			}
		}

		chunk.fill(0);
	};
}

/** Asks without showing the answer. The caller wipes it. @throws PromptCancelled */
export async function askSecret(question: string): Promise<Buffer> {
	const input = process.stdin;
	const line = new TypedLine();
	// Before the question: whoever sees it may answer at once, and that is not shown either.
	input.setRawMode(true);
	process.stderr.write(question);
	let onData: (chunk: Buffer) => void = () => undefined;
	try {
		await new Promise<void>((resolve, reject) => {
			onData = listener(line, error => {
				if (error) {
					reject(error);
				} else {
					resolve();
				}
			});
			input.on('data', onData);
			input.resume();
		});
		return line.take();
	} finally {
		line.clear();
		input.off('data', onData);
		input.pause();
		input.setRawMode(false);
		process.stderr.write('\n');
	}
}

/** Asks something that only "yes" agrees to. The input stays as it was, for a question after this one. */
export async function askConsent(question: string): Promise<boolean> {
	const input = process.stdin;
	let typed = '';
	let onData: (chunk: Buffer) => void = () => undefined;
	let onEnd: () => void = () => undefined;
	process.stderr.write(`${question} Type "yes": `);
	try {
		await new Promise<void>(resolve => {
			onData = chunk => {
				typed += chunk.toString();
				if (typed.includes('\n')) {
					resolve();
				}
			};

			onEnd = resolve;
			input.on('data', onData).once('end', onEnd).resume();
		});
	} finally {
		input.off('data', onData).off('end', onEnd).pause();
	}

	return typed.trim() === 'yes';
}
