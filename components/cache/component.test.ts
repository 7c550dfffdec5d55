import test from 'ava';
import {startComponent} from '../../test/support/component-stand.js';
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
