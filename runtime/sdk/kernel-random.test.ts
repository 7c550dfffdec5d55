import {spawnSync} from 'node:child_process';
import test from 'ava';
import {fillFromKernel, kernelRandomBytes} from './kernel-random.js';

test('every byte is drawn, of short and of long draws', t => {
	for (const length of [0, 1, 12, 255, 256, 257, 5000]) {
		const seen = new Set<number>();
		for (let round = 0; round < 60; round++) {
			const bytes = kernelRandomBytes(length);
			t.is(bytes.length, length);
			for (const [i, byte] of bytes.entries()) {
				if (byte !== 0) {
					seen.add(i);
				}
			}
		}

		t.is(seen.size, length, 'a byte that stays zero sixty times was never drawn');
	}

	const view = new Uint8Array(64);
	fillFromKernel(view.subarray(16, 48));
	t.true(
		view.subarray(0, 16).every(byte => byte === 0) && view.subarray(48).every(byte => byte === 0),
		'nothing beside is touched',
	);
});

const hasStrace = spawnSync('strace', ['-e', 'trace=getrandom', 'true']).status === 0;

(hasStrace ? test : test.skip)('each draw asks the kernel, so that a copy of this process draws something else', t => {
	const drawCount = 100;
	const script = `import(${JSON.stringify(new URL('kernel-random.js', import.meta.url).href)}).then(({kernelRandomBytes}) => {
		for (let i = 0; i < ${drawCount}; i++) kernelRandomBytes(12);
	})`;
	const {status, stderr} = spawnSync(
		'strace',
		['-f', '-qq', '-e', 'trace=getrandom', process.execPath, '-e', script],
		{encoding: 'utf8'},
	);
	t.is(status, 0, stderr);
	t.is(stderr.match(/getrandom\("[^)]*, 12, 0\)\s+= 12/g)?.length, drawCount);
});
