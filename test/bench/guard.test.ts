/**
 * Guards speed without a quiet machine: counts that do not depend on time, and wide bounds on ratios to a calibration.
 */
import test from 'ava';
import {blockSize} from '../../components/sessions/block.js';
import {temporaryDirectory} from '../support/component-stand.js';
import {allocatedBytes} from './allocation-count.js';
import {copiedBytes} from './copy-count.js';
import {countLoad, fillRange, runLoad, type CountedLoad, type Counts} from './counted-load.js';
import {cipherSpeed} from './limit.js';
import type {LocalDevice, Medium} from './local-device.js';
import {makeOriginalDevice} from './original-load.js';
import {transferCalls} from './transfer-count.js';

async function withFilledDevice<T>(use: (device: LocalDevice) => Promise<T>, medium: Medium = 'block_ram'): Promise<T> {
	// Counts must not depend on time: no look at the pool now and then falls into them.
	const device = await makeOriginalDevice(temporaryDirectory(), {now: () => 0, medium});
	try {
		await fillRange(device);
		return await use(device);
	} finally {
		await device.stop();
	}
}

interface Case extends CountedLoad {
	readonly title: string;
	/** Most that is allowed. A change that needs more is slower on every machine. */
	readonly bounds: Counts;
	/** Most system calls of block_file a MiB, where one extent takes several; else as many as extents. */
	readonly callsPerMiB?: number;
}

const random = {order: 'random', blockCount: 1, requestCount: 1024} as const;
const sequential = {order: 'sequential', blockCount: 256, requestCount: 64, depth: 4} as const;

/** Where every block of a random read lies for itself: 256 blocks a MiB. */
const scattered = 256;

const cases: readonly Case[] = [
	{
		...random,
		title: '4 KiB random read, depth 1',
		direction: 'read',
		depth: 1,
		bounds: {messagesPerRequest: 8, mediumExtentsPerMiB: scattered, amplification: 1},
	},
	{
		...random,
		title: '4 KiB random read, depth 32',
		direction: 'read',
		depth: 32,
		bounds: {messagesPerRequest: 4.2, mediumExtentsPerMiB: scattered, amplification: 1},
	},
	{
		...random,
		title: '4 KiB random write, depth 1',
		direction: 'write',
		depth: 1,
		bounds: {messagesPerRequest: 8.2, mediumExtentsPerMiB: 270, amplification: 1.05},
	},
	{
		...random,
		title: '4 KiB random write, depth 32',
		direction: 'write',
		depth: 32,
		bounds: {messagesPerRequest: 4.3, mediumExtentsPerMiB: 16, amplification: 1.05},
	},
	{
		...random,
		title: '4 KiB random write + flush, depth 1',
		direction: 'write',
		depth: 1,
		requestCount: 128,
		flushes: true,
		bounds: {messagesPerRequest: 16.3, mediumExtentsPerMiB: 540, amplification: 2.1},
	},
	{
		...sequential,
		title: '1 MiB sequential read, depth 4',
		direction: 'read',
		bounds: {messagesPerRequest: 8, mediumExtentsPerMiB: 8, amplification: 1},
	},
	{
		...sequential,
		title: '1 MiB sequential write, depth 4',
		direction: 'write',
		bounds: {messagesPerRequest: 9, mediumExtentsPerMiB: 4, amplification: 1.02},
		callsPerMiB: 16,
	},
];

for (const {title, bounds, ...load} of cases) {
	test.serial(`counts: ${title}`, async t => {
		const counts = await withFilledDevice(async device => countLoad(device, load));
		t.log(JSON.stringify(counts));
		t.true(
			counts.messagesPerRequest <= bounds.messagesPerRequest,
			`${counts.messagesPerRequest} messages a request`,
		);
		t.true(
			counts.mediumExtentsPerMiB <= bounds.mediumExtentsPerMiB,
			`${counts.mediumExtentsPerMiB} pieces of the medium a MiB`,
		);
		t.true(counts.amplification <= bounds.amplification, `${counts.amplification} medium bytes for a byte`);
		// No data comes from or goes anywhere but the medium, so fewer bytes would mean that the counting is broken.
		t.true(counts.amplification >= 1);
	});
}

