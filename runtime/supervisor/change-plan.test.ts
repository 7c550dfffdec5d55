import {readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import test from 'ava';
import {makeDeployment, type ChildSketch} from '../../test/support/fixture-deployment.js';
import {loadDeployment, loadContext} from '../deployment/deployment-loader.js';
import {planChange, type ChangePlan} from './change-plan.js';

const deployFile = fileURLToPath(new URL('../../../deploy.xml', import.meta.url));
const text = readFileSync(deployFile, 'utf8');

/** What an edit of the default deployment means: words are replaced, everywhere. */
async function editOf(...replacements: ReadonlyArray<readonly [string, string]>): Promise<ChangePlan> {
	let edited = text;
	for (const [before, after] of replacements) {
		if (!edited.includes(before)) {
			throw new Error(`the default deployment has no ${before}`);
		}

		edited = edited.replaceAll(before, after);
	}

	const load = async (content: string) => {
		const {children} = await loadDeployment(deployFile, loadContext(deployFile), Buffer.from(content));
		return children.filter(({component}) => component.kind === 'service');
	};
	return planChange(await load(text), await load(edited));
}

async function planOf(before: readonly ChildSketch[], after: readonly ChildSketch[]): Promise<ChangePlan> {
	return planChange((await makeDeployment(before)).children, (await makeDeployment(after)).children);
}

function shown({changes}: ChangePlan): string[] {
	return changes.map(({action, child, detail}) => `${action} ${child}: ${detail}`);
}

const device = ['cache', 'free_tree', 'virtual_block_device', 'superblock_control'];

test('the same deployment changes nothing, wherever its attributes stand', async t => {
	const plan = await editOf([
		'<config path="cbe.img" create="yes"/>',
		'<config create="yes" path="cbe.img"/> <!-- same -->',
	]);
	t.deepEqual(plan.changes, []);
	t.deepEqual(plan.moved, []);
});

test('another crypto server takes the place of the first under its clients', async t => {
	const plan = await editOf(['name="crypto_openssl"', 'name="crypto_noble"']);
	t.deepEqual(shown(plan), ['restart crypto: binary crypto_noble (was crypto_openssl)']);
	t.deepEqual(
		plan.moved,
		['cache', 'virtual_block_device', 'superblock_control'].map(child => ({child, label: 'crypto'})),
	);
	t.deepEqual(plan.reset, []);
});

test('another CPU is no reason to stop anything', async t => {
	const plan = await editOf([
		'<config path="cbe.img" create="yes"/>',
		'<affinity xpos="0"/><config path="cbe.img" create="yes"/>',
	]);
	t.deepEqual(shown(plan), ['repin block_file: CPU 0 (was any CPU)']);
	t.deepEqual(plan.placed, ['block_file']);
	t.deepEqual(plan.moved, []);
});

test('another size of the cache restarts what relies on its state, and the front ends keep their clients', async t => {
	const plan = await editOf(['size="48M"', 'size="32M"']);
	t.deepEqual(
		plan.changes.map(({action, child}) => [action, child]),
		device.map(name => ['restart', name]),
	);
	t.deepEqual(plan.moved.map(({child, label}) => `${child} ${label}`).sort(), [
		'nbd control',
		'nbd device',
		'vfs control',
		'vfs device',
	]);
	t.deepEqual(plan.reset, []);
});

const trace =
	'<start name="trace"><binary name="block_trace"/><provides><service name="block"/></provides><route><service name="block"><child name="BACKEND"/></service></route></start>';

test('a filter slips under a running component', async t => {
	const plan = await editOf(
		['<start name="cache">', `${trace.replace('BACKEND', 'block_file')}<start name="cache">`],
		[
			'<config size="48M"/>\n\t\t<route>\n\t\t\t<service name="block"><child name="block_file"/>',
			'<config size="48M"/>\n\t\t<route>\n\t\t\t<service name="block"><child name="trace"/>',
		],
	);
	t.deepEqual(shown(plan), ['add trace: binary block_trace', 'rewire cache: block -> trace (was block_file)']);
	t.deepEqual(plan.moved, [{child: 'cache', label: 'block'}]);
	t.deepEqual(plan.reset, []);
});

test('a filter slips between the device and its front ends, which keep their clients', async t => {
	const plan = await editOf(
		['<start name="nbd">', `${trace.replace('BACKEND', 'superblock_control')}<start name="nbd">`],
		[
			'<service name="block" label="device"><child name="superblock_control"/></service>',
			'<service name="block" label="device"><child name="trace"/></service>',
		],
	);
	t.deepEqual(shown(plan), [
		'add trace: binary block_trace',
		'rewire nbd: device -> trace (was superblock_control)',
		'rewire vfs: device -> trace (was superblock_control)',
	]);
	t.deepEqual(plan.reset, []);
});

test('another medium is other data: the device is opened anew, and clients are told', async t => {
	const plan = await editOf(['path="cbe.img"', 'path="other.img"']);
	t.deepEqual(
		plan.changes.map(({child}) => child),
		['block_file', ...device],
	);
	t.deepEqual(plan.reset.map(({child, label}) => `${child} ${label}`).sort(), [
		'nbd control',
		'nbd device',
		'vfs control',
		'vfs device',
	]);
});

test('a front end more touches nothing else', async t => {
	t.deepEqual(shown(await editOf(['<start name="nbd">', '<start name="nbd_readonly"/>\n<start name="nbd">'])), [
		'add nbd_readonly: binary nbd',
	]);
});

test('a server of shared memory starts over when it has to divide it anew', async t => {
	const before: ChildSketch[] = [
		{name: 'server', fixture: 'probe-keeper'},
		{name: 'a', fixture: 'probe-relay', routes: {backend: 'server'}},
	];
	const plan = await planOf(before, [...before, {name: 'b', fixture: 'probe-relay', routes: {backend: 'server'}}]);
	t.deepEqual(shown(plan), [
		'restart server: its memory is shared by 2 clients (was 1)',
		'restart a: its session "backend" shares memory',
		'add b: binary probe-relay',
	]);
});

const chain: ChildSketch[] = [
	{name: 'server', fixture: 'word-server', config: {word: 'one'}},
	{name: 'keeper', fixture: 'word-follower', routes: {backend: 'server'}},
	{name: 'filter', fixture: 'word-relay', routes: {backend: 'keeper'}},
	{name: 'front', fixture: 'word-relay', routes: {backend: 'filter'}},
];

test('children on one thread start over together', async t => {
	const before = chain.map(child =>
		child.name === 'server' || child.name === 'filter' ? {...child, group: 'shared'} : child,
	);
	const plan = await planOf(
		before,
		before.map(child => (child.name === 'filter' ? {...child, ramQuantum: 96 * 2 ** 20} : child)),
	);
	t.deepEqual(shown(plan), ['restart server: shares its thread with "filter"', 'restart filter: RAM 96M (was 64M)']);
	t.deepEqual(plan.moved, [
		{child: 'keeper', label: 'backend'},
		{child: 'front', label: 'backend'},
	]);
	t.deepEqual(shown(await planOf(chain, before)), [
		'restart server: another thread',
		'restart filter: another thread',
	]);
});

test('an optional session that comes or goes restarts its client', async t => {
	const after = chain.map(child =>
		child.name === 'front' ? {...child, routes: {backend: 'filter', spare: 'server'}} : child,
	);
	t.deepEqual(shown(await planOf(chain, after)), ['restart front: its session "spare" is new']);
	t.deepEqual(shown(await planOf(after, chain)), ['restart front: its session "spare" is gone']);
});

test('other data below is passed on to everybody above who goes on', async t => {
	const plan = await planOf(
		chain,
		chain.map(child => (child.name === 'server' ? {...child, config: {word: 'two'}} : child)),
	);
	t.deepEqual(shown(plan), ['restart server: another <config>', 'restart keeper: lies on other data']);
	t.deepEqual(plan.moved, [{child: 'filter', label: 'backend'}]);
	t.deepEqual(plan.reset, [
		{child: 'filter', label: 'backend'},
		{child: 'front', label: 'backend'},
	]);
});

test('a child under another name serves the same data', async t => {
	const renamed = chain.map(child => ({
		...child,
		name: child.name.replace('server', 'medium'),
		routes: child.name === 'keeper' ? {backend: 'medium'} : child.routes,
	}));
	const plan = await planOf(chain, renamed);
	t.deepEqual(shown(plan), [
		'add medium: binary word-server',
		'rewire keeper: backend -> medium (was server)',
		'remove server: binary word-server',
	]);
	t.deepEqual(plan.reset, []);
});

test('what lives in memory alone is other data once it starts over', async t => {
	const before: ChildSketch[] = [
		{name: 'memory', fixture: 'word-keeper'},
		{name: 'front', fixture: 'word-relay', routes: {backend: 'memory'}},
	];
	const plan = await planOf(before, [{...before[0], config: {word: 'x'}}, before[1]]);
	t.deepEqual(plan.reset, [{child: 'front', label: 'backend'}]);
});

test('a stateful client of other state starts over', async t => {
	const before: ChildSketch[] = [
		{name: 'one', fixture: 'word-keeper'},
		{name: 'two', fixture: 'word-keeper'},
		{name: 'follower', fixture: 'word-follower', routes: {backend: 'one'}},
	];
	const plan = await planOf(before, [...before.slice(0, 2), {...before[2], routes: {backend: 'two'}}]);
	t.deepEqual(shown(plan), ['restart follower: lies on other data']);
});

test('heartbeat, priority and exit are changed in place', async t => {
	const plan = await planOf(
		chain,
		chain.map(child =>
			child.name === 'front' ? {...child, heartbeat: {rateMs: 500}, priority: 3, exitPropagate: true} : child,
		),
	);
	t.deepEqual(shown(plan), [
		'adjust front: nice value 3 (was 0)',
		'adjust front: heartbeat every 500 ms',
		'adjust front: the runtime ends with it',
	]);
	t.deepEqual(plan.placed, ['front']);
	t.deepEqual(plan.moved, []);
});

test('a client that goes by another label is connected anew, and goes on', async t => {
	const route = '<service name="block" label="device"><child name="superblock_control"/></service>';
	const plan = await editOf([route, route.replace('/></service>', ' label="guest"/></service>')]);
	t.deepEqual(
		shown(plan),
		['nbd', 'vfs'].map(name => `rewire ${name}: device -> superblock_control, as guest (was superblock_control)`),
	);
	t.deepEqual(
		plan.moved,
		['nbd', 'vfs'].map(child => ({child, label: 'device'})),
	);
	t.deepEqual(plan.reset, []);
});

test('components start anew where the runtime gives them something else', async t => {
	const plan = await editOf(['<service name="entropy"/>', '']);
	t.true(shown(plan).includes('restart crypto: another <parent-provides>'));
	t.is(plan.kept.size, 0);
});

test('a binary outside of the project that lies elsewhere is another one', async t => {
	const {children} = await makeDeployment(chain);
	const moved = children.map(child =>
		child.name === 'front' ? {...child, modulePath: '/elsewhere/front.js'} : child,
	);
	t.deepEqual(shown(planChange(children, moved)), ['restart front: another module of binary word-relay']);
});
