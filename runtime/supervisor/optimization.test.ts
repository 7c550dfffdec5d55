import test from 'ava';
import {optimizationFlags} from './optimization.js';

test('an engine that begins early is told to wait; one that waits by itself is left alone', t => {
	t.deepEqual(optimizationFlags('11.3.244.8-node.38'), ['--interrupt-budget=1048576']);
	t.deepEqual(optimizationFlags('12.4.254.21-node.33'), []);
	t.deepEqual(optimizationFlags('13.6.233.10-node.28'), []);
});
