/** The words of the command line: commands, arguments, help. */
import {readFileSync} from 'node:fs';
import {resolve} from 'node:path';
import {Command, CommanderError, Option} from 'commander';
import {nearestName} from '../deployment/suggestion.js';
import {addDeviceCommands} from './device-commands.js';
import {inexactName} from './exact-names.js';
import {exitCode} from './exit-code.js';
import {addKeyCommands, withPassphraseOptions, type PassphraseFlags} from './key-commands.js';
import type {InitOptions} from './init.js';
import {logFormats, logLevels, type LogForm} from './log-output.js';
import {complain, reasonOf} from './output.js';
import {stateDirectory} from './state-directory.js';
import type {StatusOptions} from './status.js';

const stateOption = [
	'--state <dir>',
	'the state directory: image, trust anchor and sockets lie there',
	stateDirectory,
	'var',
] as const;
const deployArgument = [
	'[deploy]',
	"the deployment file (unless given: deploy.xml here, else the project's own)",
] as const;

interface StateOption {
	readonly state: string;
}

interface JsonOption {
	readonly json?: true;
}

/** Tells the trust anchor where its passphrase is; the passphrase itself is read by the anchor alone. */
function offerPassphrase({passphraseFile, passphraseFd}: PassphraseFlags): void {
	if (passphraseFile !== undefined || passphraseFd !== undefined) {
		process.env['CBE_PASSPHRASE_FILE'] =
			passphraseFile === undefined ? `/dev/fd/${passphraseFd}` : resolve(passphraseFile);
	}
}

function version(): string {
	const manifest = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
		version: string;
	};
	return manifest.version;
}

/** What changes a running deployment. */
function addEditCommands(runtime: Command, end: (code: number) => void): void {
	runtime
		.command('diff')
		.description('show what applying a deployment file would do to the running runtime')
		.argument('[deploy]', 'the deployment file (unless given: the one that was started)')
		.option(...stateOption)
		.option('--json', 'as one JSON document')
		.addHelpText('after', '\nExamples:\n  runtime diff\n  runtime diff config/assemblies/traced.xml --json')
		.action(async (deploy: string | undefined, {state, json}: StateOption & JsonOption) => {
			const {diff} = await import('./diff.js');
			end(await diff(deploy && resolve(deploy), resolve(state), json ?? false));
		});

	runtime
		.command('apply')
		.description('read the deployment file of the running runtime now, and apply what was edited')
		.option(...stateOption)
		.addHelpText('after', '\nExample:\n  runtime apply')
		.action(async ({state}: StateOption) => {
			const {apply} = await import('./apply.js');
			end(await apply(resolve(state)));
		});

	runtime
		.command('swap')
		.description('give a running child another binary, in the deployment file and at once')
		.argument('<name>', 'the child, such as crypto')
		.argument('<binary>', 'its new binary, such as crypto_noble')
		.option(...stateOption)
		.option('--force', 'also in a file that comes with the project')
		.addHelpText('after', '\nExample:\n  runtime swap crypto crypto_noble')
		.action(async (name: string, binary: string, {state, force}: StateOption & {force?: true}) => {
			const {swap} = await import('./swap.js');
			end(await swap(name, binary, resolve(state), force ?? false));
		});
}

/** Instead of commander's suggestion, which takes far words for near ones: that of the words of deployment files. */
function withSuggestion(text: string, commands: readonly string[]): string {
	const [, word] = /^error: unknown command '(.*)'/.exec(text) ?? [];
	if (word === undefined) {
		return text;
	}

	const nearest = nearestName(word, commands);
	return `error: unknown command '${word}'${nearest === undefined ? '' : `; did you mean "${nearest}"?`}\n`;
}