for (const {title, bounds, callsPerMiB = bounds.mediumExtentsPerMiB, ...load} of cases.filter(
	({flushes}) => !flushes,
)) {
	test.serial(`system calls with block_file: ${title}`, async t => {
		const perMiB = await withFilledDevice(async device => {
			const client = device.connect();
			const count = await transferCalls(device, async () => runLoad(client, load));
			return (count / (load.requestCount * load.blockCount * blockSize)) * 2 ** 20;
		}, 'block_file');
		t.log(perMiB.toFixed(1));
		t.true(perMiB <= callsPerMiB, `${perMiB} system calls a MiB`);
		// As many pieces as the load asks for at the least: else the counting is broken.
		t.true(perMiB >= 1);
	});
}

/**
 * Bytes of the JavaScript heap that a request takes at the most. What the compiler makes of the code decides about some
 * of it, so the bounds leave a quarter of room.
 */
const allocationBounds = [20_000, 6500, 32_000, 14_000, 67_000, 120_000, 240_000];

test.serial('heap that a request takes', async t => {
	const counted = await allocatedBytes(cases);
	for (const [i, byteLength] of counted.entries()) {
		const {title} = cases[i];
		t.log(`${title}: ${byteLength.toFixed(0)}`);
		t.true(byteLength > 0 && byteLength <= allocationBounds[i], `${title}: ${byteLength} bytes`);
	}
});

/** Passes of a load of which the best counts: whoever else uses the machine only makes it slower. */
const passCount = 2;
const calibrationMs = 200;

/** A fraction of what the device reaches, so that only a change of kind falls below it. */
const speedBounds = [
	{
		title: '4 KiB random read, depth 32',
		load: {...random, direction: 'read', depth: 32},
		direction: 'open',
		shareMin: 0.04,
	},
	{
		title: '4 KiB random write, depth 32',
		load: {...random, direction: 'write', depth: 32},
		direction: 'seal',
		shareMin: 0.02,
	},
	{
		title: '1 MiB sequential read, depth 4',
		load: {...sequential, direction: 'read'},
		direction: 'open',
		shareMin: 0.06,
	},
	{
		title: '1 MiB sequential write, depth 4',
		load: {...sequential, direction: 'write'},
		direction: 'seal',
		shareMin: 0.05,
	},
] as const;

async function bestSpeed(device: LocalDevice, load: CountedLoad): Promise<number> {
	const byteLength = load.requestCount * load.blockCount * blockSize;
	let bestMs = Number.POSITIVE_INFINITY;
	for (let pass = 0; pass < passCount; pass++) {
		const startedMs = performance.now();
		await countLoad(device, load);
		bestMs = Math.min(bestMs, performance.now() - startedMs);
	}

	return (byteLength / bestMs) * 1000;
}

for (const {title, load, direction, shareMin} of speedBounds) {
	test.serial(`share of the cipher's speed: ${title}`, async t => {
		const speed = await withFilledDevice(async device => bestSpeed(device, load));
		const share = speed / (await cipherSpeed(1, {direction, cipher: 'aes-256-xts', milliseconds: calibrationMs}));
		t.log(share.toFixed(2));
		t.true(share >= shareMin, `${(share * 100).toFixed(1)} % of what cipher and label alone reach`);
	});
}

/**
 * One copy between the device's buffers and its medium in memory is the medium's own work; the data path makes no
 * other. Writes are counted with a checkpoint, which copies inner blocks.
 */
for (const [direction, copiesMax] of [
	['read', 1.001],
	['write', 1.3],
] as const) {
	for (const [title, load] of [
		['4 KiB, depth 32', {...random, depth: 32}],
		['1 MiB, depth 4', sequential],
	] as const) {
		test.serial(`copies of a block: ${direction}, ${title}`, async t => {
			const copied = await withFilledDevice(async device =>
				copiedBytes(async () => countLoad(device, {...load, direction})),
			);
			const perByte = copied / (load.requestCount * load.blockCount * blockSize);
			t.log(perByte.toFixed(3));
			t.true(perByte >= 0.999 && perByte <= copiesMax, `${perByte} copies`);
		});
	}
}
