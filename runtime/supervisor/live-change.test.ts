import {readFileSync} from 'node:fs';
import test, {type ExecutionContext} from 'ava';
import {makeDeployment, makeStateDirectory, type ChildSketch} from '../../test/support/fixture-deployment.js';
import {requestControl, type EditOutcome, type RuntimeStatus} from './control-client.js';
import {startDeployment, type RunningDeployment} from './deployment-run.js';

interface Said {
	readonly word: string;
	readonly doneCount: number;
	readonly told: string[];
}

class Subject {
	readonly lines: string[] = [];
	sketches: readonly ChildSketch[];
	running!: RunningDeployment;
	stateDirectory!: string;

	constructor(sketches: readonly ChildSketch[]) {
		this.sketches = sketches;
	}

	async start(t: ExecutionContext): Promise<this> {
		this.stateDirectory = await makeStateDirectory();
		this.running = await startDeployment(await makeDeployment(this.sketches), {
			stateDirectory: this.stateDirectory,
			log: line => this.lines.push(line),
			follow: {watch: false, load: async () => makeDeployment(this.sketches)},
		});
		t.teardown(async () => this.running.stop());
		await this.running.ready;
		return this;
	}

	async change(edit: (child: ChildSketch) => ChildSketch): Promise<EditOutcome> {
		return this.changeTo(this.sketches.map(edit));
	}

	async changeTo(sketches: readonly ChildSketch[]): Promise<EditOutcome> {
		this.sketches = sketches;
		return (await requestControl(this.stateDirectory, {op: 'apply'})) as EditOutcome;
	}

	async call(child: string, operation: string, request: Record<string, unknown> = {}): Promise<unknown> {
		return requestControl(this.stateDirectory, {op: 'call', service: 'word', child, operation, request});
	}

	async say(child: string): Promise<Said> {
		return (await this.call(child, 'say')) as Said;
	}

	async status(): Promise<RuntimeStatus> {
		return (await requestControl(this.stateDirectory, {op: 'status'})) as RuntimeStatus;
	}

	async tids(): Promise<Record<string, number | null>> {
		return Object.fromEntries((await this.status()).children.map(({name, tid}) => [name, tid]));
	}

	/** Ids of the work that was logged as done, in order. */
	get done(): number[] {
		return this.lines
			.flatMap(line => /did (\d+)$/.exec(line)?.[1] ?? [])
			.map(Number)
			.sort((a, b) => a - b);
	}
}

const chain: ChildSketch[] = [
	{name: 'server', fixture: 'word-server', config: {word: 'one'}},
	{name: 'keeper', fixture: 'word-follower', routes: {backend: 'server'}},
	{name: 'front', fixture: 'word-relay', routes: {backend: 'keeper'}},
];

const other =
	(config: ChildSketch['config'], name = 'server') =>
	(child: ChildSketch): ChildSketch =>
		child.name === name ? {...child, config} : child;

const driver: ChildSketch = {name: 'driver', fixture: 'word-driver', routes: {backend: 'front'}};

/** Stops the driver, and checks that all that it was answered was done, once. */
async function checkWork(t: ExecutionContext, subject: Subject): Promise<void> {
	const {doneCount} = await subject.say('driver');
	await subject.running.stop();
	t.is(await subject.running.ended, 0);
	t.true(doneCount > 20, `${doneCount} pieces of work were done`);
	t.true(subject.done.length >= doneCount);
	t.deepEqual(
		subject.done,
		subject.done.map((_, id) => id),
	);
}

test.serial('a server is replaced under its clients: nothing is done twice, nothing is dropped', async t => {
	const subject = await new Subject([
		{name: 'server', fixture: 'word-server', ramQuantum: 64 * 2 ** 20, config: {word: 'one'}},
		{name: 'front', fixture: 'word-relay', routes: {backend: 'server'}},
		driver,
	]).start(t);
	const before = await subject.tids();
	let quantum = 64;
	for (let round = 0; round < 3; round++) {
		quantum += 16;
		t.like(
			await subject.change(child =>
				child.name === 'server' ? {...child, ramQuantum: quantum * 2 ** 20} : child,
			),
			{result: 'applied'},
		);
	}

	t.deepEqual(await subject.say('front').then(({told}) => told), [
		'front: restarted',
		'front: restarted',
		'front: restarted',
	]);
	const after = await subject.tids();
	t.not(after.server, before.server);
	t.is(after.front, before.front);
	t.is((await subject.status()).deployment?.generation, 4);
	await checkWork(t, subject);
});

