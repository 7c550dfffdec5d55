/** The dimensions of a new container as configurations write them; by default 1 GiB with a pool as large. */
import {z} from 'zod';
import {cipherNames, type CipherName} from '../../sessions/cipher.js';
import {blockSize, dimensionsFault, innerBlockCount, type Dimensions} from './geometry.js';
import {byteSize} from './size-config.js';
import {flushLogBlockCountMax} from './superblock.js';

/** What a new container is made of. */
export interface ContainerDimensions {
	readonly virtualBlockDevice: Dimensions;
	readonly freeTree: Dimensions;
	readonly cipher: CipherName;
	/** 0 for none. */
	readonly flushLogBlockCount: number;
	/** True where its snapshots can have names. */
	readonly namesSnapshots?: boolean;
	/** Undefined where inner blocks lie on the medium as they are. */
	readonly innerBlocks?: 'encrypted' | undefined;
}

const defaults = {
	vbd: {leafCount: 262_144, maxLevel: 4, degree: 64},
	ft: {leafCount: 32_768, maxLevel: 3, degree: 64},
} as const;

/**
 * A pool as large as the device lets a snapshot hold nearly all of it, and costs nothing before it is used. Very large
 * ones take memory, so from 64 GiB on it is a 16th of the device, but no less than that. The original's containers
 * write all inner blocks when they are created: theirs stay small.
 */
const largePoolLeafCount = 2 ** 24;
const largePoolPart = 1 / 16;

/** Blocks of the flush log, unless the configuration says otherwise: 1 MiB, less on a small device. */
const flushLogBlockCountDefault = 256;
const leavesPerLogBlock = 64;

function wholeNumber() {
	return z
		.string()
		.regex(/^[1-9]\d{0,14}$/, 'a whole number above 0 is required')
		.transform(Number);
}

const attributes = z.strictObject({
	vbd_leaves: wholeNumber().optional(),
	vbd_size: byteSize().optional(),
	vbd_max_level: wholeNumber().optional(),
	vbd_degree: wholeNumber().optional(),
	ft_leaves: wholeNumber().optional(),
	ft_size: byteSize().optional(),
	ft_max_level: wholeNumber().optional(),
	ft_degree: wholeNumber().optional(),
	cipher: z.enum(cipherNames).default('aes-256-xts'),
	/** Blocks of the flush log; 0: every flush secures the whole state. */
	flush_log_blocks: z
		.string()
		.regex(/^\d{1,4}$/, 'a whole number is required')
		.transform(Number)
		.pipe(z.number().max(flushLogBlockCountMax))
		.optional(),
	inner_blocks: z.enum(['clear', 'encrypted']).default('clear'),
});

type Attributes = z.output<typeof attributes>;
type TreeName = keyof typeof defaults;
interface Fault {
	readonly attribute: keyof Attributes;
	readonly text: string;
}

function poolLeafCountFor({cipher}: Attributes, deviceLeafCount: number): number {
	return cipher === 'aes-256-cbc-essiv'
		? defaults.ft.leafCount
		: Math.max(
				defaults.ft.leafCount,
				Math.min(deviceLeafCount, Math.max(largePoolLeafCount, Math.floor(largePoolPart * deviceLeafCount))),
			);
}

function defaultLeafCount(given: Attributes, tree: TreeName): number {
	const deviceLeafCount = tree === 'ft' ? leafCountOf(given, 'vbd') : undefined;
	return typeof deviceLeafCount === 'number' ? poolLeafCountFor(given, deviceLeafCount) : defaults[tree].leafCount;
}

function leafCountOf(given: Attributes, tree: TreeName): number | Fault {
	const size = given[`${tree}_size`];
	const leaves = given[`${tree}_leaves`];
	if (size === undefined) {
		return leaves ?? defaultLeafCount(given, tree);
	}

	if (leaves !== undefined) {
		return {attribute: `${tree}_size`, text: `${tree}_leaves and ${tree}_size say the same; give one of them`};
	}

	if (size % blockSize !== 0) {
		return {attribute: `${tree}_size`, text: `${size} bytes are no whole number of blocks of ${blockSize} bytes`};
	}

	return size / blockSize;
}

/** The lowest tree that has room, but not lower than the default's. */
function maxLevelFor({leafCount, degree}: {leafCount: number; degree: number}, tree: TreeName): number {
	let maxLevel: number = defaults[tree].maxLevel;
	while (degree > 1 && degree ** maxLevel < leafCount) {
		maxLevel++;
	}

	return maxLevel;
}

