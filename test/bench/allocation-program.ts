/** Counts for `allocatedBytes`, which starts it. */
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {PerformanceObserver} from 'node:perf_hooks';
import {getHeapStatistics} from 'node:v8';
import {countLoad, fillRange, runLoad, type CountedLoad} from './counted-load.js';
import {makeOriginalDevice} from './original-load.js';

/** Passes until the compiler has optimized what it will. */
const warmUpPassCount = 6;
/** Passes of which the least counts: the compiler allocates, too. */
const passCount = 3;
/** A pass counts only where nothing was collected meanwhile. */
const attemptMax = 12;

const collections = new PerformanceObserver(() => undefined);
collections.observe({entryTypes: ['gc']});

/** Undefined where something was collected meanwhile. */
async function bytesOf(load: CountedLoad, run: () => Promise<unknown>): Promise<number | undefined> {
	globalThis.gc!();
	collections.takeRecords();
	const before = getHeapStatistics().used_heap_size;
	await run();
	const grown = getHeapStatistics().used_heap_size - before;
	return collections.takeRecords().length > 0 ? undefined : grown / load.requestCount;
}

async function measure(load: CountedLoad): Promise<number> {
	const directory = mkdtempSync(join(tmpdir(), 'cbe-allocation-'));
	const device = await makeOriginalDevice(directory, {now: () => 0});
	try {
		await fillRange(device);
		for (let pass = 0; pass < warmUpPassCount; pass++) {
			await countLoad(device, load);
		}

		const client = device.connect();
		const counted: number[] = [];
		for (let attempt = 0; attempt < attemptMax && counted.length < passCount; attempt++) {
			const byteLength = await bytesOf(load, async () => runLoad(client, load));
			if (byteLength !== undefined) {
				counted.push(byteLength);
			}

			await client.sync({});
		}

		if (counted.length === 0) {
			throw new Error('something was collected in each pass: the young generation is too small for this load');
		}

		return Math.min(...counted);
	} finally {
		await device.stop();
		rmSync(directory, {recursive: true});
	}
}

const results: number[] = [];
for (const load of JSON.parse(process.argv[2]) as CountedLoad[]) {
	results.push(await measure(load));
}

process.stdout.write(JSON.stringify(results));