test.serial('what relies on state is stopped in order and started anew', async t => {
	const subject = await new Subject([...chain, driver]).start(t);
	const before = await subject.tids();
	t.like(await subject.change(other({refuse: 'nothing'}, 'keeper')), {result: 'applied'});
	t.deepEqual((await subject.say('front')).told, ['front: restarted']);
	const after = await subject.tids();
	t.is(after.server, before.server);
	t.not(after.keeper, before.keeper);
	await checkWork(t, subject);
});

test.serial('other data is told to all who go on', async t => {
	const subject = await new Subject([
		...chain,
		{name: 'above', fixture: 'word-relay', routes: {backend: 'front'}},
	]).start(t);
	t.like(await subject.change(other({word: 'two'})), {result: 'applied'});
	t.deepEqual(await subject.say('above'), {word: 'two', doneCount: 0, told: ['front: reset', 'above: reset']});
});

test.serial('a filter comes and goes under a running client', async t => {
	const subject = await new Subject([...chain, driver]).start(t);
	const before = await subject.tids();
	const filter: ChildSketch = {name: 'filter', fixture: 'word-relay', routes: {backend: 'server'}};
	const filtered = [chain[0], filter, {...chain[1], routes: {backend: 'filter'}}, chain[2], driver];
	t.like(await subject.changeTo(filtered), {result: 'applied'});
	t.is((await subject.status()).children.length, 5);
	t.like(await subject.changeTo([...chain, driver]), {result: 'applied'});
	t.deepEqual(await subject.tids(), before);
	t.deepEqual((await subject.say('front')).told, ['keeper: restarted', 'keeper: restarted']);
	await checkWork(t, subject);
});

test.serial('children are added and removed', async t => {
	const subject = await new Subject(chain).start(t);
	t.like(await subject.changeTo([...chain, {name: 'more', fixture: 'word-relay', routes: {backend: 'front'}}]), {
		result: 'applied',
	});
	t.is((await subject.say('more')).word, 'one');
	t.like(await subject.changeTo(chain.slice(0, 2)), {result: 'applied'});
	t.deepEqual(
		(await subject.status()).children.map(({name}) => name),
		['server', 'keeper'],
	);
	await t.throwsAsync(subject.say('front'), {message: /there is no child "front"/});
	await subject.running.stop();
	t.is(await subject.running.ended, 0);
});

test.serial('a thread is moved to another CPU and back to all, without a restart', async t => {
	const subject = await new Subject(chain).start(t);
	const before = await subject.status();
	const {message} = await subject.change(child =>
		child.name === 'server' ? {...child, cpus: [0], priority: 4, heartbeat: {rateMs: 100}} : child,
	);
	t.is(
		message,
		'repin server (CPU 0 (was any CPU)); adjust server (nice value 4 (was 0)); adjust server (heartbeat every 100 ms)',
	);
	const [pinned] = (await subject.status()).children;
	t.deepEqual([pinned.tid, pinned.cpus], [before.children[0].tid, '0']);
	t.is(readFileSync(`/proc/self/task/${pinned.tid}/stat`, 'utf8').split(') ')[1].split(' ')[16], '4');
	await subject.change(child => (child.name === 'server' ? {...child, cpus: []} : child));
	t.is((await subject.status()).children[0].cpus, before.children[0].cpus);
});

test.serial('where a new child cannot start, what ran before runs again', async t => {
	const subject = await new Subject([...chain, driver]).start(t);
	const outcome = await subject.change(other({start_error: 'there is no image'}));
	t.like(outcome, {result: 'failed', message: 'child "server" failed to start: there is no image'});
	t.deepEqual(await subject.say('front').then(({word, told}) => ({word, told})), {
		word: 'one',
		told: ['front: restarted'],
	});
	t.is((await subject.status()).deployment?.generation, 1);
	t.true(
		subject.lines.includes(
			'[runtime] test.xml could not be applied: child "server" failed to start: there is no image; the deployment before runs on',
		),
	);
	await checkWork(t, subject);
});

