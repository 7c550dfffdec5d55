import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {projectFolder, runRuntime, startRuntime, withFolder} from '../../test/support/runtime-process.js';
import {loadDeployment} from '../deployment/deployment-loader.js';
import {withOwnValues} from '../deployment/own-deployment.js';

const shipped = readFileSync(join(projectFolder, 'deploy.xml'), 'utf8');

test('a file is made with the values that were given, starts, and is never overwritten', async t => {
	await withFolder(async directory => {
		const file = join(directory, 'my.xml');
		const words = [
			'init',
			file,
			'--size',
			'8M',
			'--pool',
			'16M',
			'--cipher',
			'aes-256-gcm',
			'--image',
			'disk.img',
			'--anchor',
			'keys & more',
			'--state',
			directory,
		];
		const made = await runRuntime(words);
		t.is(made.code, 0, made.output);
		t.regex(
			made.output,
			/was made from deploy\.xml; it is yours to edit\n\[runtime\] start it: runtime start \S+my\.xml --state \S+\n$/,
		);
		const {children} = await loadDeployment(file);
		const configOf = (name: string) => children.find(child => child.name === name)!.config;
		t.like(configOf('block_file'), {path: 'disk.img'});
		t.like(configOf('trust_anchor'), {path: 'keys & more'});
		t.like(configOf('superblock_control'), {create: [{vbd_size: '8M', ft_size: '16M', cipher: 'aes-256-gcm'}]});
		t.like(configOf('cbe_init'), {vbd_size: '8M', ft_size: '16M', cipher: 'aes-256-gcm'});
		const runtime = await startRuntime(file, directory);
		t.regex(runtime.output, /container created: 2048 blocks for data, 4096 spare blocks, .*aes-256-gcm/);
		t.is(await runtime.stop(), 0);
		t.true(existsSync(join(directory, 'disk.img')));

		const again = await runRuntime(words);
		t.is(again.code, 2);
		t.regex(
			again.output,
			/is there already and is not overwritten; name another file\n\[runtime\] nothing was written\n$/,
		);
		t.deepEqual((await loadDeployment(file)).children.length, children.length);
	});
});

test('what cannot be is refused with its reason, and nothing is written', async t => {
	await withFolder(async directory => {
		const cases: ReadonlyArray<readonly [readonly string[], RegExp]> = [
			[['--cipher', 'rot13'], /rot13[\s\S]*with these values it would be wrong/],
			[['--size', '5000'], /no whole number of blocks/],
			[['--from', 'low_latenzy'], /there is no assembly "low_latenzy"; did you mean "low_latency"/],
			[['--from', 'raw', '--size', '1G'], /has no place for a size/],
			[['--from', 'stacked', '--size', '1G'], /more than one place for a size/],
		];
		for (const [words, reason] of cases) {
			const {code, output} = await runRuntime(['init', join(directory, 'my.xml'), ...words]);
			t.is(code, 2, output);
			t.regex(output, reason);
			t.regex(output, /nothing was written\n$/);
			t.false(existsSync(join(directory, 'my.xml')));
		}
	});
});

test('comments and all that was not asked for stay as they are', t => {
	const text = withOwnValues(shipped, {size: '2G', schema: 'config/deploy.xsd'});
	t.is(text.replaceAll(/ vbd_size="2G"/g, ''), shipped.replaceAll(/\s+vbd_(?:leaves|max_level|degree)="\d+"/g, ''));
	t.is(withOwnValues(shipped, {schema: 'config/deploy.xsd'}), shipped);
});

test('a swap leaves the files of the project alone', async t => {
	await withFolder(async directory => {
		const raw = join(projectFolder, 'config/assemblies/raw.xml');
		const before = readFileSync(raw, 'utf8');
		const runtime = await startRuntime(raw, directory);
		const {code, output} = await runRuntime(['swap', 'block_file', 'block_ram', '--state', directory]);
		// Whatever happens, the file must be as it was for the tests to come.
		const after = readFileSync(raw, 'utf8');
		if (after !== before) {
			writeFileSync(raw, before);
		}

		t.is(after, before);
		t.is(code, 2);
		t.regex(output, /raw\.xml comes with the project.*"runtime init my\.xml"/);
		t.is(await runtime.stop(), 0);
	});
});
