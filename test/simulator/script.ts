/** Scripted histories: what the device must survive at every single change of its medium, whatever chance brings besides. */

export type Action =
	| {readonly do: 'write' | 'clear'; readonly vba: number; readonly count: number}
	| {readonly do: 'flush' | 'create' | 'rekey' | 'finish' | 'check'}
	/** The device is locked, refuses everything, and is unlocked again. */
	| {readonly do: 'lock'}
	/** Snapshots by their age: 0 is the oldest. */
	| {readonly do: 'discard' | 'revert'; readonly snapshot: number}
	| {readonly do: 'extend'; readonly tree: 'vbd' | 'ft'; readonly blockCount: number}
	/** The plan's clients do this many operations each, all at random. */
	| {readonly do: 'load'; readonly count: number};

export interface Script {
	readonly name: string;
	/** Leaves, degree and max level of the device and of its pool. */
	readonly device: readonly [number, number, number];
	readonly pool: readonly [number, number, number];
	readonly actions: readonly Action[];
}

const writeAll = (count: number): Action => ({do: 'write', vba: 0, count});
const flushed: Action = {do: 'flush'};
const created: Action = {do: 'create'};
const finished: Action = {do: 'finish'};
const checked: Action = {do: 'check'};
const rekeyed: Action = {do: 'rekey'};
const locked: Action = {do: 'lock'};