test.serial('where a running client cannot go on with its new server, the one before comes back', async t => {
	const subject = await new Subject(
		chain.map(child => (child.name === 'front' ? {...child, config: {refuse: 'two'}} : child)),
	).start(t);
	const {result, message} = await subject.change(other({word: 'two'}));
	t.is(result, 'failed');
	t.regex(message, /^child "front" cannot go on with "keeper": Error: not with "two"/);
	t.is((await subject.status()).deployment?.lastEdit?.message, message);
	t.is((await subject.say('front')).word, 'one');
});

test.serial(
	'a child that does not stop cleanly breaks the change off: all is told of the state that was lost',
	async t => {
		const subject = await new Subject([
			{name: 'keeper', fixture: 'word-keeper', config: {word: 'one', stop_error: 'no room'}},
			{name: 'front', fixture: 'word-relay', routes: {backend: 'keeper'}},
		]).start(t);
		const outcome = await subject.change(other({word: 'two'}, 'keeper'));
		t.is(outcome.result, 'failed');
		t.regex(
			outcome.message,
			/^child "keeper" did not stop cleanly: Error: no room.*; what was touched starts over from the last secured state$/s,
		);
		t.like(await subject.say('front'), {word: 'one', told: ['front: reset']});
		t.true(subject.lines.some(line => /the change broke off .*; restarting keeper$/s.test(line)));
	},
);

test.serial('a new server that dies when it is connected gives way to the one before', async t => {
	const subject = await new Subject([
		chain[0],
		{name: 'front', fixture: 'word-relay', routes: {backend: 'server'}},
		driver,
	]).start(t);
	const outcome = await subject.change(other({word: 'two', die: 'say'}));
	t.like(outcome, {result: 'failed', message: 'child "server" died: on purpose'});
	t.is((await subject.say('front')).word, 'one');
	await checkWork(t, subject);
});

test.serial('a child that cannot start takes back what was added with it', async t => {
	const subject = await new Subject(chain).start(t);
	const before = await subject.tids();
	const outcome = await subject.changeTo([
		...chain,
		{name: 'late', fixture: 'word-relay', routes: {backend: 'front'}},
		{name: 'broken', fixture: 'probe-server', config: {start_error: 'bug'}},
	]);
	t.is(outcome.result, 'failed');
	t.regex(outcome.message, /^child "broken" failed to start: TypeError: a bug at start/);
	t.deepEqual(await subject.tids(), before);
});

test.serial('a child that dies while a change is applied breaks it off', async t => {
	const subject = await new Subject([
		...chain,
		{name: 'aside', fixture: 'word-server', config: {die: 'later'}},
	]).start(t);
	const outcome = await subject.change(other({start_ms: '2000'}, 'keeper'));
	t.is(outcome.result, 'failed');
	t.regex(outcome.message, /^child "aside" died: on purpose; what was touched starts over/);
	t.like(await subject.say('front'), {word: 'one', told: ['front: reset']});
	t.deepEqual(
		(await subject.status()).children.map(({name, state}) => [name, state]),
		['server', 'keeper', 'front', 'aside'].map(name => [name, 'up']),
	);
});

test.serial('long work is waited for, and new work waits', async t => {
	const subject = await new Subject(chain).start(t);
	const long = subject.call('front', 'work', {id: 1, durationMs: 400});
	const changed = subject.change(other({refuse: 'nothing'}, 'keeper'));
	t.deepEqual(await long, {word: 'one'});
	t.like(await changed, {result: 'applied'});
	t.deepEqual(subject.done, [1]);
});

test.serial('a runtime that is stopped during a change ends in order', async t => {
	const subject = await new Subject(chain).start(t);
	const changed = subject.change(other({word: 'two'})).catch(() => undefined);
	await subject.running.stop();
	await changed;
	t.is(await subject.running.ended, 0);
	t.false(
		subject.lines.some(line => /died|did not stop/.test(line)),
		subject.lines.join('\n'),
	);
});
