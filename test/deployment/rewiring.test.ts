/** What users rewire by editing XML alone, on the real program. */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {flipBits, placeOf} from '../support/sparse-image.js';
import {NbdPeer} from '../support/nbd-peer.js';
import {projectFolder, runRuntime, startRuntime, withFolder, type RuntimeProcess} from '../support/runtime-process.js';

const assembly = (name: string) => join(projectFolder, 'config/assemblies', `${name}.xml`);
const defaultAssembly = join(projectFolder, 'deploy.xml');

const pattern = Buffer.from(Array.from({length: 3 * 4096}, (_, index) => (index * 7) % 251));
const place = 5 * 4096 + 100;

async function writePattern(socket: string): Promise<void> {
	const peer = await NbdPeer.connect(socket);
	await peer.attach({structured: false});
	const error = await peer.write(place, pattern);
	peer.request({command: 3});
	const flushed = await peer.simpleReply();
	peer.socket.destroy();
	if (error !== 0 || flushed.error !== 0) {
		throw new Error(`write ${error}, flush ${flushed.error}`);
	}
}

async function readPattern(socket: string): Promise<boolean> {
	const peer = await NbdPeer.connect(socket);
	await peer.attach();
	const bytes = await peer.read(place, pattern.length);
	peer.socket.destroy();
	return bytes.equals(pattern);
}

/** Runs a deployment on `folder` while `use` runs; fails where it does not end orderly. */
async function during(
	deployFile: string,
	folder: string,
	use: (socket: string, runtime: RuntimeProcess) => Promise<void>,
): Promise<void> {
	const runtime = await startRuntime(deployFile, folder);
	try {
		await use(join(folder, 'nbd.sock'), runtime);
	} catch (error) {
		await runtime.stop();
		throw error;
	}

	const code = await runtime.stop();
	if (code !== 0) {
		throw new Error(`exit code ${code}:\n${runtime.output}`);
	}
}

/** The default deployment with words replaced, as a user would in an editor. */
function edited(folder: string, ...replacements: ReadonlyArray<readonly [string, string]>): string {
	let text = readFileSync(defaultAssembly, 'utf8');
	for (const [before, after] of replacements) {
		if (!text.includes(before)) {
			throw new Error(`the default deployment has no ${before}`);
		}

		text = text.replaceAll(before, after);
	}

	const file = join(folder, 'edited.xml');
	writeFileSync(file, text);
	return file;
}

/** `Cpus_allowed_list` of each thread of a process that is named by `runtime status`. */
async function allowedCpus(folder: string): Promise<Record<string, string>> {
	const {output} = await runRuntime(['status', '--json', '--state', folder]);
	const {pid, children} = JSON.parse(output) as {pid: number; children: Array<{name: string; tid: number}>};
	return Object.fromEntries(
		children.map(({name, tid}) => {
			const status = readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8');
			return [name, /^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? ''];
		}),
	);
}

test.serial('crypto_noble reads what crypto_openssl wrote, after one word was changed', async t => {
	await withFolder(async folder => {
		await during(defaultAssembly, folder, async socket => writePattern(socket));
		await during(edited(folder, ['name="crypto_openssl"', 'name="crypto_noble"']), folder, async socket => {
			t.true(await readPattern(socket));
		});
	});
});

test.serial(
	'crypto_offload reads what crypto_openssl wrote, after one word was changed, and the other way round',
	async t => {
		await withFolder(async folder => {
			await during(defaultAssembly, folder, async socket => writePattern(socket));
			await during(edited(folder, ['name="crypto_openssl"', 'name="crypto_offload"']), folder, async socket => {
				t.true(await readPattern(socket));
				await writePattern(socket);
			});
			await during(defaultAssembly, folder, async socket => {
				t.true(await readPattern(socket));
			});
		});
	},
);