export const scripts: readonly Script[] = [
	{
		name: 'snapshots come and go', device: [10, 4, 2], pool: [40, 8, 2],
		actions: [writeAll(4), created, {do: 'write', vba: 2, count: 4}, created, created, {do: 'clear', vba: 1, count: 2}, created, checked, {do: 'discard', snapshot: 1}, writeAll(2), {do: 'discard', snapshot: 0}, flushed, {do: 'discard', snapshot: 0}],
	},
	{
		// Blocks that a log names, written again, cleared, under a snapshot, and given back from a small pool.
		name: 'flush after flush', device: [12, 4, 2], pool: [40, 8, 2],
		actions: [writeAll(4), flushed, {do: 'write', vba: 2, count: 3}, flushed, {do: 'write', vba: 2, count: 1}, flushed, {do: 'write', vba: 2, count: 2}, flushed, {do: 'clear', vba: 2, count: 2}, flushed, {do: 'write', vba: 2, count: 1}, flushed, created, {do: 'write', vba: 1, count: 3}, flushed, {do: 'write', vba: 1, count: 3}, flushed, checked, {do: 'revert', snapshot: 0}, {do: 'write', vba: 8, count: 2}, flushed, locked, {do: 'write', vba: 8, count: 1}, flushed, {do: 'discard', snapshot: 0}, {do: 'write', vba: 8, count: 1}, flushed, {do: 'load', count: 2}, flushed, checked],
	},
	{
		name: 'reverting, back and forth', device: [10, 4, 2], pool: [48, 8, 2],
		actions: [{do: 'write', vba: 0, count: 3}, created, {do: 'write', vba: 1, count: 6}, created, {do: 'revert', snapshot: 0}, checked, {do: 'write', vba: 4, count: 3}, {do: 'revert', snapshot: 1}, checked, {do: 'write', vba: 0, count: 1}, created, {do: 'revert', snapshot: 0}, writeAll(10), {do: 'discard', snapshot: 0}, {do: 'revert', snapshot: 1}, flushed],
	},
	{
		name: 'leaves that an old snapshot never wrote', device: [8, 2, 3], pool: [64, 8, 2],
		actions: [created, {do: 'write', vba: 3, count: 2}, created, {do: 'revert', snapshot: 0}, {do: 'write', vba: 3, count: 1}, {do: 'clear', vba: 4, count: 1}, flushed, {do: 'write', vba: 4, count: 2}, {do: 'revert', snapshot: 1}, checked],
	},
	{
		name: 'rekeying without snapshots', device: [16, 2, 4], pool: [48, 8, 2],
		actions: [writeAll(9), flushed, rekeyed, {do: 'write', vba: 4, count: 9}, flushed, {do: 'clear', vba: 3, count: 3}, finished, checked, rekeyed, finished, checked],
	},
	{
		name: 'rekeying with snapshots', device: [12, 4, 2], pool: [72, 8, 3],
		actions: [writeAll(6), created, {do: 'write', vba: 4, count: 5}, created, {do: 'write', vba: 0, count: 2}, {do: 'clear', vba: 8, count: 1}, rekeyed, {do: 'write', vba: 3, count: 4}, flushed, created, {do: 'clear', vba: 5, count: 2}, {do: 'discard', snapshot: 0}, finished, checked, writeAll(12), flushed, checked],
	},
	{
		name: 'rekeying with a snapshot that is the current content', device: [12, 2, 4], pool: [72, 8, 3],
		actions: [writeAll(5), created, rekeyed, finished, checked, created, {do: 'write', vba: 2, count: 2}, {do: 'revert', snapshot: 0}, rekeyed, {do: 'write', vba: 2, count: 2}, finished, checked],
	},
	{
		name: 'rekeying from a small pool', device: [16, 4, 2], pool: [30, 8, 2],
		actions: [writeAll(16), created, {do: 'write', vba: 0, count: 1}, rekeyed, flushed, {do: 'load', count: 3}, finished, checked],
	},
	{
		name: 'extending the device', device: [4, 2, 2], pool: [32, 8, 2],
		actions: [writeAll(3), created, {do: 'extend', tree: 'vbd', blockCount: 11}, {do: 'write', vba: 1, count: 2}, flushed, finished, checked, writeAll(5), created, {do: 'extend', tree: 'vbd', blockCount: 2}, finished, {do: 'extend', tree: 'vbd', blockCount: 7}, {do: 'load', count: 2}, finished, checked],
	},
	{
		name: 'extending the pool', device: [8, 4, 2], pool: [14, 8, 2],
		actions: [writeAll(6), created, {do: 'extend', tree: 'ft', blockCount: 20}, {do: 'write', vba: 0, count: 4}, flushed, finished, checked, {do: 'extend', tree: 'ft', blockCount: 60}, {do: 'load', count: 2}, finished, checked],
	},
	{
		name: 'extending both, then rekeying', device: [6, 4, 2], pool: [16, 8, 2],
		actions: [writeAll(4), created, {do: 'extend', tree: 'ft', blockCount: 50}, finished, {do: 'extend', tree: 'vbd', blockCount: 18}, finished, {do: 'write', vba: 4, count: 8}, created, rekeyed, {do: 'write', vba: 2, count: 3}, finished, checked, {do: 'discard', snapshot: 0}, flushed],
	},
	{
		// The last lowest block of the meta tree has fewer entries than its way has blocks.
		name: 'extending a pool of deep trees', device: [15, 8, 3], pool: [28, 8, 5],
		actions: [writeAll(4), flushed, {do: 'extend', tree: 'ft', blockCount: 14}, finished, checked, {do: 'extend', tree: 'ft', blockCount: 30}, writeAll(6), finished, checked],
	},
	{
		// The first extension ends in the middle of a branch: inner blocks without a leaf, which the snapshot has, too.
		name: 'an unfinished branch under a snapshot', device: [8, 2, 3], pool: [64, 8, 2],
		actions: [writeAll(8), {do: 'extend', tree: 'vbd', blockCount: 2}, finished, created, {do: 'extend', tree: 'vbd', blockCount: 12}, finished, {do: 'write', vba: 6, count: 4}, rekeyed, {do: 'write', vba: 0, count: 3}, finished, checked, writeAll(10), flushed, writeAll(10), flushed, checked],
	},
	{
		name: 'reverting to a snapshot from before an unfinished branch', device: [8, 2, 4], pool: [64, 8, 2],
		actions: [writeAll(8), created, {do: 'write', vba: 2, count: 2}, {do: 'extend', tree: 'vbd', blockCount: 2}, finished, created, {do: 'write', vba: 3, count: 2}, {do: 'revert', snapshot: 0}, checked, {do: 'revert', snapshot: 1}, checked, {do: 'extend', tree: 'vbd', blockCount: 5}, finished, writeAll(10), flushed, checked],
	},
	{
		name: 'extending to the limit', device: [8, 2, 3], pool: [200, 16, 3],
		actions: [{do: 'extend', tree: 'vbd', blockCount: 2}, finished, writeAll(8), {do: 'extend', tree: 'vbd', blockCount: 25}, finished, checked, {do: 'extend', tree: 'vbd', blockCount: 21}, finished, writeAll(32), flushed, checked],
	},
	{
		name: 'clearing under snapshots', device: [12, 4, 2], pool: [40, 8, 2],
		actions: [writeAll(8), created, {do: 'clear', vba: 2, count: 4}, flushed, {do: 'write', vba: 3, count: 2}, created, {do: 'clear', vba: 0, count: 12}, checked, flushed, {do: 'write', vba: 0, count: 5}, {do: 'discard', snapshot: 0}, flushed, checked],
	},
	{
		// Leaves that are emptied, under snapshots with and without their content, and then written, reverted, rekeyed.
		name: 'trims of what snapshots hold', device: [12, 4, 2], pool: [72, 8, 3],
		actions: [writeAll(8), created, {do: 'clear', vba: 0, count: 8}, flushed, checked, {do: 'write', vba: 2, count: 2}, created, {do: 'clear', vba: 0, count: 4}, flushed, {do: 'revert', snapshot: 0}, checked, {do: 'write', vba: 4, count: 1}, {do: 'revert', snapshot: 1}, checked, {do: 'clear', vba: 2, count: 1}, flushed, {do: 'discard', snapshot: 0}, flushed, writeAll(6), flushed, checked],
	},
	{
		name: 'rekeying over emptied leaves', device: [8, 4, 2], pool: [72, 8, 3],
		actions: [writeAll(6), created, {do: 'clear', vba: 0, count: 4}, created, {do: 'write', vba: 0, count: 2}, flushed, rekeyed, {do: 'clear', vba: 4, count: 2}, finished, checked, {do: 'revert', snapshot: 1}, checked, {do: 'revert', snapshot: 0}, rekeyed, finished, checked, {do: 'discard', snapshot: 0}, writeAll(8), flushed, checked],
	},
	{
		// What was flushed by the log alone is emptied, lost in a crash, or written again.
		name: 'trims of what the flush log names', device: [8, 4, 2], pool: [40, 8, 2],
		actions: [writeAll(4), flushed, created, {do: 'write', vba: 0, count: 3}, flushed, {do: 'clear', vba: 0, count: 2}, flushed, {do: 'write', vba: 1, count: 2}, flushed, {do: 'clear', vba: 1, count: 3}, {do: 'write', vba: 1, count: 1}, flushed, {do: 'discard', snapshot: 0}, {do: 'clear', vba: 0, count: 8}, flushed, checked],
	},
	{
		// Most inner blocks of all trees are never written.
		name: 'a device with little on it', device: [20, 2, 5], pool: [200, 16, 3],
		actions: [{do: 'write', vba: 17, count: 1}, created, {do: 'write', vba: 2, count: 1}, flushed, {do: 'clear', vba: 0, count: 20}, flushed, checked, rekeyed, finished, checked, {do: 'extend', tree: 'vbd', blockCount: 9}, finished, {do: 'extend', tree: 'ft', blockCount: 20}, finished, {do: 'write', vba: 19, count: 1}, created, {do: 'discard', snapshot: 0}, {do: 'clear', vba: 0, count: 20}, flushed, checked],
	},
	{
		// Data has no room any more, trims have.
		name: 'trims on a full pool', device: [24, 4, 3], pool: [34, 8, 2],
		actions: [writeAll(24), created, writeAll(24), flushed, {do: 'clear', vba: 0, count: 24}, flushed, checked, {do: 'discard', snapshot: 0}, writeAll(24), flushed, checked],
	},
	{
		name: 'a full pool', device: [12, 4, 2], pool: [20, 8, 2],
		actions: [writeAll(12), created, writeAll(12), flushed, writeAll(12), flushed, checked, {do: 'discard', snapshot: 0}, writeAll(12), flushed, checked],
	},
	{
		name: 'locking and unlocking', device: [12, 4, 2], pool: [48, 8, 2],
		actions: [locked, writeAll(4), locked, checked, created, {do: 'write', vba: 2, count: 4}, locked, {do: 'revert', snapshot: 0}, locked, checked, {do: 'discard', snapshot: 0}, {do: 'clear', vba: 0, count: 3}, locked, checked],
	},
	{
		name: 'locking in the middle of long operations', device: [12, 2, 4], pool: [72, 8, 3],
		actions: [writeAll(8), created, rekeyed, locked, {do: 'write', vba: 3, count: 4}, locked, finished, checked, {do: 'extend', tree: 'vbd', blockCount: 6}, locked, {do: 'write', vba: 0, count: 3}, finished, {do: 'extend', tree: 'ft', blockCount: 12}, locked, locked, finished, rekeyed, {do: 'load', count: 2}, locked, finished, checked],
	},
];
