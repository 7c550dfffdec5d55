/**
 * Writes that the medium refuses in the middle: each block has its old or its new content, and the next flush is right.
 */
import test from 'ava';
import {SessionError} from '../../runtime/sdk/session.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {crash, filled, openDevice as openStand} from '../../test/support/device-stand.js';
import {addressesOf, filteredMedium} from '../../test/support/filtered-medium.js';
import {blockSize} from '../sessions/block.js';

interface Failure {
	readonly code: 'no_space' | 'device_failed';
	/** Bytes of the write that have arrived. */
	readonly writtenByteLength: number;
	/** How many writes in a row fail. */
	times: number;
	/** Only writes of this block, where it is given. */
	readonly pba?: number;
}

/** What happens to the next writes of more than the trees need. */
const medium: {failure: Failure | undefined; lastPba: number} = {failure: undefined, lastPba: -1};

const refusing = filteredMedium(below => ({
	async write({extents, data}) {
		const {failure} = medium;
		[medium.lastPba] = extents;
		const addresses = addressesOf(extents);
		if (!failure || failure.times <= 0 || (failure.pba !== undefined && !addresses.includes(failure.pba))) {
			return below.write({extents, data});
		}

		failure.times--;
		for (const [i, pba] of addresses.entries()) {
			const left = failure.writtenByteLength - i * blockSize;
			if (left > 0) {
				const content = Buffer.alloc(blockSize);
				await below.read({extents: [pba, 1], data: content});
				content.set(data.subarray(i * blockSize, i * blockSize + Math.min(left, blockSize)));
				await below.write({extents: [pba, 1], data: content});
			}
		}

		throw new SessionError(failure.code, 'refused in the middle');
	},
}));

const openDevice = async (stateDirectory: string, flushLogBlocks = '8') =>
	openStand(stateDirectory, {filter: refusing, shape: {flush_log_blocks: flushLogBlocks}});
type Stand = Awaited<ReturnType<typeof openDevice>>;

async function contentOf({device}: Stand, vba: number): Promise<number> {
	const data = filled(1, 0xee);
	await device.read({extents: [vba, 1], data});
	return data.every(byte => byte === data[0]) ? data[0] : -1;
}

test.beforeEach(() => {
	medium.failure = undefined;
});

const failures = (['no_space', 'device_failed'] as const).flatMap(code =>
	[0, 100, 4096, 6144, 32 * blockSize].map(writtenByteLength => ({code, writtenByteLength})),
);
for (const {code, writtenByteLength} of failures) {
	for (const flushLogBlocks of ['0', '8']) {
		test.serial(
			`${code} after ${writtenByteLength} bytes, ${flushLogBlocks === '0' ? 'no' : 'a'} flush log: blocks that were acknowledged before stay readable`,
			async t => {
				const state = temporaryDirectory();
				const stand = await openDevice(state, flushLogBlocks);
				await stand.device.write({extents: [0, 1], data: filled(1, 9)});
				await stand.device.sync({});
				await stand.device.write({extents: [100, 3], data: filled(3, 1)});
				// The request fails, and so does each attempt to put things right.
				medium.failure = {code, writtenByteLength, times: 6};
				await t.throwsAsync(stand.device.write({extents: [99, 32], data: filled(32, 2)}), {code});
				const seen = new Map<number, number>();
				for (const vba of [99, 100, 101, 102, 103]) {
					seen.set(vba, await contentOf(stand, vba));
					t.true(
						[vba >= 100 && vba < 103 ? 1 : 0, 2].includes(seen.get(vba)!),
						`block ${vba} reads ${seen.get(vba)}`,
					);
				}

				medium.failure.times = 2;
				await stand.device.sync({}).catch((error: unknown) => {
					t.is((error as SessionError).code, code);
				});
				medium.failure = undefined;
				await stand.device.sync({});
				const remains = crash(state);
				await stand.stop();
				for (const directory of [remains, state]) {
					const again = await openDevice(directory, flushLogBlocks);
					for (const [vba, content] of seen) {
						t.is(await contentOf(again, vba), content);
					}

					t.is(await contentOf(again, 0), 9);
					await again.stop();
					t.deepEqual(again.errors(), []);
				}

				t.deepEqual([...stand.errors(), ...stand.bugs], []);
			},
		);
	}
}

test.serial('a block in a place that the medium does not write any more moves to another one', async t => {
	const state = temporaryDirectory();
	const stand = await openDevice(state);
	await stand.device.write({extents: [100, 1], data: filled(1, 1)});
	medium.failure = {code: 'device_failed', writtenByteLength: 100, times: Infinity, pba: medium.lastPba};
	await t.throwsAsync(stand.device.write({extents: [100, 1], data: filled(1, 2)}), {code: 'device_failed'});
	t.is(await contentOf(stand, 100), 2);
	await stand.device.write({extents: [200, 1], data: filled(1, 3)});
	await stand.device.sync({});
	await stand.device.write({extents: [100, 1], data: filled(1, 4)});
	await stand.device.sync({});
	const again = await openDevice(crash(state));
	t.deepEqual([await contentOf(again, 100), await contentOf(again, 200)], [4, 3]);
	await again.stop();
	await stand.stop();
	t.deepEqual([...stand.errors(), ...again.errors(), ...stand.bugs], []);
});

test.serial('a cleared block is of no interest any more, whatever a failed write has left there', async t => {
	const stand = await openDevice(temporaryDirectory());
	await stand.device.write({extents: [100, 2], data: filled(2, 1)});
	medium.failure = {code: 'no_space', writtenByteLength: 100, times: Infinity};
	await t.throwsAsync(stand.device.write({extents: [100, 2], data: filled(2, 2)}), {code: 'no_space'});
	await stand.device.clear({extents: [100, 2]});
	t.is(await contentOf(stand, 100), 0);
	medium.failure = undefined;
	await stand.device.sync({});
	t.is(await contentOf(stand, 101), 0);
	await stand.stop();
	t.deepEqual([...stand.errors(), ...stand.bugs], []);
});