/** The attribute that says the dimension; where it is derived from others, the one that asks for so much. */
function attributeOf(given: Attributes, tree: TreeName, dimension: keyof Dimensions): keyof Attributes {
	const size = given[`${tree}_size`] === undefined ? (`${tree}_leaves` as const) : (`${tree}_size` as const);
	const own = {degree: `${tree}_degree`, maxLevel: `${tree}_max_level`, leafCount: size} as const;
	return given[own[dimension]] === undefined ? size : own[dimension];
}

function dimensionsOf(given: Attributes, tree: TreeName): Dimensions | Fault {
	const leafCount = leafCountOf(given, tree);
	if (typeof leafCount !== 'number') {
		return leafCount;
	}

	const degree = given[`${tree}_degree`] ?? defaults[tree].degree;
	const maxLevel = given[`${tree}_max_level`] ?? maxLevelFor({leafCount, degree}, tree);
	const dimensions = {leafCount, degree, maxLevel};
	const fault = dimensionsFault(dimensions, tree === 'ft');
	return fault === undefined
		? dimensions
		: {
				attribute: attributeOf(given, tree, fault.dimension),
				text: `${tree === 'ft' ? 'free tree' : 'virtual block device'}: ${fault.text}`,
			};
}

/** A pool that could not even replace one branch, or whose meta tree runs dry at once, is no use. */
function poolFault(given: Attributes, virtualBlockDevice: Dimensions, freeTree: Dimensions): Fault | undefined {
	const min = Math.max(2 * (virtualBlockDevice.maxLevel + 1), 2 * innerBlockCount(freeTree));
	return freeTree.leafCount >= min
		? undefined
		: {
				attribute: attributeOf(given, 'ft', 'leafCount'),
				text: `the free tree has ${freeTree.leafCount} leaves, with these dimensions it needs at least ${min}`,
			};
}

/** The log says in clear what it changes, and the original's containers have none. */
function flushLogOf(
	{cipher, inner_blocks: form, flush_log_blocks: given}: Attributes,
	{leafCount}: Dimensions,
): number | Fault {
	if (cipher === 'aes-256-cbc-essiv') {
		return given
			? {
					attribute: 'flush_log_blocks',
					text: "a container with cipher aes-256-cbc-essiv is the original's and has no flush log; choose another cipher or leave it out",
				}
			: 0;
	}

	if (form === 'encrypted') {
		return given
			? {
					attribute: 'flush_log_blocks',
					text: 'a container with encrypted inner blocks has no flush log, which would show what they hide; leave one of the two out',
				}
			: 0;
	}

	return given ?? Math.min(flushLogBlockCountDefault, Math.floor(leafCount / leavesPerLogBlock));
}

/** The original cannot read encrypted inner blocks, and where nothing is encrypted there is no key. */
function innerBlocksFault({cipher, inner_blocks: form}: Attributes): Fault | undefined {
	return form === 'encrypted' && (cipher === 'none' || cipher === 'aes-256-cbc-essiv')
		? {
				attribute: 'inner_blocks',
				text: `inner blocks cannot be encrypted with cipher ${cipher}; choose aes-256-xts or aes-256-gcm`,
			}
		: undefined;
}

/** The original's containers have no snapshot directory. */
function canNameSnapshots({cipher}: Attributes): boolean {
	return cipher !== 'aes-256-cbc-essiv';
}

function isFault(value: Dimensions | number | Fault): value is Fault {
	return typeof value === 'object' && 'attribute' in value;
}

/**
 * Attributes of cbe_init's `<config>` and of superblock_control's `<create>`. Sizes may be given in leaves (blocks of
 * 4096 bytes) or bytes (`vbd_size="1G"`).
 */
export const ContainerDimensions = attributes.transform((given, context): ContainerDimensions => {
	const virtualBlockDevice = dimensionsOf(given, 'vbd');
	const freeTree = dimensionsOf(given, 'ft');
	const faults = [virtualBlockDevice, freeTree].filter(isFault);
	if (!isFault(virtualBlockDevice) && !isFault(freeTree)) {
		const flushLog = flushLogOf(given, virtualBlockDevice);
		const fault =
			poolFault(given, virtualBlockDevice, freeTree) ??
			innerBlocksFault(given) ??
			(isFault(flushLog) ? flushLog : undefined);
		if (fault === undefined && !isFault(flushLog)) {
			return {
				virtualBlockDevice,
				freeTree,
				cipher: given.cipher,
				flushLogBlockCount: flushLog,
				...(canNameSnapshots(given) && {namesSnapshots: true}),
				...(given.inner_blocks === 'encrypted' && {innerBlocks: 'encrypted'}),
			};
		}

		faults.push(...(fault ? [fault] : []));
	}

	for (const {attribute, text} of faults) {
		context.addIssue({code: 'custom', message: text, path: [attribute]});
	}

	return z.NEVER;
});
