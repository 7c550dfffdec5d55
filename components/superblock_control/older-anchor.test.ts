/** A trust anchor that is older than the image, and what a crash leaves that looks like one. */
import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {SessionError} from '../../runtime/sdk/session.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {crash, filled, imageOf, openDevice} from '../../test/support/device-stand.js';
import {addressesOf, filteredMedium} from '../../test/support/filtered-medium.js';
import {blockSize} from '../sessions/block.js';

type Device = Awaited<ReturnType<typeof openDevice>>;

async function write(device: Device, value: number): Promise<void> {
	await device.device.write({extents: [3, 1], data: filled(1, value)});
	await device.device.sync({});
}

async function valueOf({device}: Device): Promise<number> {
	const data = filled(1, 0);
	await device.read({extents: [3, 1], data});
	return data[0];
}

/** The image of one crash with the anchor of another. */
function combined({image, anchor}: {image: string; anchor: string}): string {
	const state = crash(image);
	fs.rmSync(join(state, 'anchor'), {recursive: true});
	fs.cpSync(join(anchor, 'anchor'), join(state, 'anchor'), {recursive: true});
	return state;
}

/** Opens and replies with what is found, or with why it is refused. */
async function found(state: string): Promise<number | string> {
	let device;
	try {
		device = await openDevice(state);
	} catch (error) {
		return error instanceof Error ? error.message : String(error);
	}

	const value = await valueOf(device);
	// What was found stays, with everything that comes after it.
	await write(device, 99);
	await device.stop();
	const again = await openDevice(state);
	const last = await valueOf(again);
	await again.stop();
	return last === 99 ? value : `then ${last}`;
}

/** A medium that calls `onWrite` before each write. */
function filterOf(onWrite: (request: {readonly extents: readonly number[]; readonly data: Uint8Array}) => void) {
	return filteredMedium(below => ({
		async write(request) {
			onWrite(request);
			return below.write(request);
		},
	}));
}

const older =
	/the trust anchor is an older copy than the image: .*generation \d+, the trust anchor knows generation \d+; nothing was changed: put the newest trust anchor back/;

for (const ahead of [1, 2, 5, 12]) {
	test(`an anchor that is ${ahead} superblocks older is refused, and nothing is lost`, async t => {
		const state = temporaryDirectory();
		const first = await openDevice(state);
		await write(first, 1);
		await first.stop();
		const before = crash(state);
		for (let i = 0; i < ahead; i++) {
			const device = await openDevice(state);
			await write(device, 2 + i);
			await device.stop();
		}

		const mixed = combined({image: state, anchor: before});
		const image = imageOf(mixed);
		t.regex(String(await found(mixed)), older);
		t.true(image.equals(imageOf(mixed)));
		t.is(await found(combined({image: mixed, anchor: state})), 1 + ahead);
	});
}

test('one flush ahead is taken over where all of it is there, two are an older anchor', async t => {
	const state = temporaryDirectory();
	const device = await openDevice(state);
	await write(device, 1);
	const states = [crash(state)];
	for (const value of [2, 3]) {
		await write(device, value);
		states.push(crash(state));
	}

	await device.stop();
	const [one, two, three] = states;
	t.is(await found(combined({image: two, anchor: one})), 2);
	t.is(await found(combined({image: three, anchor: two})), 3);
	t.regex(
		String(await found(combined({image: three, anchor: one}))),
		/older copy than the image: the flush log holds 2 flushes that the anchor does not know/,
	);
	t.is(await found(crash(three)), 3);
});

test('until the anchor knows a flush that is taken over, the place that the log before it names stays as it is', async t => {
	const state = temporaryDirectory();
	const device = await openDevice(state);
	await write(device, 1);
	await device.stop();
	const again = await openDevice(state);
	await write(again, 2);
	const before = crash(state);
	await write(again, 3);
	const mixed = combined({image: crash(state), anchor: before});
	await again.stop();
	const image = imageOf(mixed);
	const record = () => fs.readFileSync(join(mixed, 'anchor', 'newest_superblock'));
	const known = record();
	const overwritten: number[] = [];
	let rewrittenCount = 0;
	const watch = filterOf(({extents, data}) => {
		for (const [i, address] of addressesOf(extents).entries()) {
			if (record().equals(known)) {
				rewrittenCount++;
				if (
					!image
						.subarray(address * blockSize, (address + 1) * blockSize)
						.equals(data.subarray(i * blockSize, (i + 1) * blockSize))
				) {
					overwritten.push(address);
				}
			}
		}
	});
	const opened = await openDevice(mixed, {filter: watch});
	t.deepEqual(overwritten, []);
	// The data and the log's entry.
	t.is(rewrittenCount, 2);
	t.is(await valueOf(opened), 3);
	t.true(opened.texts().includes('took over 2 entries of the flush log'));
	await opened.stop();
});

test('a device that cannot write on a full host reads what the next start takes over', async t => {
	const state = temporaryDirectory();
	const device = await openDevice(state);
	await write(device, 1);
	const before = crash(state);
	await write(device, 2);
	const mixed = combined({image: crash(state), anchor: before});
	await device.stop();
	const image = imageOf(mixed);
	const opened = await openDevice(mixed, {
		filter: filterOf(() => {
			throw new SessionError('no_space', 'full');
		}),
	});
	t.false((await opened.device.geometry({})).writable);
	t.is(await valueOf(opened), 2);
	await opened.stop();
	t.true(image.equals(imageOf(mixed)));
	t.is(await found(mixed), 2);
});

test('a flush ahead whose data did not arrive is given up, as nobody was told of it', async t => {
	const state = temporaryDirectory();
	const device = await openDevice(state);
	await write(device, 1);
	const before = crash(state);
	await write(device, 2);
	const cut = combined({image: crash(state), anchor: before});
	await device.stop();
	const [old, image] = [imageOf(before), imageOf(cut)];
	for (let address = 8; address < image.length / blockSize; address++) {
		const block = image.subarray(address * blockSize, (address + 1) * blockSize);
		if (block.toString('latin1', 0, 7) !== 'CBE log') {
			block.set(old.subarray(address * blockSize, (address + 1) * blockSize));
		}
	}

	fs.writeFileSync(join(cut, 'image'), image);
	t.is(await found(cut), 1);
});

test('nobody who can write to the image alone locks the owner out', async t => {
	const state = temporaryDirectory();
	const device = await openDevice(state);
	await write(device, 1);
	await device.control.create_snapshot({});
	await write(device, 2);
	await device.stop();
	const image = imageOf(state);
	const slots = [0, 1, 2, 3]
		.map(slot => image.subarray(slot * blockSize, (slot + 1) * blockSize))
		.filter(slot => slot[0] !== 0);
	const [newest] = slots.sort((a, b) => Number(b.readBigUInt64LE(3553) - a.readBigUInt64LE(3553)));
	for (const change of [
		(forged: Buffer) => forged.writeBigUInt64LE(1000n, 3553),
		// As if it were one of a version that carries no authenticator.
		(forged: Buffer) => {
			forged.writeBigUInt64LE(1000n, 3553);
			forged.writeUInt32LE(1, 3721);
			forged.fill(0, 4064);
		},
	]) {
		const attacked = crash(state);
		const forged = Buffer.from(newest);
		change(forged);
		const bytes = imageOf(attacked);
		bytes.set(forged, 7 * blockSize);
		fs.writeFileSync(join(attacked, 'image'), bytes);
		t.is(await found(attacked), 2);
	}
});
