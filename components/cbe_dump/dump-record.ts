/** What a dump consists of: one record a line, as text or as JSON. Records never hold a key, not even a wrapped one. */

type DumpValue = string | number | boolean | null;

export interface DumpRecord {
	/** What is described: `superblock`, `snapshot`, `tree`, `node`, `entry`, … */
	readonly kind: string;
	/** Indentation in the text form. */
	readonly depth: number;
	readonly fields: Readonly<Record<string, DumpValue>>;
}

export type DumpFormat = 'text' | 'json';

function fieldText(kind: string, name: string, value: DumpValue): string {
	return value === true ? name : name === kind ? String(value) : `${name} ${value}`;
}

/** Flags that are not set and what does not apply are left out. */
function text({kind, depth, fields}: DumpRecord): string {
	const shown = Object.entries(fields).filter(([, value]) => value !== null && value !== false);
	return `${'  '.repeat(depth)}${kind} ${shown.map(([name, value]) => fieldText(kind, name, value)).join(', ')}`;
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
