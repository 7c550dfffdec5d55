import test from 'ava';
import type {Handlers} from '../../runtime/sdk/session.js';
import {startComponent} from '../../test/support/component-stand.js';
import {type cache as contract} from '../sessions/cache.js';
import cache from './component.js';

test('a size that the RAM quantum has no room for is refused at the start, not at the first request', async t => {
	const leaseLimit = 16 * 2 ** 20;
	await t.throwsAsync(
		startComponent(cache, {config: {size: '474M'}, leaseLimit, environment: {clientCount: () => 2}}),
		{
			name: 'StartError',
			message:
				'size="474M" does not fit its RAM quantum, which leaves 15 MiB for it; make the size smaller or the quantum larger',
		},
	);
	await startComponent(cache, {config: {size: '15M'}, leaseLimit, environment: {clientCount: () => 2}});
	await t.throwsAsync(
		startComponent(cache, {config: {size: '15365K'}, leaseLimit, environment: {clientCount: () => 1}}),
		{message: /^size="16M" does not fit/},
	);
});

test('memory goes to who has use for it, and something is left for each that is still to come', async t => {
	const stand = await startComponent(cache, {
		config: {size: '8M'},
		environment: {clientCount: () => 3},
	});
	const handlers = stand.running.provides.cache as unknown as Handlers<typeof contract>;
	const attach = async (session: number, frameCountMax?: number) => {
		const {memory, frameCount} = await handlers.attach({frameCountMax}, {session, client: String(session)});
		t.is(memory.length, frameCount * 4096);
		return frameCount;
	};

	t.is(await attach(1, 100), 100);
	t.is(await attach(2), 974);
	t.is(await attach(3, 5000), 974);
	// Who asks again has what it had.
	t.is(await attach(1), 100);
	t.is(stand.running.status!().frames_by_client, '100+974+974');
	stand.running.clientGone!('cache', 2);
	t.is(await attach(4, 500), 500);
	// The predecessor of this one has not gone yet.
	t.is(await attach(5), 682);
});
