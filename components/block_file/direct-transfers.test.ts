import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {startComponent, temporaryDirectory} from '../../test/support/component-stand.js';
import {block, blockSize} from '../sessions/block.js';
import blockFile from './component.js';
import {openDirect} from './direct-transfers.js';
import {openPageCache} from './page-cache.js';

const blockCount = 600;

/** A device past the page cache, or why there is none where tests run. */
async function openDevice(stateDirectory: string) {
	try {
		const {running, client} = await startComponent(blockFile, {
			stateDirectory,
			config: {path: 'image', create: 'yes', size: String(blockCount * blockSize), direct: 'yes'},
		});
		return {device: client(block), stop: running.stop!};
	} catch (error) {
		return (error as Error).message;
	}
}

test('what was written past the page cache is read, and the page cache holds none of it', async t => {
	const directory = temporaryDirectory();
	const opened = await openDevice(directory);
	if (typeof opened === 'string') {
		t.regex(opened, /does not know transfers past the page cache; take direct="yes" away/);
		return;
	}

	const {device, stop} = opened;
	const written = Buffer.alloc(80 * blockSize);
	for (let i = 0; i < 80; i++) {
		written.fill(i + 1, i * blockSize, (i + 1) * blockSize);
	}

	await device.write({extents: [500, 70, 3, 10], data: written});
	await device.sync({});
	const data = Buffer.alloc(80 * blockSize);
	await device.read({extents: [500, 70, 3, 10], data});
	t.true(data.equals(written));
	const all = await Promise.all(
		Array.from({length: 64}, async (_, i) => {
			const one = Buffer.alloc(blockSize);
			await device.read({extents: [500 + i, 1], data: one});
			return one[0];
		}),
	);
	t.deepEqual(
		all,
		Array.from({length: 64}, (_, i) => i + 1),
	);
	const fd = fs.openSync(join(directory, 'image'), 'r');
	const isMemory = fs.statfsSync(directory).type === 0x0102_1994;
	t.true(isMemory || openPageCache().read(fd, data, 0, blockSize, 500 * blockSize) < 0);
	fs.closeSync(fd);
	fs.truncateSync(join(directory, 'image'), 501 * blockSize);
	await t.throwsAsync(device.read({extents: [3, 1, 500, 2], data: Buffer.alloc(3 * blockSize)}), {
		code: 'device_failed',
		message: /truncated from outside/,
	});
	await stop();
});

test('a file system that does not know it is named with what to do', t => {
	const fd = fs.openSync('/proc/self/stat', 'r');
	t.throws(() => openDirect(fd, '/proc/self/stat', false), {
		name: 'DirectUnknownError',
		message: /^the file system of \/proc\/self\/stat does not know .*; take direct="yes" away, or move the image$/,
	});
	fs.closeSync(fd);
});
