/** What a command prints, instead of the test's own output. */

interface Captured {
	readonly out: string;
	readonly error: string;
}

/** Tests that use it run one after the other: there is one standard output. */
export async function capturing<T>(use: () => Promise<T>): Promise<Captured & {readonly result: T}> {
	const texts = {out: '', error: ''};
	const streams = [
		['out', process.stdout],
		['error', process.stderr],
	] as const;
	const writes = streams.map(([, stream]) => stream.write.bind(stream));
	for (const [name, stream] of streams) {
		stream.write = (chunk: string | Uint8Array) => {
			texts[name] += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString();
			return true;
		};
	}

	try {
		const result = await use();
		return {...texts, result};
	} finally {
		for (const [i, [, stream]] of streams.entries()) {
			stream.write = writes[i];
		}
	}
}
