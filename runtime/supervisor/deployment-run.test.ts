import {readFileSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {makeDeployment, makeStateDirectory, type ChildSketch} from '../../test/support/fixture-deployment.js';
import {requestControl, type EndReport, type RuntimeStatus} from './control-client.js';
import type {EndLimits} from './orderly-end.js';
import {runTool, startDeployment, type RunningDeployment} from './deployment-run.js';

interface Recall {
	readonly value: number;
	readonly interruptions: string[];
	readonly gone: number;
}

class Subject {
	readonly lines: string[];
	readonly running: RunningDeployment;
	readonly stateDirectory: string;

	constructor(running: RunningDeployment, stateDirectory: string, lines: string[]) {
		this.running = running;
		this.stateDirectory = stateDirectory;
		this.lines = lines;
	}

	async call(child: string, operation: string, request: Record<string, unknown> = {}): Promise<unknown> {
		return requestControl(this.stateDirectory, {op: 'call', service: 'probe', child, operation, request});
	}

	async recall(child: string): Promise<Recall> {
		return (await this.call(child, 'recall')) as Recall;
	}

	async status(): Promise<RuntimeStatus> {
		return (await requestControl(this.stateDirectory, {op: 'status'})) as RuntimeStatus;
	}
}

async function start(t: ExecutionContext, sketches: readonly ChildSketch[], endLimits?: EndLimits): Promise<Subject> {
	const lines: string[] = [];
	const stateDirectory = await makeStateDirectory();
	const running = await startDeployment(await makeDeployment(sketches), {
		stateDirectory,
		log: line => lines.push(line),
		endLimits,
	});
	t.teardown(async () => running.stop());
	return new Subject(running, stateDirectory, lines);
}

async function started(t: ExecutionContext, sketches: readonly ChildSketch[], endLimits?: EndLimits): Promise<Subject> {
	const subject = await start(t, sketches, endLimits);
	await subject.running.ready;
	return subject;
}

const pair: ChildSketch[] = [
	{name: 'server', fixture: 'probe-server', heartbeat: {rateMs: 100}},
	{name: 'relay', fixture: 'probe-relay', routes: {backend: 'server'}},
];

const chain: ChildSketch[] = [
	{name: 'keeper', fixture: 'probe-keeper'},
	{name: 'follower', fixture: 'probe-follower', routes: {backend: 'keeper'}},
	{name: 'filter', fixture: 'probe-relay', routes: {backend: 'follower'}},
	{name: 'front', fixture: 'probe-relay', routes: {backend: 'filter'}},
];

test.serial('starts servers before clients, serves, and stops clients before servers', async t => {
	const {running, stateDirectory, lines} = await started(t, pair);
	t.deepEqual(lines, ['[runtime -> server] started', '[runtime] ready', '[runtime] attach: probe server']);
	t.is(statSync(join(stateDirectory, 'runtime.sock')).mode & 0o777, 0o600);
	t.is(readFileSync(join(stateDirectory, 'runtime.lock'), 'utf8').trim(), String(process.pid));
	await running.stop();
	t.is(await running.ended, 0);
	t.is(lines.at(-1), '[runtime -> server] stopped');
});

test.serial('status tells of every child', async t => {
	const subject = await started(t, pair);
	await subject.call('relay', 'remember', {value: 5});
	const {
		children: [server, relay],
	} = await subject.status();
	t.is(server.state, 'up');
	t.deepEqual(server.details, {remembered: 5});
	t.true(server.requests === 1 && server.sessions === 1 && server.restarts === 0);
	t.not(server.tid, relay.tid);
	t.true(server.cpuMs > 0);
});

test.serial('a thread is pinned to the CPUs of its child', async t => {
	const subject = await started(t, [{name: 'server', fixture: 'probe-server', cpus: [0], priority: 5}]);
	const {
		children: [{tid, cpus}],
	} = await subject.status();
	t.is(cpus, '0');
	t.is(readFileSync(`/proc/self/task/${tid}/stat`, 'utf8').split(') ')[1].split(' ')[16], '5');
});

test.serial('errors of the contract reach the client with code, message and detail', async t => {
	const subject = await started(t, pair);
	await t.throwsAsync(subject.call('relay', 'refuse'), {message: 'not even', code: 'odd'});
	await t.throwsAsync(subject.call('relay', 'remember', {value: 'x'}), {code: 'bad_request'});
	await t.throwsAsync(subject.call('relay', 'nonsense'), {message: /no operation nonsense/});
});

for (const [how, reason] of [
	['throw', /Error: on purpose \(at /],
	['exit', /exited with code 3/],
	['hang', /missed its heartbeat 3 times, 100 ms apart/],
	['heap', /exceeded its RAM quantum: the heap's share of it is 32 MiB/],
	['lease', /exceeded its RAM quantum: .* exceed the component's share of 33554432/],
	['buffers', /exceeded its RAM quantum: \d+ bytes of buffers/],
	['fail', /gave up/],
	['code', /error code "even"/],
] as const) {
	test.serial(`a component that dies (${how}) is logged with its reason and restarted`, async t => {
		const subject = await started(t, [
			// Short of memory, the thread would miss its heartbeat first.
			{
				name: 'keeper',
				fixture: 'probe-keeper',
				heartbeat: how === 'heap' || how === 'buffers' ? undefined : {rateMs: 100},
			},
			{name: 'relay', fixture: 'probe-relay', routes: {backend: 'keeper'}},
		]);
		await t.throwsAsync(subject.call('relay', 'die', {how}), {code: 'session_lost'});
		await requestControl(subject.stateDirectory, {op: 'restart', name: 'relay'});
		t.is((await subject.recall('relay')).value, 0);
		const deaths = subject.lines.filter(line => line.startsWith('[runtime] child "keeper" died: '));
		t.is(deaths.length, 1);
		t.regex(deaths[0], reason);
		t.regex(deaths[0], /, restarting \(1 of 5\)$/);
	});
}

test.serial('a server that breaks the contract with a reply is restarted', async t => {
	const subject = await started(t, [
		{name: 'keeper', fixture: 'probe-keeper', config: {bad_recall: 'yes'}},
		{name: 'relay', fixture: 'probe-relay', routes: {backend: 'keeper'}},
	]);
	await t.throwsAsync(subject.recall('relay'), {code: 'session_lost'});
	await requestControl(subject.stateDirectory, {op: 'restart', name: 'relay'});
	t.true(
		subject.lines.some(line =>
			/child "keeper" died: its reply to probe.recall does not fit the contract: value/.test(line),
		),
		subject.lines.join('\n'),
	);
});

test.serial('a fault that comes back with every restart stops the runtime', async t => {
	const subject = await started(t, pair);
	// The request is sent again to every replacement, and kills it.
	await t.throwsAsync(subject.call('relay', 'die', {how: 'throw'}), {
		message: /was lost|does not answer|ended before/,
	});
	t.is(await subject.running.ended, 1);
	const deaths = subject.lines.filter(line => line.startsWith('[runtime] child "server" died: '));
	t.is(deaths.length, 6);
	t.regex(deaths[0], /, restarting \(1 of 5\)$/);
	t.regex(deaths[5], /not restarted again after 5 times in 60 s: the runtime stops$/);
});

test.serial('a stateless server comes back under its client', async t => {
	const subject = await started(t, pair);
	const before = await subject.status();
	await Promise.all([
		requestControl(subject.stateDirectory, {op: 'restart', name: 'server'}),
		...Array.from({length: 20}, async () => subject.recall('relay')),
	]);
	t.deepEqual((await subject.recall('relay')).interruptions, ['restarted']);
	const after = await subject.status();
	t.not(after.children[0].tid, before.children[0].tid);
	t.is(after.children[1].tid, before.children[1].tid);
	t.is(after.children[0].restarts, 0);
	t.is(after.children[0].requestedRestarts, 1);
	t.true(subject.lines.includes('[runtime] child "server" was ended on request, restarting'));
});

test.serial('restarts that a person asks for are not counted as faults', async t => {
	const subject = await started(t, pair);
	for (let i = 0; i < 7; i++) {
		await requestControl(subject.stateDirectory, {op: 'restart', name: 'server'});
	}

	const {
		children: [server],
	} = await subject.status();
	t.deepEqual([server.state, server.restarts, server.requestedRestarts], ['up', 0, 7]);
	await t.throwsAsync(subject.call('server', 'die', {how: 'throw'}));
	t.true(subject.lines.some(line => line.includes('died: ') && line.endsWith('restarting (1 of 5)')));
});

test.serial('a surviving server is told that a dead client is gone', async t => {
	const subject = await started(t, pair);
	await requestControl(subject.stateDirectory, {op: 'restart', name: 'relay'});
	t.deepEqual(await subject.recall('relay'), {value: 0, gone: 1, interruptions: []});
});

test.serial('a lost stateful server takes its stateful clients along, and all others are told', async t => {
	const subject = await started(t, chain);
	await subject.call('front', 'remember', {value: 9});
	t.is((await subject.recall('front')).value, 9);
	const before = (await subject.status()).children.map(({tid}) => tid);
	await t.throwsAsync(subject.call('front', 'die', {how: 'throw'}), {code: 'session_lost'});
	await t.notThrowsAsync(requestControl(subject.stateDirectory, {op: 'restart', name: 'front'}));
	const after = (await subject.status()).children;
	t.not(after[0].tid, before[0]);
	t.not(after[1].tid, before[1]);
	t.is(after[2].tid, before[2]);
	t.true(subject.lines.includes('[runtime] restarting with it what relied on its state: follower'));
});

test.serial('a reset is passed on to those who see it through others', async t => {
	const subject = await started(t, chain);
	await requestControl(subject.stateDirectory, {op: 'restart', name: 'keeper'});
	await requestControl(subject.stateDirectory, {op: 'restart', name: 'follower'});
	t.deepEqual(await subject.recall('front'), {value: 0, gone: 1, interruptions: ['reset', 'reset']});
	t.deepEqual((await subject.recall('filter')).interruptions, ['reset', 'reset']);
});

test.serial('children of one group share a thread and its fate', async t => {
	const subject = await started(
		t,
		chain.map(child => ({...child, group: 'one'})),
	);
	await subject.call('front', 'remember', {value: 3});
	t.is((await subject.recall('front')).value, 3);
	t.is(new Set((await subject.status()).children.map(({tid}) => tid)).size, 1);
	await requestControl(subject.stateDirectory, {op: 'restart', name: 'filter'});
	t.is((await subject.recall('front')).value, 0);
});

test.serial('a runtime that is stopped while it starts ends in order', async t => {
	const {running, lines} = await start(t, pair);
	await running.stop();
	t.is(await running.ended, 0);
	await t.throwsAsync(running.ready, {message: 'the runtime was stopped'});
	t.false(lines.includes('[runtime] ready'));
});

test.serial('a child that cannot start ends the runtime, by its message alone', async t => {
	const subject = await start(t, [
		{name: 'server', fixture: 'probe-server'},
		{name: 'broken', fixture: 'probe-server', config: {start_error: 'there is no image'}},
		{name: 'relay', fixture: 'probe-relay', routes: {backend: 'broken'}},
	]);
	await t.throwsAsync(subject.running.ready);
	t.is(await subject.running.ended, 1);
	t.deepEqual(subject.lines, [
		'[runtime -> server] started',
		'[runtime] child "broken" failed to start: there is no image',
		'[runtime -> server] stopped',
	]);
});

test.serial('a bug at start is shown with its place', async t => {
	const subject = await start(t, [{name: 'broken', fixture: 'probe-server', config: {start_error: 'bug'}}]);
	t.is(await subject.running.ended, 1);
	t.regex(
		subject.lines[0],
		/^\[runtime] child "broken" failed to start: TypeError: a bug at start \(at .*probe-server.ts:/,
	);
});

test.serial('a child that does not stop cleanly is named', async t => {
	const subject = await started(t, [{name: 'server', fixture: 'probe-server', config: {stop_error: 'no room'}}]);
	await subject.running.stop();
	t.is(await subject.running.ended, 1);
	t.regex(subject.lines.at(-1)!, /^\[runtime] child "server" did not stop cleanly: Error: no room/);
});

const shortLimits: EndLimits = {childMs: 500, allMs: 1000, leastMs: 200, goneMs: 1000};

test.serial('the end is asked for by a request, which is answered when everything has stopped', async t => {
	const {running, stateDirectory} = await started(t, pair);
	t.is(await requestControl(stateDirectory, {op: 'ending'}), null);
	t.deepEqual((await requestControl(stateDirectory, {op: 'stop'})) as EndReport, {exitCode: 0, problems: []});
	t.is(await running.ended, 0);
	t.is(readFileSync(join(stateDirectory, 'runtime.lock'), 'utf8'), '');
});

test.serial('children that do not stop hold up the end for a bounded time, all together', async t => {
	const names = ['a', 'b', 'c', 'd', 'e', 'f'];
	const {stateDirectory} = await started(
		t,
		names.map(name => ({name, fixture: 'probe-server', config: {stop_error: 'hang'}})),
		shortLimits,
	);
	const began = performance.now();
	const {exitCode, problems} = (await requestControl(stateDirectory, {op: 'stop'})) as EndReport;
	t.true(performance.now() - began < shortLimits.allMs + names.length * shortLimits.leastMs + 5000);
	t.is(exitCode, 1);
	t.is(problems.filter(problem => problem.includes('did not stop cleanly: not within')).length, names.length);
});

test.serial('a thread that the system holds does not hold the end of the runtime', async t => {
	const {running, stateDirectory, lines} = await started(
		t,
		[{name: 'stuck', fixture: 'probe-server', config: {stop_error: 'block'}}],
		shortLimits,
	);
	const {exitCode} = (await requestControl(stateDirectory, {op: 'stop'})) as EndReport;
	t.is(exitCode, 1);
	t.true(lines.some(line => line.includes('not gone 1 s after they were ended: stuck; they end with the process')));
	// Others must not find the thread in their way.
	while (running.lingering.length > 0) {
		await setTimeout(50);
	}
});

test.serial('a state directory belongs to one runtime', async t => {
	const subject = await started(t, pair);
	await t.throwsAsync(
		startDeployment(await makeDeployment(pair), {stateDirectory: subject.stateDirectory, log() {}}),
		{
			name: 'StartError',
			message: new RegExp(`in use by the runtime with process id ${process.pid}`),
		},
	);
});

test.serial('a tool runs with the servers that it needs, and no others', async t => {
	const lines: string[] = [];
	const deployment = await makeDeployment([
		{name: 'server', fixture: 'probe-server'},
		{name: 'other', fixture: 'probe-server'},
		{name: 'tool', fixture: 'probe-tool', routes: {backend: 'server'}},
		{name: 'failing', fixture: 'probe-tool', config: {problem: 'nothing to do'}, routes: {backend: 'server'}},
	]);
	const options = {stateDirectory: await makeStateDirectory(), log: (line: string) => lines.push(line)};
	t.is(await runTool(deployment, 'tool', options), 0);
	t.deepEqual(lines, [
		'[runtime -> server] started',
		'[runtime -> tool] 7 true',
		'[runtime] child "tool" exited with exit value 0',
		'[runtime -> server] stopped',
	]);
	t.is(await runTool(deployment, 'failing', options), -1);
	t.true(lines.includes('[runtime] child "failing" exited with exit value -1: nothing to do'));
	await t.throwsAsync(runTool(deployment, 'server', options), {
		message: 'test.xml has no tool "server"; its tools are tool, failing',
	});
});

test.serial('the runtime ends with a tool whose exit it propagates', async t => {
	const subject = await start(t, [
		pair[0],
		{name: 'tool', fixture: 'probe-tool', routes: {backend: 'server'}, exitPropagate: true},
	]);
	t.is(await subject.running.ended, 0);
	t.true(subject.lines.includes('[runtime] child "tool" exited with exit value 0'));
});