test.serial('large requests are spread over the pool of crypto_offload', async t => {
	await withFolder(async folder => {
		const content = Buffer.from(Array.from({length: 16 * 2 ** 20}, (_, index) => (index * 7) % 251));
		await during(assembly('throughput'), folder, async socket => {
			const peer = await NbdPeer.connect(socket);
			await peer.attach();
			t.is(await peer.write(0, content), 0);
			t.true((await peer.read(0, content.length)).equals(content));
			peer.socket.destroy();
			const {output} = await runRuntime(['status', '--json', '--state', folder]);
			const {children} = JSON.parse(output) as {children: Array<{name: string; details: Record<string, number>}>};
			const details = children.find(({name}) => name === 'crypto')?.details;
			t.true((details?.pool_blocks ?? 0) > 0, output);
		});
	});
});

test.serial('without encryption blocks lie on the medium as they are, and are still checked', async t => {
	await withFolder(async folder => {
		await during(assembly('no_encryption'), folder, async socket => writePattern(socket));
		const image = join(folder, 'cbe.img');
		const at = placeOf(image, pattern.subarray(0, 3000));
		t.not(at, -1);
		await during(assembly('no_encryption'), folder, async socket => {
			t.true(await readPattern(socket));
		});
		flipBits(image, at, 1);
		await during(assembly('no_encryption'), folder, async (socket, runtime) => {
			const peer = await NbdPeer.connect(socket);
			await peer.attach({structured: false});
			peer.request({command: 0, offset: place, length: 4096});
			t.is((await peer.simpleReply()).error, 5);
			peer.socket.destroy();
			await runtime.printed(/integrity error: the data block at PBA/);
		});
	});
});

test.serial('a container and a crypto server that do not fit are refused both ways', async t => {
	await withFolder(async folder => {
		await during(assembly('no_encryption'), folder, async socket => writePattern(socket));
		const {code, output} = await runRuntime(['start', defaultAssembly, '--state', folder]);
		t.is(code, 1);
		t.regex(
			output,
			/the container is not encrypted \(cipher none\) and "crypto" encrypts; route crypto to crypto_none/,
		);
	});
	await withFolder(async folder => {
		await during(defaultAssembly, folder, async socket => writePattern(socket));
		const {code, output} = await runRuntime(['start', assembly('no_encryption'), '--state', folder]);
		t.is(code, 1);
		t.regex(
			output,
			/the container has cipher aes-256-xts and "crypto" does not encrypt; route crypto to crypto_openssl/,
		);
	});
});

test.serial(
	'with an authenticated cipher the key is changed in time, under the eyes of any crypto server and of the check',
	async t => {
		await withFolder(async folder => {
			const file = edited(
				folder,
				['\t\t<config>\n\t\t\t<create vbd', '\t\t<config rekey_after="4">\n\t\t\t<create vbd'],
				[
					'ft_leaves="262144" ft_max_level="3" ft_degree="64" cipher="aes-256-xts"/>\n\t\t</config>',
					'ft_leaves="262144" ft_max_level="3" ft_degree="64" cipher="aes-256-gcm"/>\n\t\t</config>',
				],
			);
			await during(file, folder, async (socket, runtime) => {
				await writePattern(socket);
				await runtime.printed(/time for a new one/);
				await runtime.printed(/the rekeying finished/);
				t.true(await readPattern(socket));
			});
			await during(assembly('noble'), folder, async socket => {
				t.true(await readPattern(socket));
			});
			const {code, output} = await runRuntime(['run', 'cbe_check', defaultAssembly, '--state', folder]);
			t.is(code, 0, output);
		});
	},
);

