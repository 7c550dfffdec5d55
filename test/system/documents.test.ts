/**
 * The documents as a newcomer uses them: every command as it is printed, in a fresh copy of the project whose path has
 * a blank, and every example of docs/rewiring.md wired. What a document takes for granted at a command is done before,
 * and stated here.
 */
import {execFileSync} from 'node:child_process';
import {chmodSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {missingRequirements, testWith} from '../support/external-tools.js';
import {blocksOf, copyProject, Newcomer, type Block} from '../support/newcomer.js';
import {projectFolder, runRuntime, withFolder} from '../support/runtime-process.js';

const textOf = (file: string) => readFileSync(join(projectFolder, file), 'utf8');

/**
 * Stands for npm: what `ci` and `run build` do has been done where tests run, and a benchmark would take an hour, so of
 * it the command line alone is read.
 */
const npm = `#!/bin/sh
case "$*" in
	ci|'run build') exit ;;
	'run bench'*)
		shift 2
		[ "$1" != -- ] || shift
		exec node --input-type=module -e 'import {pathToFileURL} from "node:url";
			(await import(pathToFileURL("dist/test/bench/options.js"))).parseOptions(process.argv.slice(1)); console.log("understood");' -- "$@" ;;
esac
echo "npm $*: not what tests stand for" >&2
exit 1
`;

/** Stands for socat where it is not installed, with the words that documents give it. */
const socat = `#!/usr/bin/env node
const socket = require('node:net').connect(process.argv.at(-1).replace('UNIX-CONNECT:', ''));
socket.on('error', error => { console.error(error.message); process.exit(1); });
process.stdin.on('end', () => { setTimeout(() => process.exit(0), 2000); });
process.stdin.pipe(socket, {end: false});
socket.pipe(process.stdout);
`;

/** Makes the folder of the programs that stand for others. */
function lendPrograms(folder: string): string {
	mkdirSync(folder);
	for (const [name, text] of Object.entries({npm, ...(missingRequirements(['socat']).length > 0 && {socat})})) {
		writeFileSync(join(folder, name), text);
		chmodSync(join(folder, name), 0o755);
	}

	return folder;
}

/** What is done at a block. */
interface Step {
	/** A part of the block's text. */
	readonly at: string;
	/** What the reader has done before. */
	before?(newcomer: Newcomer): Promise<void>;
	/** In place of what is printed, which needs more than there is here; replies with what was printed. */
	instead?(newcomer: Newcomer, text: string): Promise<string>;
}

interface Guide {
	readonly file: string;
	readonly requirements: readonly string[];
	/** What the reader has before the first command; a device that runs unless it says otherwise. */
	readonly begin?: (newcomer: Newcomer) => Promise<void>;
	/** True for a document each of whose sections begins with a new device. */
	readonly beginsAnew?: boolean;
	readonly steps?: readonly Step[];
	/** Looks at what was printed, and at what is there. */
	readonly end: (t: ExecutionContext, printed: string, newcomer: Newcomer) => Promise<void> | void;
}

const serve = async (newcomer: Newcomer) => newcomer.serve('npx runtime start');
const nothing = async () => undefined;

/**
 * QEMU as it is printed, but for the kernel and the console of a guest, which does not run: its disk and its monitor
 * do.
 */
async function standStill(newcomer: Newcomer, text: string): Promise<string> {
	const command = text
		.trim()
		.replace(/ -kernel \S+ -initrd \S+ -append '[^']*'/, ' -S')
		.replace('-nographic', '-display none -serial none');
	await leaveMachine(newcomer);
	return newcomer.run(
		`mkdir -p vm; ${command} & qemu=$!\nuntil [ -S vm/monitor.sock ]; do kill -0 $qemu; sleep 0.2; done; sleep 0.5; kill -0 $qemu`,
	);
}

async function leaveMachine(newcomer: Newcomer): Promise<void> {
	await newcomer.run('[ -z "$qemu" ] || { kill $qemu; wait $qemu || true; }\nqemu=; rm -f vm/monitor.sock');
}

const machines = blocksOf(textOf('docs/vm.md'))
	.filter(({text}) => text.includes('qemu-system'))
	.map(({text}) => text);
const [machineOverNbd, machineOverFuse] = machines;

/** Lines of the installation that need Debian's servers, and a guest's programs. */
const ofDebian = /^(?:debootstrap|chroot|echo vm >|echo '\/dev\/vda|rm vm\/root\/var|cp -L) ?.*\n/gm;

const guides: readonly Guide[] = [
	{
		file: 'README.md',
		requirements: ['nbdinfo', 'qemu-io'],
		begin: nothing,
		end: nothing,
	},
	{
		file: 'docs/tour.md',
		requirements: ['/dev/fuse', 'nbdinfo', 'nbdcopy', 'nbdfuse', 'qemu-io', 'fusermount3', 'mkfs.ext4'],
		begin: nothing,
		end(t, printed) {
			t.regex(printed, /child "cbe_check" exited with exit value 0: no fault found/);
			t.is(printed.match(/^refused$/gm)?.length, 2);
			t.regex(printed, /failed to start: rolled back: the image holds generation/);
		},
	},
	{file: 'docs/rewiring.md', requirements: ['qemu-io', 'nbdinfo'], beginsAnew: true, end: nothing},
	{file: 'docs/keys.md', requirements: [], beginsAnew: true, end: nothing},
	{
		file: 'docs/snapshots-and-growth.md',
		requirements: ['/dev/fuse'],
		beginsAnew: true,
		end(t, printed) {
			t.regex(printed, /rekeying: done/);
		},
	},
	{
		file: 'components/nbd/README.md',
		requirements: ['openssl', 'nbdinfo'],
		steps: [
			{
				at: 'nbds://',
				// The example before it is the configuration of nbd.
				async before(newcomer) {
					await newcomer.run('npx runtime init');
					const file = join(newcomer.folder, 'my.xml');
					const config = blocksOf(textOf('components/nbd/README.md')).find(
						({language, text}) => language === 'xml' && text.startsWith('<config>'),
					)!.text;
					writeFileSync(
						file,
						readFileSync(file, 'utf8').replace(
							/(<start name="nbd">[^]*?)<config>[^]*?<\/config>/,
							(_, start: string) => start + config,
						),
					);
					await newcomer.serve('npx runtime start my.xml');
				},
			},
		],
		end(t, printed) {
			t.regex(printed, /export-size: 1073741824/);
			t.regex(printed, /protocol: newstyle-fixed with TLS/);
		},
	},
	{
		file: 'components/cbe_adopt/README.md',
		requirements: ['qemu-io'],
		async begin(newcomer) {
			await newcomer.serve('npx runtime start');
			await newcomer.stop();
			await newcomer.run('cp --sparse=always var/cbe.img backup.img');
			await newcomer.serve('npx runtime start');
			await newcomer.run('qemu-io -f raw "nbd+unix:///?socket=var/nbd.sock" -c "write -P 1 0 4k" -c flush');
			await newcomer.stop();
			await newcomer.run('cp --sparse=always backup.img var/cbe.img');
		},
		async end(t, printed, newcomer) {
			t.regex(printed, /nothing was changed[^]*adopted/);
			await newcomer.serve('npx runtime start');
			t.regex(
				await newcomer.run('qemu-io -f raw "nbd+unix:///?socket=var/nbd.sock" -c "read -P 0 0 4k"'),
				/read 4096\/4096/,
			);
		},
	},
	{
		file: 'components/trust_anchor_file/README.md',
		requirements: [],
		async end(t, printed, newcomer) {
			t.regex(printed, /(?:[0-9A-Z]{6}-){5}[0-9A-Z]{6}/);
			t.regex(await newcomer.run('npx runtime key list'), /passphrase[^]*recovery key/);
			t.false(/key file/.test(await newcomer.run('npx runtime key list')));
		},
	},
	{
		file: 'docs/testing.md',
		requirements: [],
		begin: nothing,
		end(t, printed) {
			t.regex(printed, /; 0 failures in /);
		},
	},
	{
		file: 'docs/performance.md',
		requirements: [],
		begin: nothing,
		end(t, printed) {
			const commandCount = blocksOf(textOf('docs/performance.md')).flatMap(
				({text}) => text.match(/^npm run bench/gm) ?? [],
			).length;
			t.is(printed.match(/^understood$/gm)?.length, commandCount);
		},
	},
	{
		file: 'docs/vm.md',
		requirements: ['/dev/fuse', 'losetup', 'mkfs.ext4', 'e2fsck', 'qemu-system-x86_64', '/dev/loop-control'],
		begin: nothing,
		steps: [
			{
				at: 'debootstrap',
				instead: async (newcomer, text) =>
					newcomer.run(text.replaceAll(ofDebian, '').replace('umount', 'echo hello > vm/root/hello\numount')),
			},
			{at: machineOverNbd, instead: standStill},
			{at: machineOverFuse, instead: standStill},
			{at: 'blockdev-add', before: async newcomer => void (await standStill(newcomer, machineOverNbd))},
			// In the guest.
			{at: 'resize2fs', instead: async () => ''},
			{at: 'revert_snapshot', before: leaveMachine},
			{at: 'query-status', before: async newcomer => void (await standStill(newcomer, machineOverFuse))},
			{at: 'e2fsck', before: leaveMachine},
		],
		end(t, printed) {
			t.is(printed.match(/"return"/g)?.length, 9);
			t.notRegex(printed, /"error"/);
			t.regex(printed, /^hello$/m);
			t.regex(printed, /no fault found/);
		},
	},
];

/** Tests of pages that make more than commands: they run these, too. */
const testsOfPages: Readonly<Record<string, string>> = {
	'docs/write-a-component.md': 'test/system/write-a-component.test.ts',
};

/** Commands that the reader is asked something by. */
const asking = /^npx runtime (?:key add|unlock)/m;

const starting = /^(?:npm ci && )?npx runtime start(?: [^|&]*)?\n$/;

async function follow({beginsAnew = false, steps = []}: Guide, block: Block, newcomer: Newcomer): Promise<string> {
	const step = steps.find(({at}) => block.text.includes(at));
	await step?.before?.(newcomer);
	if (step?.instead) {
		return step.instead(newcomer, block.text);
	}

	if (starting.test(block.text)) {
		await newcomer.serve(block.text);
		return '';
	}

	if (beginsAnew && !newcomer.isServed) {
		await serve(newcomer);
	}

	return asking.test(block.text) ? newcomer.answer(block.text) : newcomer.run(block.text);
}

for (const guide of guides) {
	const {file, requirements, beginsAnew = false, begin = beginsAnew ? nothing : serve, end} = guide;
	testWith(
		['root', 'git', 'script', 'npx', 'ip', 'unshare', 'nsenter', ...requirements],
		`every command of ${file} runs as it is printed`,
		async t => {
			t.timeout(1_200_000);
			await withFolder(async place => {
				const folder = join(place, 'a fresh copy');
				mkdirSync(folder);
				copyProject(folder);
				const newcomer = new Newcomer(
					folder,
					`${lendPrograms(join(place, 'bin'))}:${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
				);
				const printed: string[] = [];
				try {
					await begin(newcomer);
					let section = '';
					for (const block of blocksOf(textOf(file)).filter(({language}) => language === 'sh')) {
						if (beginsAnew && block.section !== section) {
							await newcomer.stop();
							await newcomer.run('rm -rf var');
						}

						({section} = block);
						printed.push(await follow(guide, block, newcomer));
					}

					t.true(printed.length > 0);
					await end(t, printed.join('\n'), newcomer);
				} finally {
					await newcomer.leave();
				}
			});
		},
	);
}

test('every document with commands has them run, and they stand nowhere else than in blocks of the shell', t => {
	const files = execFileSync('git', ['ls-files', '-z', '*.md'], {cwd: projectFolder, encoding: 'utf8'})
		.split('\0')
		.filter(Boolean);
	t.true(files.length > 25);
	const withCommands = files.filter(file => blocksOf(textOf(file)).some(({language}) => language === 'sh'));
	t.deepEqual(withCommands.sort(), [...guides.map(({file}) => file), ...Object.keys(testsOfPages)].sort());
	for (const [file, page] of Object.entries(testsOfPages)) {
		t.true(textOf(page).includes(file));
	}

	for (const file of files) {
		for (const {language, text} of blocksOf(textOf(file)).filter(block => block.language !== 'sh')) {
			t.notRegex(text, /^(?:npx (?!ava)|node |runtime )/m, `${file}: \`\`\`${language}`);
		}

		for (const {at} of guides.find(guide => guide.file === file)?.steps ?? []) {
			t.true(textOf(file).includes(at), at);
		}
	}
});

/** The deployment with the elements of an example: in place of those of their names, or added. */
function wired(deployment: string, example: string): string {
	let edited = deployment;
	for (const [element, name] of example.matchAll(/<start name="(\w+)"[^]*?<\/start>/g)) {
		const old = new RegExp(`<start name="${name}"[^]*?</start>`);
		edited = old.test(edited)
			? edited.replace(old, element)
			: `${edited.slice(0, edited.lastIndexOf('</config>'))}${element}\n</config>\n`;
	}

	return edited;
}

const examples = blocksOf(textOf('docs/rewiring.md')).filter(
	({language, text}) => language === 'xml' && text.includes('<start name='),
);

for (const [i, {text}] of examples.entries()) {
	const [, name] = /<start name="(\w+)"/.exec(text) ?? [];
	test(`the example of docs/rewiring.md with "${name}" (${i + 1} of ${examples.length}) is right`, async t => {
		const deployment = readFileSync(join(projectFolder, 'deploy.xml'), 'utf8');
		const parts = {free_tree_a: 'two_devices', cache_outer: 'stacked'};
		if (Object.hasOwn(parts, name)) {
			const file = readFileSync(
				join(projectFolder, `config/assemblies/${parts[name as keyof typeof parts]}.xml`),
				'utf8',
			);
			const bare = (xml: string) => xml.trim().replaceAll(/>\s+</g, '><');
			t.true(bare(file).includes(bare(text)));
			return;
		}

		await withFolder(async folder => {
			const space = text.includes('xpos=') ? '<affinity-space width="2" height="1"/>' : '';
			const file = join(folder, 'my.xml');
			writeFileSync(
				file,
				wired(
					deployment.replace(/<config xmlns[^>]*>/, start => start + space),
					text,
				),
			);
			const {code, output} = await runRuntime(['check', file, '--state', join(folder, 'state')]);
			t.is(code, 0, output);
			t.regex(output, new RegExp(`^${name} `, 'm'));
		});
	});
}
