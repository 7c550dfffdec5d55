/** A device under measurement: this project's with an assembly, or a peer. */

export interface Target {
	/** As tables show it. */
	readonly name: string;
	/** What role it plays in ratios. */
	readonly role: 'device' | 'raw' | 'qcow2';
	readonly uri: string;
	/** The serving process; only while it runs. */
	readonly pid: number;
	start(): Promise<void>;
	stop(): Promise<void>;
}
