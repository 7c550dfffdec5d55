/** What one history is made of: the container's shape, the sizes around it, and what goes on at the same time. */
import {ContainerDimensions} from '../../components/lib/format/dimensions-config.js';
import {cryptoNames, type CryptoName} from './crypto-kind.js';
import type {Random} from './random.js';
import {scripts, type Script} from './script.js';

export const historyKinds = [
	/** The power fails at every change of medium or anchor, one future after the other. */
	'crash_points',
	/** The same while the container is being created. */
	'creation',
	/** A long history with crashes at random points, one after the other. */
	'long',
	/** The medium and the anchor fail now and then. */
	'faults',
	/** The host has no room any more, at any step; the device goes on, stops and opens all the same. */
	'full_host',
	'restarts',
	/** Bits of a secured image are flipped. */
	'flips',
	/** Blocks of a secured image are damaged, and met by every operation. */
	'damage',
	/** A script, with the power failing at every change. */
	'scripted',
	/** The same with snapshots, rekeying and extension at random. */
	'operations',
	/** Long histories with all of it, and crashes at random points. */
	'long_operations',
] as const;

export type HistoryKind = (typeof historyKinds)[number];

export interface Plan {
	readonly kind: HistoryKind;
	/**
	 * True where an earlier program has made the container: of version 1, or with the original's cipher of the
	 * original.
	 */
	readonly isOld: boolean;
	/** Attributes of `<create>`; an old container has the same. */
	readonly create: Readonly<Record<string, string>>;
	readonly leafCount: number;
	readonly poolLeafCount: number;
	readonly frameCount: number;
	readonly leaseLimit: number;
	readonly copies: boolean;
	readonly crypto: CryptoName;
	/** Clients that do one thing after another, all at the same time. */
	readonly clientCount: number;
	/** Operations of each client between two crashes. */
	readonly operationCount: number;
	/** Most blocks of one request. */
	readonly requestBlockCountMax: number;
	/** Distinct contents; few let a block come back to an earlier one. */
	readonly stampCount: number;
	/** Of a hundred operations, how many flush. */
	readonly flushPercent: number;
	/** Of a hundred operations, how many change the container as a whole. */
	readonly controlPercent: number;
	/** Of a hundred operations, how many lock the device and unlock it again. */
	readonly lockPercent: number;
	/** True where the trust anchor comes back locked after a crash, as one with passphrases does. */
	readonly locksAtStart: boolean;
	readonly snapshotCountMax: number;
	/** How long each step takes on the simulated clock. */
	readonly stepMs: number;
	/** Most blocks of one step of a rekeying, and most lowest blocks of one step of an extension. */
	readonly operationStep: number;
	readonly script: Script | undefined;
}

interface Bounds {
	readonly leafCountMax: number;
	readonly poolLeafCountMax: number;
	readonly operationCountMax: number;
}

const bounds: Readonly<Record<HistoryKind, Bounds>> = {
	crash_points: {leafCountMax: 48, poolLeafCountMax: 64, operationCountMax: 8},
	creation: {leafCountMax: 64, poolLeafCountMax: 64, operationCountMax: 2},
	long: {leafCountMax: 700, poolLeafCountMax: 1200, operationCountMax: 60},
	faults: {leafCountMax: 200, poolLeafCountMax: 400, operationCountMax: 40},
	full_host: {leafCountMax: 60, poolLeafCountMax: 160, operationCountMax: 30},
	restarts: {leafCountMax: 48, poolLeafCountMax: 64, operationCountMax: 2},
	flips: {leafCountMax: 40, poolLeafCountMax: 48, operationCountMax: 15},
	damage: {leafCountMax: 40, poolLeafCountMax: 300, operationCountMax: 10},
	scripted: {leafCountMax: 16, poolLeafCountMax: 64, operationCountMax: 3},
	operations: {leafCountMax: 24, poolLeafCountMax: 64, operationCountMax: 6},
	long_operations: {leafCountMax: 60, poolLeafCountMax: 160, operationCountMax: 40},
};

/** Large enough that inner blocks are evicted all the time: more of them than the cache has frames. */
const wideShape = {
	vbd_leaves: '6000',
	vbd_degree: '8',
	vbd_max_level: '5',
	ft_leaves: '5000',
	ft_degree: '8',
	ft_max_level: '5',
};

const frameCountMin = 512;
const degrees = [2, 4, 8, 16, 32, 64];

function randomTree(random: Random, leafCountMax: number): {leaves: number; degree: number; maxLevel: number} {
	const degree = random.pick(degrees);
	const maxLevel = random.between(1, 5);
	const leaves = random.between(1, Math.min(leafCountMax, degree ** maxLevel));
	return {leaves, degree, maxLevel};
}

/** Any shape that the configuration accepts; small pools often. */
function randomShape(random: Random, {leafCountMax, poolLeafCountMax}: Bounds): Record<string, string> {
	for (;;) {
		const device = randomTree(random, random.chance(0.5) ? 16 : leafCountMax);
		const pool = randomTree(random, random.chance(0.5) ? 40 : poolLeafCountMax);
		const shape = {
			vbd_leaves: String(device.leaves),
			vbd_degree: String(device.degree),
			vbd_max_level: String(device.maxLevel),
			ft_leaves: String(pool.leaves),
			ft_degree: String(pool.degree),
			ft_max_level: String(pool.maxLevel),
		};
		if (ContainerDimensions.safeParse(shape).success) {
			return shape;
		}
	}
}

