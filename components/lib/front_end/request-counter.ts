/** What clients have asked for since the start, on all connections. */
export class RequestCounter {
	#requestCount = 0;
	#byteLength = 0;

	/** One request more, with so many bytes of payload in one direction or the other. */
	add(byteLength: number): void {
		this.#requestCount++;
		this.#byteLength += byteLength;
	}

	get served(): {requests: number; bytes: number} {
		return {requests: this.#requestCount, bytes: this.#byteLength};
	}
}
