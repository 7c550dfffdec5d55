/** What a dump consists of: one record a line, as text or as JSON. Records never hold a key, not even a wrapped one. */

export type DumpValue = string | number | boolean | null;

export interface DumpRecord {
	/** What is described: `superblock`, `snapshot`, `tree`, `node`, `entry`, … */
	readonly kind: string;
	/** Indentation in the text form. */
	readonly depth: number;
	readonly fields: Readonly<Record<string, DumpValue>>;
}

export type DumpFormat = 'text' | 'json';

function text({kind, depth, fields}: DumpRecord): string {
	const parts = Object.entries(fields).filter(([, value]) => value !== null && value !== false).map(([name, value]) => value === true ? name : `${name} ${value}`);
	return `${'  '.repeat(depth)}${kind} ${parts.join(', ')}`;
}

function json({kind, fields}: DumpRecord): string {
	return JSON.stringify({kind, ...fields});
}

export function formatRecord(record: DumpRecord, format: DumpFormat): string {
	return format === 'json' ? json(record) : text(record);
}

export function hex(bytes: Uint8Array): string {
	return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