const operationKinds: readonly HistoryKind[] = ['scripted', 'operations', 'long_operations', 'full_host', 'restarts'];

function shapeOf({device, pool}: Script): Record<string, string> {
	const [[leaves, degree, maxLevel], [poolLeaves, poolDegree, poolMaxLevel]] = [device, pool];
	return {
		vbd_leaves: String(leaves),
		vbd_degree: String(degree),
		vbd_max_level: String(maxLevel),
		ft_leaves: String(poolLeaves),
		ft_degree: String(poolDegree),
		ft_max_level: String(poolMaxLevel),
	};
}

function randomKind(random: Random): HistoryKind {
	return random.pick([
		'crash_points',
		'creation',
		'long',
		'faults',
		'full_host',
		'full_host',
		'restarts',
		'flips',
		'damage',
		'scripted',
		'scripted',
		'scripted',
		'operations',
		'operations',
		'operations',
		'long_operations',
		'long_operations',
	]);
}

const cipherNames = ['aes-256-xts', 'aes-256-gcm', 'aes-256-cbc-essiv'] as const;

/** What may be chosen for a history; the seed decides the rest. */
export interface PlanOptions {
	readonly kind?: HistoryKind | undefined;
	/** Only the script of this name, where the history is scripted. */
	readonly script?: string | undefined;
	readonly cipher?: (typeof cipherNames)[number] | undefined;
	/** The crypto server. */
	readonly crypto?: CryptoName | undefined;
	/** How inner blocks lie on the medium. */
	readonly innerBlocks?: 'clear' | 'encrypted' | undefined;
	/** Made by the device itself, or by an earlier program. */
	readonly container?: 'new' | 'old' | undefined;
}

/** The choices, by the names of their options on the command line. */
export const planChoices = {
	kind: historyKinds,
	script: scripts.map(({name}) => name),
	cipher: cipherNames,
	crypto: cryptoNames,
	'inner-blocks': ['clear', 'encrypted'],
	container: ['new', 'old'],
} as const;

/** What of it cannot be together. */
export function optionsFault({kind, cipher, innerBlocks, container}: PlanOptions): string | undefined {
	return cipher === 'aes-256-cbc-essiv' && innerBlocks === 'encrypted'
		? 'with aes-256-cbc-essiv inner blocks lie in clear'
		: kind === 'creation' && container === 'old'
			? 'nobody creates old containers any more'
			: undefined;
}

export function randomPlan(random: Random, planOptions: PlanOptions = {}): Plan {
	const {kind = randomKind(random), script: scriptName} = planOptions;
	const bound = bounds[kind];
	const wide = kind === 'long' && random.chance(0.2);
	const script =
		kind === 'scripted'
			? random.pick(scripts.filter(({name}) => scriptName === undefined || name === scriptName))
			: undefined;
	const create = wide ? wideShape : script ? shapeOf(script) : randomShape(random, bound);
	const withOperations = operationKinds.includes(kind);
	const isQuick = random.chance(withOperations ? 0.97 : 0.85);
	const drawnCipher = random.pick(
		cipherNames.filter(name => name !== 'aes-256-cbc-essiv' || planOptions.innerBlocks !== 'encrypted'),
	);
	const cipher = planOptions.cipher ?? drawnCipher;
	const mebibyte = 2 ** 20;
	const isEncrypted = random.chance(0.4);
	const innerBlocks =
		cipher === 'aes-256-cbc-essiv' ? 'clear' : (planOptions.innerBlocks ?? (isEncrypted ? 'encrypted' : 'clear'));
	const isOld = random.chance(0.25);
	return {
		kind,
		isOld: kind !== 'creation' && (planOptions.container === undefined ? isOld : planOptions.container === 'old'),
		create: {
			...create,
			cipher,
			inner_blocks: innerBlocks,
			...(cipher !== 'aes-256-cbc-essiv' &&
				innerBlocks === 'clear' && {flush_log_blocks: random.pick(['0', '1', '3', '64'])}),
		},
		leafCount: Number(create.vbd_leaves),
		poolLeafCount: Number(create.ft_leaves),
		frameCount: wide ? frameCountMin : random.pick([frameCountMin, 2 * frameCountMin]),
		leaseLimit: random.pick([2, 4, 16]) * mebibyte,
		copies: random.chance(0.7),
		// The real ones are slower and change nothing about the order of things.
		crypto: planOptions.crypto ?? (isQuick ? 'quick' : random.chance(0.8) ? 'openssl' : 'noble'),
		clientCount: random.between(1, kind === 'operations' ? 3 : 6),
		operationCount: random.between(2, bound.operationCountMax),
		requestBlockCountMax: random.pick([1, 4, 20, 600]),
		stampCount: random.pick([2, 1_000_000_000]),
		flushPercent: random.pick([2, 10, 40]),
		controlPercent: withOperations ? random.pick([10, 30, 60]) : 0,
		lockPercent: random.pick([0, 0, 5, 20]),
		locksAtStart: random.chance(0.2),
		snapshotCountMax: random.pick([1, 3, 5]),
		stepMs: random.pick([0, 1, 400]),
		operationStep: random.pick([1, 4, 256]),
		script,
	};
}
