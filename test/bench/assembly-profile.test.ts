import test from 'ava';
import {placementOf, readAssembly} from './assembly-profile.js';
import {shippedAssemblies} from './device-target.js';

const isolation = {user: undefined, ifMissing: 'refuse'} as const;

function child(name: string, group = name, more: {binary?: string; isolation?: typeof isolation} = {}) {
	return {name, group, binary: more.binary ?? name, isolation: more.isolation};
}

test('where components run', t => {
	t.is(placementOf([child('a'), child('b')]), '2 threads');
	t.is(placementOf([child('a', 'g'), child('b', 'g')]), '1 thread for 2 components');
	t.is(placementOf([child('a', 'a', {isolation}), child('b')]), '1 process of its own (a), 1 thread');
	t.is(
		placementOf([child('a', 'a', {isolation}), child('b', 'b', {isolation}), child('c')]),
		'2 processes of their own (a, b), 1 thread',
	);
	t.is(placementOf([child('c', 'c', {binary: 'crypto_offload'})]), '1 thread, a pool of threads for crypto');
});

test('each shipped assembly says what a measurement needs', async t => {
	for (const name of shippedAssemblies()) {
		const {socket, device, placement} = await readAssembly(name);
		t.is(socket === undefined, device === undefined, name);
		t.regex(placement, /\d (?:thread|process)/, name);
	}

	t.like(await readAssembly('low_latency.xml'), {
		name: 'low_latency.xml',
		socket: 'nbd.sock',
		device: 'superblock_control',
		needsTpm: false,
		needsInit: false,
		isVolatile: false,
	});
	t.like(await readAssembly('tpm2.xml'), {needsTpm: true});
	t.like(await readAssembly('tresor.xml'), {needsInit: true});
	t.like(await readAssembly('ram.xml'), {isVolatile: true});
	t.like(await readAssembly('two_devices.xml'), {socket: 'a.sock', device: 'superblock_control_a'});
	t.is((await readAssembly('vfs.xml')).socket, undefined);
});
