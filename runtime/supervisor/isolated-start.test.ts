/** Components in processes of their own: they serve, die, come back and leave as those on threads do. */
import {spawnSync} from 'node:child_process';
import {existsSync, readFileSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {makeDeployment, makeStateDirectory, type ChildSketch} from '../../test/support/fixture-deployment.js';
import {confinementProblem} from '../isolation/confinement.js';
import {requestControl, type RuntimeStatus} from './control-client.js';
import {startDeployment, type RunningDeployment} from './deployment-run.js';

const isolation = {user: undefined, ifMissing: 'refuse'} as const;
const problem = confinementProblem();
/** Where the system cannot confine processes, what is told apart from that is still tested. */
const loose = {user: undefined, ifMissing: 'continue'} as const;
const available = problem === undefined ? isolation : loose;

interface Subject {
	readonly running: RunningDeployment;
	readonly stateDirectory: string;
	readonly lines: string[];
	call(child: string, operation: string, request?: Record<string, unknown>): Promise<unknown>;
	status(): Promise<RuntimeStatus>;
}

async function start(t: ExecutionContext, sketches: readonly ChildSketch[]): Promise<Subject> {
	const lines: string[] = [];
	const stateDirectory = await makeStateDirectory();
	const running = await startDeployment(await makeDeployment(sketches), {
		stateDirectory,
		log: line => lines.push(line),
	});
	t.teardown(async () => running.stop());
	return {
		running,
		stateDirectory,
		lines,
		call: async (child, operation, request = {}) =>
			requestControl(stateDirectory, {op: 'call', service: 'probe', child, operation, request}),
		status: async () => (await requestControl(stateDirectory, {op: 'status'})) as RuntimeStatus,
	};
}

function isRunning(pid: number): boolean {
	// What has ended stays in the table until its parent has looked.
	return existsSync(`/proc/${pid}`) && !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

async function until(holds: () => boolean): Promise<void> {
	while (!holds()) {
		await new Promise(resolve => {
			setTimeout(resolve, 10);
		});
	}
}

const pair: ChildSketch[] = [
	{name: 'server', fixture: 'probe-server', isolation: available, heartbeat: {rateMs: 300}},
	{name: 'relay', fixture: 'probe-relay', routes: {backend: 'server'}},
];

test.serial('an isolated server serves a thread, and both stop in order', async t => {
	const subject = await start(t, pair);
	await subject.running.ready;
	t.true(subject.lines.includes('[runtime -> server] started'));
	t.true(subject.lines.includes('[runtime] attach: probe server'));
	await subject.call('relay', 'remember', {value: 5});
	const {
		children: [server, relay],
	} = await subject.status();
	t.is(relay.pid, null);
	t.true(server.pid !== null && server.pid !== process.pid && isRunning(server.pid));
	t.true(server.requests === 1 && server.sessions === 1 && server.residentBytes! > 2 ** 20 && server.cpuMs > 0);
	t.deepEqual(server.details, {remembered: 5});
	await t.throwsAsync(subject.call('relay', 'refuse'), {message: 'not even', code: 'odd'});
	await subject.running.stop();
	t.is(subject.lines.at(-1), '[runtime -> server] stopped');
	t.false(isRunning(server.pid!));
});

test.serial('threads and processes serve each other, and two processes one another', async t => {
	const subject = await start(t, [
		{name: 'server', fixture: 'probe-server'},
		{name: 'first', fixture: 'probe-relay', routes: {backend: 'server'}, isolation: available},
		{name: 'second', fixture: 'probe-relay', routes: {backend: 'first'}, isolation: available},
		{name: 'third', fixture: 'probe-relay', routes: {backend: 'second'}},
	]);
	await subject.running.ready;
	await subject.call('third', 'remember', {value: 8});
	t.is(((await subject.call('third', 'recall')) as {value: number}).value, 8);
});

test.serial('children of one group share a process', async t => {
	const subject = await start(
		t,
		pair.map(child => ({...child, group: 'one', isolation: available, heartbeat: undefined})),
	);
	await subject.running.ready;
	await subject.call('relay', 'remember', {value: 3});
	const {
		children: [server, relay],
	} = await subject.status();
	t.true(server.pid === relay.pid && server.pid !== null);
});

for (const [how, reason] of [
	['throw', /Error: on purpose \(at /],
	['exit', /exited with code 3/],
	['hang', /missed its heartbeat 3 times, 300 ms apart/],
	['heap', /exceeded its RAM quantum: the heap's share of it/],
	['lease', /exceeded its RAM quantum: .* exceed the component's share of 33554432/],
	['buffers', /exceeded its RAM quantum: \d+ bytes of buffers/],
	['fail', /gave up/],
] as const) {
	test.serial(`an isolated component that dies (${how}) is logged with its reason and restarted`, async t => {
		const subject = await start(t, [
			{
				name: 'keeper',
				fixture: 'probe-keeper',
				isolation: available,
				heartbeat: how === 'hang' ? {rateMs: 300} : undefined,
			},
			{name: 'relay', fixture: 'probe-relay', routes: {backend: 'keeper'}},
		]);
		await subject.running.ready;
		await t.throwsAsync(subject.call('relay', 'die', {how}), {code: 'session_lost'});
		await until(() => subject.lines.filter(line => line === '[runtime -> keeper] started').length === 2);
		const deaths = subject.lines.filter(line => line.startsWith('[runtime] child "keeper" died: '));
		t.is(deaths.length, 1, subject.lines.join('\n'));
		t.regex(deaths[0], reason);
	});
}

test.serial('a process that is killed is replaced, and a request of a stateless server is sent again', async t => {
	const subject = await start(t, pair);
	await subject.running.ready;
	const [{pid}] = (await subject.status()).children;
	process.kill(pid!, 'SIGSTOP');
	const call = subject.call('relay', 'remember', {value: 6});
	process.kill(pid!, 'SIGKILL');
	await call;
	t.is(((await subject.call('relay', 'recall')) as {value: number}).value, 6);
	t.true(
		subject.lines.some(line =>
			/^\[runtime] child "server" died: was ended by (?:SIGKILL|signal 9), restarting/.test(line),
		),
		subject.lines.join('\n'),
	);
});

test.serial('a user of its own that cannot be given is a reason not to start', async t => {
	if (process.getuid?.() === 0) {
		const subject = await start(t, [{...pair[0], isolation: {user: 12_345, ifMissing: 'refuse'}}]);
		await subject.running.ready.then(
			() => undefined,
			() => undefined,
		);
		const [{pid}] = (await subject.status()).children;
		t.regex(readFileSync(`/proc/${pid}/status`, 'utf8'), /^Uid:\s*12345\s+12345\s+12345\s+12345$/m);
		return;
	}

	const subject = await start(t, [{...pair[0], isolation: {user: 12_345, ifMissing: 'refuse'}}]);
	await t.throwsAsync(subject.running.ready);
	t.true(subject.lines.some(line => /isolation was asked for and cannot be given: a user of its own/.test(line)));
});

(problem === undefined ? test.serial : test.serial.skip)(
	`an isolated process has no network, no files of others, no rights, and cannot start programs${problem === undefined ? '' : ` (${problem})`}`,
	async t => {
		const subject = await start(t, [{name: 'probe', fixture: 'confined-probe', isolation}]);
		await subject.running.ready;
		const {details, pid} = (await subject.status()).children[0];
		const files = String(details['root']).split(' ');
		// Node.js and the project may lie in one of these; of it there is nothing but the way to them.
		const ways = [process.execPath, import.meta.dirname].map(path => path.split('/')[1]);
		t.deepEqual(
			files.filter(name => ['home', 'root', 'var', 'sys', 'run', 'boot'].includes(name) && !ways.includes(name)),
			[],
		);
		t.is(details['network'], 'lo');
		t.regex(String(details['spawn']), /EPERM|EACCES/);
		t.regex(String(details['socket']), /EPERM|EACCES/);
		t.regex(String(details['write']), /EACCES|EROFS|EPERM|EFBIG/);
		t.is(details['processes'], 1);
		t.deepEqual(
			String(details['environment'])
				.split(' ')
				// The last one Node.js itself hands on, where coverage is measured.
				.filter(name => !['LANG', 'TZ', 'PATH', 'PWD', 'NODE_V8_COVERAGE'].includes(name)),
			[],
		);
		const status = readFileSync(`/proc/${pid}/status`, 'utf8');
		t.regex(status, /^CapEff:\s*0+$/m);
		t.regex(status, /^CapPrm:\s*0+$/m);
		t.regex(status, /^NoNewPrivs:\s*1$/m);
		t.regex(status, /^Seccomp:\s*2$/m);
		t.true(
			readdirSync(`/proc/${pid}/task`).every(tid =>
				/^Seccomp:\s*2$/m.test(readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8')),
			),
		);
		const limits = readFileSync(`/proc/${pid}/limits`, 'utf8');
		t.regex(limits, /^Max core file size\s+0\s+0/m);
		t.regex(limits, /^Max file size\s+0\s+0/m);
		if (process.getuid?.() === 0) {
			t.regex(status, /^Uid:\s*65432\s+65432\s+65432\s+65432$/m);
			// Of the same user, outside of its confinement.
			const look = spawnSync(
				'setpriv',
				['--reuid=65432', '--regid=65432', '--clear-groups', 'head', '-c', '1', `/proc/${pid}/mem`],
				{encoding: 'utf8'},
			);
			t.regex(look.stderr, /Permission denied|Operation not permitted/);
		}
	},
);

test.serial('without the tool, the default is not to start, and the configuration may say to go on', async t => {
	// The runtime as a program of its own, which finds no bubblewrap.
	const folder = await makeStateDirectory();
	const script = join(import.meta.dirname, '../../test/support/fixtures/isolated-run.js');
	const run = (ifMissing: string) =>
		spawnSync(process.execPath, [script, folder, ifMissing], {encoding: 'utf8', env: {PATH: '/nonexistent'}});
	t.regex(
		run('refuse').stdout,
		/child "server" failed to start: isolation was asked for and cannot be given: bubblewrap \(bwrap\) is not installed; install the package "bubblewrap"; or go on/,
	);
	const going = run('continue').stdout;
	t.regex(going, /child "server": not isolated as it should be: bubblewrap \(bwrap\) is not installed/);
	t.regex(going, /own process/);
});

for (const [attack, reason] of [
	['garbage', /cut off: it sent a message of \d+ bytes/],
	['huge', /cut off: it sent a message of 2147483647 bytes/],
	['payload', /cut off: it sent a message to the runtime with payload/],
	['foreign', /cut off: it sent a message to the runtime in the name of somebody else/],
	['unknown', /cut off: it sent a message to the runtime that does not fit its form/],
	['flood', /cut off: it sent more than 20000 messages within a second/],
	['session', /cut off: it sent a message of \d+ bytes/],
	// A process that takes its own sockets away under its runtime may also fall over that before the end is seen.
	['close', /cut off: it closed its socket|was ended by signal \d+/],
] as const) {
	test.serial(
		`a hostile process (${attack}) is cut off, named, and replaced like one that died; the runtime goes on`,
		async t => {
			const subject = await start(t, [
				{name: 'server', fixture: 'hostile-server', config: {attack}, isolation: available},
				{name: 'relay', fixture: 'probe-relay', routes: {backend: 'server'}},
				{name: 'other', fixture: 'probe-server'},
			]);
			await subject.running.ready;
			// It is asked by the runtime itself, so that nobody asks its replacement again.
			await subject.call('server', 'remember', {value: 1}).catch(() => undefined);
			await until(() => subject.lines.filter(line => line === '[runtime -> server] started').length === 2);
			t.regex(subject.lines.find(line => line.startsWith('[runtime] child "server" died: ')) ?? '', reason);
			t.is(((await subject.call('relay', 'recall')) as {value: number}).value, 0);
			await subject.call('other', 'remember', {value: 4});
			t.is((await subject.status()).children[2].restarts, 0);
		},
	);
}

test.serial(
	'a hostile process speaks for itself alone: sessions, servers and answers of others are none of its business',
	async t => {
		const subject = await start(t, [
			{name: 'other', fixture: 'probe-server'},
			{name: 'relay', fixture: 'probe-relay', routes: {backend: 'other'}},
			{name: 'server', fixture: 'hostile-server', config: {attack: 'meddle'}, isolation: available},
		]);
		await subject.running.ready;
		// It has forged the answer to this very call.
		await t.throwsAsync(subject.call('server', 'remember', {value: 1}), {message: /does not fit the contract/});
		await subject.call('relay', 'remember', {value: 9});
		t.is(((await subject.call('relay', 'recall')) as {value: number}).value, 9);
		t.deepEqual(
			(await subject.status()).children.map(({restarts}) => restarts),
			[0, 0, 0],
		);
		t.true(subject.lines.includes('[runtime -> server] [runtime] of others ?[31m'), subject.lines.join('\n'));
	},
);