/** Every command hands its exit code to `end`. The modules behind a command are loaded when it is used. */
function program(end: (code: number) => void): Command {
	const runtime: Command = new Command('runtime')
		.description('Starts components and routes their sessions as a deployment file says.')
		.version(version())
		.showHelpAfterError('(runtime --help shows what is possible)')
		.exitOverride()
		.configureOutput({
			outputError(text, write) {
				write(
					withSuggestion(
						text,
						runtime.commands.map(command => command.name()),
					),
				);
			},
		})
		.addHelpText(
			'after',
			'\nExamples:\n  runtime start                       an encrypted disk, its NBD socket is var/nbd.sock\n  runtime start other.xml --state d   another assembly with its state in d\n  runtime run cbe_check               verify every block of the container\n\nExit codes: 0 ok, 1 failed, 2 wrong command line or deployment file; of "run": the tool\'s exit value, 255 for -1.',
		);

	withPassphraseOptions(runtime.command('start'))
		.description('start a deployment and serve until a signal or "runtime stop" ends it')
		.argument(...deployArgument)
		.option(...stateOption)
		.option('--no-watch', 'apply edits of the deployment file only when "runtime apply" or "runtime swap" says so')
		.addOption(
			new Option('--log-level <level>', 'the least level of log lines that are shown')
				.choices(logLevels)
				.default('info'),
		)
		.addOption(
			new Option(
				'--log <format>',
				'text (in a file with time and level, in the journal with its priority), or one JSON object a line',
			)
				.choices(logFormats)
				.default('text'),
		)
		.addHelpText(
			'after',
			'\nSIGINT, SIGTERM, SIGHUP and "runtime stop" end it in order; a second signal does not wait.\n\nExamples:\n  runtime start\n  runtime start config/assemblies/low_latency.xml --state /srv/disk\n  setsid runtime start --log json > disk.log &',
		)
		.action(
			async (
				deploy: string | undefined,
				{
					state,
					watch,
					log,
					logLevel,
					...flags
				}: StateOption & PassphraseFlags & {watch: boolean; log: LogForm['format']; logLevel: LogForm['level']},
			) => {
				offerPassphrase(flags);
				const {start} = await import('./start.js');
				end(await start(deploy, resolve(state), {watch, format: log, level: logLevel}));
			},
		);

	runtime
		.command('stop')
		.description('have the running runtime finish, flush and end, and wait for it')
		.option(...stateOption)
		.addHelpText(
			'after',
			'\nExamples:\n  runtime stop\n  runtime stop --state /srv/disk && cp --sparse=always /srv/disk/cbe.img copy.img',
		)
		.action(async ({state}: StateOption) => {
			const {stop} = await import('./stop.js');
			end(await stop(resolve(state)));
		});

	withPassphraseOptions(runtime.command('run'))
		.description('run one tool of a deployment, with the servers it needs, until it exits')
		.argument('<name>', 'the child to run, such as cbe_check')
		.argument(...deployArgument)
		.option(...stateOption)
		.addHelpText(
			'after',
			'\nExamples:\n  runtime run cbe_check\n  runtime run cbe_init --state /srv/new-disk\n  runtime run cbe_dump config/assemblies/tresor.xml --state /srv/old-disk',
		)
		.action(async (name: string, deploy: string | undefined, {state, ...flags}: StateOption & PassphraseFlags) => {
			offerPassphrase(flags);
			const {run} = await import('./run.js');
			end(await run(name, deploy, resolve(state)));
		});

	runtime
		.command('status')
		.description('show every component of the runtime that runs on a state directory, within 100 columns')
		.option(...stateOption)
		.option('--json', 'everything, as one JSON document')
		.option('--wide', 'all columns, however wide')
		.option('--watch', 'again every two seconds, until Ctrl-C or the end of the runtime')
		.addHelpText(
			'after',
			'\nExamples:\n  runtime status\n  runtime status --watch\n  runtime status --json --state /srv/disk',
		)
		.action(async ({state, ...options}: StateOption & StatusOptions) => {
			const {status} = await import('./status.js');
			end(await status(resolve(state), options));
		});

	runtime
		.command('restart')
		.description('kill a component of a running runtime, which then restarts it as after a crash')
		.argument('<name>', 'the child to restart')
		.option(...stateOption)
		.addHelpText('after', '\nExample:\n  runtime restart crypto')
		.action(async (name: string, {state}: StateOption) => {
			const {restart} = await import('./restart.js');
			end(await restart(name, resolve(state)));
		});

	runtime
		.command('shell')
		.description('look at and control a running device as a tree of files, without mounting it')
		.option(...stateOption)
		.option('-c <command>', 'run one command and end')
		.option('--vfs <child>', 'the child that serves the tree; needed where there are several')
		.addHelpText(
			'after',
			'\nExamples:\n  runtime shell\n  runtime shell -c "ls -l current"\n  runtime shell -c "echo true > control/create_snapshot"\n  runtime shell -c "dd if=current/data of=host:copy.img bs=1M count=16"',
		)
		.action(async ({state, c, vfs}: StateOption & {c?: string; vfs?: string}) => {
			const {shell} = await import('./shell.js');
			end(await shell(c, resolve(state), vfs));
		});

	runtime
		.command('init')
		.description('make a deployment file of your own from a shipped assembly')
		.argument('[file]', 'the file to make; what is there already is not overwritten', 'my.xml')
		.option('--from <assembly>', 'the assembly to start from: a name of config/assemblies, or a file', 'deploy')
		.option('--size <size>', 'size of the device, such as 10G')
		.option('--pool <size>', 'spare blocks for copy-on-write and snapshots, such as 2G')
		.option('--cipher <name>', 'cipher of a new container, such as aes-256-gcm')
		.option('--image <path>', 'where the image lies (relative: in the state directory)')
		.option('--anchor <path>', 'where the trust anchor lies (relative: in the state directory)')
		.option('--state <dir>', 'the state directory that you mean to use; it is only named in the hint', 'var')
		.addHelpText(
			'after',
			'\nExamples:\n  runtime init\n  runtime init disk.xml --size 10G --pool 2G --cipher aes-256-gcm --anchor /srv/anchor\n  runtime init fast.xml --from low_latency --state /srv/disk',
		)
		.action(async (file: string, options: InitOptions) => {
			const {init} = await import('./init.js');
			end(await init(file, options));
		});

	runtime
		.command('check')
		.description(
			'check a deployment file, and whether it could start here, without starting or making anything; show its routes',
		)
		.argument(...deployArgument)
		.option(...stateOption)
		.addHelpText(
			'after',
			'\nExample:\n  runtime check config/assemblies/stacked.xml\n  runtime check --state /srv/disk',
		)
		.action(async (deploy: string | undefined, {state}: StateOption) => {
			const {check} = await import('./check.js');
			end(await check(deploy, resolve(state)));
		});
	addEditCommands(runtime, end);
	addDeviceCommands(runtime, end);
	addKeyCommands(runtime, end);
	return runtime;
}

/** Runs the command line; resolves with the exit code. */
export async function commandLine(words: readonly string[]): Promise<number> {
	const inexact = inexactName();
	if (inexact !== undefined) {
		complain(`[runtime] ${inexact}`);
		return exitCode.usage;
	}

	let code: number = exitCode.ok;
	const runtime = program(value => {
		code = value;
	});
	try {
		await runtime.parseAsync(words, {from: 'user'});
		return code;
	} catch (error) {
		if (error instanceof CommanderError) {
			return error.exitCode === 0 ? exitCode.ok : exitCode.usage;
		}

		complain(`[runtime] ${reasonOf(error)}`);
		return exitCode.failed;
	}
}