test.serial('a filter slips between two components', async t => {
	await withFolder(async folder => {
		const file = edited(
			folder,
			[
				'<service name="block" label="device"><child name="superblock_control"/></service>',
				'<service name="block" label="device"><child name="trace"/></service>',
			],
			[
				'\t<start name="nbd">',
				[
					'\t<start name="trace">',
					'\t\t<binary name="block_trace"/>',
					'\t\t<provides><service name="block"/></provides>',
					'\t\t<config every="1"/>',
					'\t\t<route><service name="block"><child name="superblock_control"/></service></route>',
					'\t</start>',
					'',
					'\t<start name="nbd">',
				].join('\n'),
			],
		);
		await during(file, folder, async (socket, runtime) => {
			await writePattern(socket);
			t.true(await readPattern(socket));
			await runtime.printed(/\[runtime -> trace\] .*write/);
		});
	});
});

test.serial('the NBD server serves a file straight', async t => {
	await withFolder(async folder => {
		await during(assembly('raw'), folder, async socket => writePattern(socket));
		t.true(
			readFileSync(join(folder, 'raw.img'))
				.subarray(place, place + pattern.length)
				.equals(pattern),
		);
	});
});

test.serial('two devices run side by side and share nothing', async t => {
	await withFolder(async folder => {
		await during(assembly('two_devices'), folder, async () => {
			await writePattern(join(folder, 'a.sock'));
			t.true(await readPattern(join(folder, 'a.sock')));
			t.false(await readPattern(join(folder, 'b.sock')));
		});
	});
});

test.serial('a device lies on a device', async t => {
	await withFolder(async folder => {
		await during(assembly('stacked'), folder, async socket => writePattern(socket));
		await during(assembly('stacked'), folder, async socket => {
			t.true(await readPattern(socket));
		});
	});
});

test.serial('all components share one thread', async t => {
	await withFolder(async folder => {
		await during(assembly('low_latency'), folder, async socket => {
			await writePattern(socket);
			t.true(await readPattern(socket));
			const {output} = await runRuntime(['status', '--json', '--state', folder]);
			const {children} = JSON.parse(output) as {children: Array<{tid: number}>};
			t.is(new Set(children.map(({tid}) => tid)).size, 1);
		});
	});
});

test.serial('a device in memory serves', async t => {
	await withFolder(async folder => {
		await during(assembly('ram'), folder, async socket => {
			await writePattern(socket);
			t.true(await readPattern(socket));
		});
	});
});

test.serial('a device under a tracing filter serves', async t => {
	await withFolder(async folder => {
		await during(assembly('traced'), folder, async socket => {
			await writePattern(socket);
			t.true(await readPattern(socket));
		});
	});
});

test.serial('a launcher adds a read-only way to the device', async t => {
	await withFolder(async folder => {
		const file = edited(folder, ['\t<start name="nbd">', '\t<start name="nbd_readonly"/>\n\n\t<start name="nbd">']);
		await during(file, folder, async socket => {
			await writePattern(socket);
			const readOnlySocket = join(folder, 'nbd_readonly.sock');
			t.true(await readPattern(readOnlySocket));
			await t.throwsAsync(writePattern(readOnlySocket), {message: /^write 1,/});
		});
	});
});

const hasTwoCpus = /^Cpus_allowed_list:\s*0-|^Cpus_allowed_list:\s*0,1/m.test(
	readFileSync('/proc/self/status', 'utf8'),
);

(hasTwoCpus ? test.serial : test.skip)('crypto runs on CPU 1 and block I/O on CPU 0', async t => {
	await withFolder(async folder => {
		await during(assembly('pinned'), folder, async socket => {
			await writePattern(socket);
			t.like(await allowedCpus(folder), {crypto: '1', block_file: '0'});
		});
	});
});

test.serial('a tool with whose exit the runtime is to end runs by start', async t => {
	await withFolder(async folder => {
		await during(defaultAssembly, folder, async socket => writePattern(socket));
		const file = edited(folder, [
			'<binary name="cbe_check"/>',
			'<binary name="cbe_check"/>\n\t\t<exit propagate="yes"/>',
		]);
		const {code, output} = await runRuntime(['start', file, '--state', folder]);
		t.is(code, 0);
		t.regex(output, /\[runtime\] child "cbe_check" exited with exit value 0/);
	});
});
