import test from 'ava';
import {makeDeployment, type ChildSketch} from '../../test/support/fixture-deployment.js';
import {ChildGraph, childrenNeededBy} from './child-graph.js';

const device: ChildSketch[] = [
	{name: 'medium', fixture: 'probe-server'},
	{name: 'cache', fixture: 'probe-keeper'},
	{name: 'pool', fixture: 'probe-follower', routes: {backend: 'cache'}},
	{name: 'filter', fixture: 'probe-relay', routes: {backend: 'pool'}},
	{name: 'control', fixture: 'probe-follower', routes: {backend: 'filter'}},
	{name: 'front', fixture: 'probe-relay', routes: {backend: 'control'}},
	{name: 'tool', fixture: 'probe-tool', routes: {backend: 'cache'}},
];

async function graphOf(sketches: ChildSketch[]) {
	const {children} = await makeDeployment(sketches);
	const graph = new ChildGraph(children);
	const find = (name: string) => children.find(child => child.name === name)!;
	const names = (found: Iterable<{name: string}>) => [...found].map(({name}) => name).sort();
	return {
		lost: (name: string) => names(graph.lostWith(find(name))),
		reset: (name: string) => names(graph.resetBy(graph.lostWith(find(name)))),
	};
}

test('a stateless child is lost alone and resets nobody', async t => {
	const {lost, reset} = await graphOf(device);
	t.deepEqual(lost('medium'), ['medium']);
	t.deepEqual(lost('filter'), ['filter']);
	t.deepEqual(reset('filter'), []);
});

test('a stateful child takes its stateful dependents along, also those behind stateless ones', async t => {
	const {lost, reset} = await graphOf(device);
	t.deepEqual(lost('cache'), ['cache', 'control', 'pool']);
	t.deepEqual(lost('control'), ['control']);
	t.deepEqual(reset('control'), ['control', 'front']);
	t.deepEqual(reset('pool'), ['control', 'filter', 'front', 'pool']);
});

test('children on one thread are lost together', async t => {
	const {lost} = await graphOf(
		device.map(child => (child.name === 'medium' || child.name === 'pool' ? {...child, group: 'shared'} : child)),
	);
	t.deepEqual(lost('medium'), ['control', 'medium', 'pool']);
});

test('a tool needs the servers behind its routes only', async t => {
	const deployment = await makeDeployment(device);
	const needed = (name: string) =>
		childrenNeededBy(
			deployment,
			deployment.children.find(child => child.name === name)!,
		).map(child => child.name);
	t.deepEqual(needed('tool'), ['cache', 'tool']);
	t.deepEqual(needed('front'), ['cache', 'pool', 'filter', 'control', 'front']);
});
