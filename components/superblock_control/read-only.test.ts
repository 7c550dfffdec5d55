/**
 * A medium that is read-only, and a host without any room: the device opens with all that was flushed, and is only
 * read.
 */
import test from 'ava';
import {SessionError} from '../../runtime/sdk/session.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {crash, filled, imageOf, openDevice as openStand} from '../../test/support/device-stand.js';
import {filteredMedium} from '../../test/support/filtered-medium.js';

/** What the medium does not do now. */
const medium: {refuses: 'nothing' | 'writes' | 'room'} = {refuses: 'nothing'};

function requireRoom(): void {
	if (medium.refuses !== 'nothing') {
		throw new SessionError(medium.refuses === 'room' ? 'no_space' : 'read_only', 'not on this medium');
	}
}

const restricted = filteredMedium(below => ({
	geometry: async request => ({...(await below.geometry(request)), writable: medium.refuses !== 'writes'}),
	async write(request) {
		requireRoom();
		return below.write(request);
	},
	async allocate(request) {
		requireRoom();
		return below.allocate(request);
	},
}));

const openDevice = async (stateDirectory: string) => openStand(stateDirectory, {filter: restricted});

for (const refuses of ['writes', 'room'] as const) {
	test.serial(
		`where the medium takes no ${refuses} the device is only read, with what waits in the flush log`,
		async t => {
			medium.refuses = 'nothing';
			const state = temporaryDirectory();
			const first = await openDevice(state);
			await first.device.write({extents: [5, 2], data: filled(2, 1)});
			await first.control.create_snapshot({});
			await first.device.write({extents: [6, 2], data: filled(2, 2)});
			await first.device.sync({});
			const remains = crash(state);
			await first.stop();

			medium.refuses = refuses;
			const opened = await openDevice(remains);
			const before = imageOf(remains);
			t.false((await opened.device.geometry({})).writable);
			const data = filled(4, 9);
			await opened.device.read({extents: [5, 4], data});
			t.deepEqual(data, Buffer.concat([filled(1, 1), filled(2, 2), filled(1, 0)]));
			await t.throwsAsync(opened.device.write({extents: [5, 1], data: filled(1, 3)}), {
				code: 'read_only',
				message: /can only be read/,
			});
			await t.throwsAsync(opened.device.clear({extents: [5, 1]}), {code: 'read_only'});
			await opened.device.sync({});
			await t.throwsAsync(opened.control.create_snapshot({}), {code: 'refused', message: /can only be read/});
			await t.throwsAsync(opened.control.rekey({}), {code: 'refused'});
			await t.throwsAsync(opened.control.extend({tree: 'ft', blockCount: 10}), {code: 'refused'});
			t.regex(
				(await opened.control.status({})).readOnly ?? '',
				refuses === 'room' ? /make room there and start again/ : /the medium is read-only/,
			);
			await opened.stop();
			t.true(imageOf(remains).equals(before));
			t.deepEqual(opened.bugs, []);

			medium.refuses = 'nothing';
			const again = await openDevice(remains);
			await again.device.read({extents: [5, 4], data});
			t.deepEqual(data, Buffer.concat([filled(1, 1), filled(2, 2), filled(1, 0)]));
			await again.device.write({extents: [5, 1], data: filled(1, 3)});
			await again.stop();
			t.deepEqual([...again.errors(), ...again.bugs], []);
		},
	);
}
