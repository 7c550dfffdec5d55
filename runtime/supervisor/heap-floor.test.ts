import test from 'ava';
import {makeDeployment} from '../../test/support/fixture-deployment.js';
import {describeNarrowHeap} from '../cli/check.js';
import {projectCatalog} from '../deployment/catalog.js';
import {emptyHeapBytes, narrowHeaps} from './heap-floor.js';
import {ramQuantumMin} from '../deployment/ram-share.js';

const mebibyte = 2 ** 20;
const catalog = projectCatalog();

test('an empty component of every kind has room in the least quantum, with the Node.js that runs', async t => {
	const {
		children: [child],
	} = await makeDeployment([{name: 'x', fixture: 'probe-server'}]);
	const children = catalog.binaries.map(binary => ({
		...child,
		name: binary,
		group: binary,
		modulePath: catalog.modulePath(binary),
		ramQuantum: ramQuantumMin,
	}));
	t.deepEqual(
		(await narrowHeaps(children)).map(heap => describeNarrowHeap(heap)),
		[],
	);
});

test('what is measured grows with what is loaded', async t => {
	const one = await emptyHeapBytes([]);
	const all = await emptyHeapBytes(catalog.binaries.map(binary => catalog.modulePath(binary)));
	t.true(one > mebibyte && all > one, `${one} ${all}`);
});

test('a heap too small for its empty component is told, with the quantum that is enough', async t => {
	const {children} = await makeDeployment([
		{name: 'small', fixture: 'probe-server'},
		{name: 'large', fixture: 'probe-keeper'},
	]);
	const [small, large] = [
		{...children[0], ramQuantum: 32 * mebibyte},
		{...children[1], ramQuantum: 128 * mebibyte},
	];
	const narrow = await narrowHeaps([small, large], async () => 25 * mebibyte);
	t.deepEqual(
		narrow.map(heap => heap.children.map(({name}) => name)),
		[['small']],
	);
	t.is(narrow[0].quantum, 78 * mebibyte);
	const enough = await narrowHeaps([{...small, ramQuantum: narrow[0].quantum!}, large], async () => 25 * mebibyte);
	t.deepEqual(enough, []);
	t.regex(
		describeNarrowHeap(narrow[0]),
		/child "small" has too little memory: empty, it needs 29 MiB of heap with Node\.js v\d.*gives 18 MiB; give "small" <resource name="RAM" quantum="78M"\/>/,
	);
});

test('children of one thread share one empty heap', async t => {
	const {children} = await makeDeployment([
		{name: 'a', fixture: 'probe-server', group: 'g'},
		{name: 'b', fixture: 'probe-keeper', group: 'g'},
	]);
	const group = children.map(child => ({...child, ramQuantum: 32 * mebibyte}));
	t.deepEqual(await narrowHeaps(group, async () => 30 * mebibyte), []);
	const [narrow] = await narrowHeaps(group, async () => 40 * mebibyte);
	t.regex(describeNarrowHeap(narrow), /the thread of "a", "b" has too little memory/);
});
