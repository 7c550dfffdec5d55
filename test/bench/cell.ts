/** What is measured: one load on a device, the cell of a table's column. */

export interface Cell {
	readonly name: string;
	readonly title: string;
	/** As fio writes it. */
	readonly pattern: 'randread' | 'randwrite' | 'randrw' | 'read' | 'write';
	/** Bytes of one request. */
	readonly requestSize: number;
	readonly depth: number;
	/** A flush after so many writes; none where it is left out. */
	readonly flushEvery?: number;
	/**
	 * `disk`: only storage that really has to make data durable shows the cost of a flush. `cold`: on a disk, and the
	 * page cache is dropped before each round; a load ends where it has read as much as the range holds.
	 */
	readonly storage: 'memory' | 'disk' | 'cold';
	readonly unit: 'IOPS' | 'MB/s';
	/**
	 * Ratios to reach: against qemu-nbd with raw+LUKS, and with qcow2+LUKS. At depth 1 they hold for `low_latency.xml`.
	 */
	readonly goals: {readonly raw: number; readonly qcow2: number} | undefined;
}

const small = 4096;
const large = 2 ** 20;

export const cells: readonly Cell[] = [
	{
		name: 'randread-1',
		title: '4 KiB random read, depth 1',
		pattern: 'randread',
		requestSize: small,
		depth: 1,
		storage: 'memory',
		unit: 'IOPS',
		goals: {raw: 0.8, qcow2: 1},
	},
	{
		name: 'randwrite-1',
		title: '4 KiB random write, depth 1',
		pattern: 'randwrite',
		requestSize: small,
		depth: 1,
		storage: 'memory',
		unit: 'IOPS',
		goals: {raw: 0.7, qcow2: 0.9},
	},
	{
		name: 'randrw-1',
		title: '4 KiB random 50/50, depth 1',
		pattern: 'randrw',
		requestSize: small,
		depth: 1,
		storage: 'memory',
		unit: 'IOPS',
		goals: undefined,
	},
	{
		name: 'randread-32',
		title: '4 KiB random read, depth 32',
		pattern: 'randread',
		requestSize: small,
		depth: 32,
		storage: 'memory',
		unit: 'IOPS',
		goals: {raw: 1.5, qcow2: 1.8},
	},
	{
		name: 'randwrite-32',
		title: '4 KiB random write, depth 32',
		pattern: 'randwrite',
		requestSize: small,
		depth: 32,
		storage: 'memory',
		unit: 'IOPS',
		goals: {raw: 1.3, qcow2: 1.7},
	},
	{
		name: 'randrw-32',
		title: '4 KiB random 50/50, depth 32',
		pattern: 'randrw',
		requestSize: small,
		depth: 32,
		storage: 'memory',
		unit: 'IOPS',
		goals: {raw: 1.3, qcow2: 1.7},
	},
	{
		name: 'seqread-4',
		title: '1 MiB sequential read, depth 4',
		pattern: 'read',
		requestSize: large,
		depth: 4,
		storage: 'memory',
		unit: 'MB/s',
		goals: {raw: 2, qcow2: 1.5},
	},
	{
		name: 'seqwrite-4',
		title: '1 MiB sequential write, depth 4',
		pattern: 'write',
		requestSize: large,
		depth: 4,
		storage: 'memory',
		unit: 'MB/s',
		goals: {raw: 1.5, qcow2: 1},
	},
	{
		name: 'flush-1',
		title: '4 KiB random write + flush, depth 1',
		pattern: 'randwrite',
		requestSize: small,
		depth: 1,
		flushEvery: 1,
		storage: 'memory',
		unit: 'IOPS',
		goals: {raw: 0.5, qcow2: 0.5},
	},
	{
		name: 'disk-flush-32',
		title: '4 KiB random write, depth 32, flush every 64, on disk',
		pattern: 'randwrite',
		requestSize: small,
		depth: 32,
		flushEvery: 64,
		storage: 'disk',
		unit: 'IOPS',
		goals: {raw: 1, qcow2: 1},
	},
];

function coldCell(
	name: string,
	title: string,
	{pattern, requestSize, depth}: Pick<Cell, 'pattern' | 'requestSize' | 'depth'>,
): Cell {
	const unit = requestSize === large ? 'MB/s' : 'IOPS';
	return {name, title, pattern, requestSize, depth, storage: 'cold', unit, goals: undefined};
}

/** Reads that the page cache does not hold. */
export const coldCells: readonly Cell[] = [
	coldCell('cold-randread-1', '4 KiB random read, depth 1', {pattern: 'randread', requestSize: small, depth: 1}),
	coldCell('cold-randread-32', '4 KiB random read, depth 32', {pattern: 'randread', requestSize: small, depth: 32}),
	coldCell('cold-randread-64k', '64 KiB random read, depth 16', {
		pattern: 'randread',
		requestSize: 16 * small,
		depth: 16,
	}),
	coldCell('cold-seqread-4', '1 MiB sequential read, depth 4', {pattern: 'read', requestSize: large, depth: 4}),
];
