import test from 'ava';
import {startAssembly} from './assembly.js';
import probeFollower from './fixtures/probe-follower.js';
import probeKeeper from './fixtures/probe-keeper.js';
import probeRelay from './fixtures/probe-relay.js';
import probeServer from './fixtures/probe-server.js';
import {probe} from './fixtures/probe.js';

const chain = [
	{name: 'keeper', component: probeKeeper},
	{name: 'follower', component: probeFollower, routes: {backend: 'keeper'}},
	{name: 'front', component: probeRelay, routes: {backend: 'follower'}},
];

test('calls go through the routes', async t => {
	const assembly = await startAssembly(chain);
	const front = assembly.client('front', probe);
	await front.remember({value: 4});
	t.is((await front.recall({})).value, 4);
	t.deepEqual(assembly.log, [{child: 'keeper', level: 'info', text: 'started'}]);
	await assembly.stop();
	t.is(assembly.log.at(-1)?.text, 'stopped');
});

test('a stateful component comes back with its followers, without their state', async t => {
	const assembly = await startAssembly(chain);
	const front = assembly.client('front', probe);
	await front.remember({value: 4});
	await assembly.restart('keeper');
	t.deepEqual(await front.recall({}), {value: 0, gone: 0, interruptions: ['reset']});
});

test('a request to a stateless server waits for its return', async t => {
	const assembly = await startAssembly([
		{name: 'server', component: probeServer},
		{name: 'front', component: probeRelay, routes: {backend: 'server'}},
	]);
	const front = assembly.client('front', probe);
	await front.remember({value: 4});
	assembly.kill('server');
	const recalled = front.recall({});
	await assembly.restart('server');
	t.deepEqual(await recalled, {value: 0, gone: 0, interruptions: ['restarted']});
});

test('a bug kills its component and is kept for the test', async t => {
	const assembly = await startAssembly(chain);
	await t.throwsAsync(assembly.client('front', probe).die({how: 'throw'}), {code: 'session_lost'});
	t.is(assembly.bugs[0].child, 'keeper');
	t.regex(String(assembly.bugs[0].error), /on purpose/);
});

test('parts of the environment can be replaced, and steps ordered', async t => {
	let steps = 0;
	const assembly = await startAssembly(chain, {
		environment: (name, base) => ({...base, log() {}, name: `${name}!`}),
		async step() {
			steps++;
		},
	});
	await assembly.client('front', probe).remember({value: 1});
	t.is(steps, 6);
	t.deepEqual(assembly.log, []);
});
