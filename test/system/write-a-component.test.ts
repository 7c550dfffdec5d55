/**
 * docs/write-a-component.md as its reader follows it: its files as they are printed, compiled against the package,
 * tested, wired, edited.
 */
import {execFile} from 'node:child_process';
import {mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {promisify} from 'node:util';
import test, {type ExecutionContext} from 'ava';
import {testWith} from '../support/external-tools.js';
import {projectFolder, RuntimeProcess} from '../support/runtime-process.js';

const page = readFileSync(join(projectFolder, 'docs/write-a-component.md'), 'utf8');

/** Blocks of one language, in their order. */
function blocks(language: string): string[] {
	return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(([, text]) => text);
}

/** Files whose name stands in the line before their text. */
const files = new Map(
	[...page.matchAll(/`(\.\.\/delay\/[\w.-]+)`:\n\n```\w+\n([^]*?)^```$/gm)].map(([, name, text]) => [name, text]),
);

const [folderCommands, testCommands, initCommand, checkCommand, startCommand, useCommands] = blocks('sh');
const [elements] = blocks('xml');

/** A folder that is gone when everything that was started in it has ended. */
function placeFor(t: ExecutionContext): string {
	const place = mkdtempSync(join(tmpdir(), 'cbe-'));
	t.teardown(() => {
		rmSync(place, {recursive: true, force: true});
	});
	return place;
}

/** A folder that is as good as the project's: what a reader makes beside it or in it is not made here. */
function lendProject(folder: string): void {
	mkdirSync(folder);
	for (const name of readdirSync(projectFolder).filter(name => !name.startsWith('.') && name !== 'var')) {
		symlinkSync(join(projectFolder, name), join(folder, name));
	}
}

async function run(commands: string, folder: string): Promise<string> {
	const {stdout, stderr} = await promisify(execFile)('bash', ['-euc', commands], {cwd: folder});
	return stdout + stderr;
}

/** The component, compiled and tested as the page says. */
async function makeComponent(place: string): Promise<string> {
	const folder = join(place, 'cbe');
	lendProject(folder);
	await run(folderCommands, folder);
	for (const [name, text] of files) {
		writeFileSync(join(folder, name), text);
	}

	return folder;
}

/** The deployment file with the page's elements: in place of those of the same names, or added. */
function edit(file: string): void {
	let text = readFileSync(file, 'utf8');
	for (const [element, name] of elements.matchAll(/<start name="(\w+)"[^]*?<\/start>/g)) {
		const old = new RegExp(`<start name="${name}"[^]*?</start>`);
		text = old.test(text) ? text.replace(old, element) : text.replace(/<\/config>\s*$/, `${element}\n</config>\n`);
	}

	writeFileSync(file, text);
}

async function serve(t: ExecutionContext, folder: string, words: readonly string[]): Promise<RuntimeProcess> {
	const runtime = new RuntimeProcess(words, {directory: folder});
	t.teardown(async () => runtime.stop());
	await runtime.printed('[runtime] ready\n');
	return runtime;
}

test('the page has its six steps', t => {
	t.deepEqual(
		[...files.keys()].map(name => name.replace('../delay/', '')),
		['package.json', 'tsconfig.json', 'block-delay.ts', 'block-delay.test.ts'],
	);
	t.is(blocks('sh').length, 6);
});

testWith(['npx', 'qemu-io'], 'write a component: the page from its beginning to its end', async t => {
	t.timeout(240_000);
	const place = placeFor(t);
	const folder = await makeComponent(place);
	t.regex(await run(testCommands, folder), /pass 2\n[^]*fail 0\n/);
	await run(initCommand, folder);
	edit(join(folder, 'my.xml'));
	t.regex(await run(checkCommand, folder), /^delay +block_delay +block \(backend\) -> block_file$/m);
	t.is(startCommand, 'npx runtime start my.xml\n');
	await serve(t, folder, ['start', 'my.xml']);
	const output = await run(useCommands, folder);
	const [slow, quick] = [...output.matchAll(/^real\t0m([\d.]+)s$/gm)].map(([, seconds]) => Number(seconds));
	t.true(slow >= 0.02 && quick > 0, output);
	t.regex(output, /delayed[ =:]+[1-9]/);
});

/** Around the component: says what it sees of the state directory. */
const looking = `import {readdirSync} from 'node:fs';
import delay from './block-delay.js';
export default {...delay, start(args) {
	args.env.log('sees ' + readdirSync(args.env.stateDirectory).length + ' files of the state');
	return delay.start(args);
}};
`;

testWith(
	['npx', 'qemu-io', 'bwrap'],
	'in a process of its own a component outside of the project sees its packages, and no state below its folder',
	async t => {
		t.timeout(240_000);
		const place = placeFor(t);
		const folder = await makeComponent(place);
		await run('npx tsc -p ../delay', folder);
		writeFileSync(join(place, 'delay/dist/looking.js'), looking);
		await run(initCommand, folder);
		const file = join(folder, 'my.xml');
		edit(file);
		writeFileSync(
			file,
			readFileSync(file, 'utf8')
				.replace('<start name="delay"', '<start name="delay" isolation="process"')
				.replace('dist/block-delay.js', 'dist/looking.js'),
		);
		const runtime = await serve(t, folder, ['start', 'my.xml', '--state', '../delay/dist/state']);
		const disk = 'nbd+unix:///?socket=../delay/dist/state/nbd.sock';
		await run(`qemu-io -f raw '${disk}' -c 'write -P 0xaa 0 64k' -c 'read -P 0xaa 0 64k'`, folder);
		t.regex(runtime.output, /\[runtime -> delay\] sees 0 files of the state/);
		t.true(readdirSync(join(place, 'delay/dist/state')).length > 0);
		t.is(await runtime.stop(), 0);
	},
);
