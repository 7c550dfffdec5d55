import test from 'ava';
import {probe} from '../../test/support/fixtures/probe.js';
import {SessionError, type Client, type Handlers} from '../sdk/session.js';
import {connectLocal, type LocalOptions} from './local.js';

function connect(handlers: Partial<Handlers<typeof probe>>, options: Partial<LocalOptions> = {}) {
	const bugs: unknown[] = [];
	const client: Client<typeof probe> = connectLocal(probe, handlers as Handlers<typeof probe>, {
		context: {session: 4, client: 'client'},
		onBug(error) {
			bugs.push(error);
		},
		...options,
	});
	return {client, bugs};
}

test('payload and regions are handed over as they are', async t => {
	const memory = new Uint8Array(8);
	const data = new Uint8Array(16);
	let seen: Uint8Array | undefined;
	const counted: number[] = [];
	const {client} = connect(
		{
			shared: () => ({memory}),
			async fill(request) {
				seen = request.data;
				return {thread: 0};
			},
		},
		{
			count(byteLength) {
				counted.push(byteLength);
			},
		},
	);
	t.is((await client.shared({})).memory, memory);
	await client.fill({value: 1, data});
	t.is(seen, data);
	t.deepEqual(counted, [0, 16]);
});

test('both ends are checked, and only errors of the contract get through', async t => {
	const {client, bugs} = connect({
		remember: () => ({surprise: 1}),
		refuse() {
			throw new SessionError('odd', 'not even');
		},
		recall() {
			throw new SessionError('foreign', 'of another contract');
		},
	});
	await t.throwsAsync(client.remember({value: 'x' as unknown as number}), {code: 'bad_request'});
	t.is(bugs.length, 0);
	await t.throwsAsync(client.refuse({}), {code: 'odd'});
	t.is(bugs.length, 0);
	await t.throwsAsync(client.remember({value: 1}), {code: 'session_lost'});
	await t.throwsAsync(client.recall({}), {code: 'session_lost'});
	t.is(bugs.length, 2);
});
