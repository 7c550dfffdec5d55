import test from 'ava';
import {machineCpus, parseCpuList} from './affinity.js';

test('CPU lists of the kernel', t => {
	t.deepEqual(parseCpuList('0'), [0]);
	t.deepEqual(parseCpuList('0-3,8,10-11'), [0, 1, 2, 3, 8, 10, 11]);
});

test('this machine has CPUs, each listed once', t => {
	const cpus = machineCpus();
	t.true(cpus.length > 0);
	t.is(new Set(cpus).size, cpus.length);
});
