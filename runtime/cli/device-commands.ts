/** The commands that are about a device of a running runtime: snapshots, extension, rekeying, verification. */
import {resolve} from 'node:path';
import {Argument, InvalidArgumentError, Option, type Command} from 'commander';
import type {DeviceTarget} from './device-call.js';
import type {OperationRequest} from './long-operation.js';
import {parseBlockCount} from './quantity.js';
import {stateDirectory} from './state-directory.js';

/** Takes the exit code of a command. */
type End = (code: number) => void;

interface DeviceOptions {
	readonly state: string;
	readonly device?: string;
	readonly json?: true;
}

interface OperationFlags extends DeviceOptions {
	readonly attach?: true;
	readonly detach?: true;
	readonly pause?: true;
	readonly resume?: true;
}

const sizeHelp =
	"how much to add: a number of blocks of 4096 bytes, or bytes with K, M, G or T behind them, such as 256M; the tree's own blocks come out of it, 1 of 64 at the default degree";

function blockCountOf(text: string): number {
	const blockCount = parseBlockCount(text);
	if (blockCount === undefined) {
		throw new InvalidArgumentError('write whole blocks (65536) or bytes with K, M, G or T (256M).');
	}

	return blockCount;
}

function withDeviceOptions(command: Command): Command {
	return command
		.option('--state <dir>', 'the state directory of the running runtime', stateDirectory, 'var')
		.option('--device <child>', 'the child that serves the device; needed where there are several')
		.option('--json', 'as one JSON document');
}

function withOperationFlags(command: Command, what: string): Command {
	return withDeviceOptions(command)
		.addOption(
			new Option('--attach', `only watch ${what} that is going on`).conflicts(['detach', 'pause', 'resume']),
		)
		.addOption(new Option('--detach', 'begin it and do not wait for its end').conflicts(['pause', 'resume']))
		.addOption(new Option('--pause', `halt ${what} that is going on`).conflicts('resume'))
		.option('--resume', 'let it go on');
}

function targetOf({state, device}: DeviceOptions): DeviceTarget {
	return {stateDirectory: resolve(state), child: device};
}

/** What the flags ask for; undefined where the operation shall begin. */
function requestOf({attach, pause, resume}: OperationFlags): OperationRequest | undefined {
	if (attach) {
		return {kind: 'attach'};
	}

	return pause ? {kind: 'pause'} : resume && {kind: 'resume'};
}

function addSnapshot(runtime: Command, end: End): void {
	const snapshot = runtime
		.command('snapshot')
		.description('create, list, discard or revert to snapshots of a running device')
		.addHelpText(
			'after',
			'\nExamples:\n  runtime snapshot create\n  runtime snapshot create before-upgrade\n  runtime snapshot list --json\n  runtime snapshot revert before-upgrade\n  runtime snapshot discard 12',
		);
	withDeviceOptions(snapshot.command('create').description('keep the present content; nothing is copied'))
		.argument('[name]', 'what it is called beside its number: 1 to 48 bytes, not digits only, without "/"')
		.action(async (name: string | undefined, options: DeviceOptions) => {
			const {createSnapshot} = await import('./snapshot.js');
			end(await createSnapshot({target: targetOf(options), json: options.json ?? false}, name));
		});
	withDeviceOptions(snapshot.command('list').description('show the snapshots, oldest first')).action(
		async (options: DeviceOptions) => {
			const {showSnapshots} = await import('./snapshot.js');
			end(await showSnapshots({target: targetOf(options), json: options.json ?? false}));
		},
	);
	withDeviceOptions(snapshot.command('discard').description('give a snapshot up; what only it held becomes spare'))
		.argument('<snapshot>', 'its number or its name')
		.action(async (wanted: string, options: DeviceOptions) => {
			const {discardSnapshot} = await import('./snapshot.js');
			end(await discardSnapshot({target: targetOf(options), json: options.json ?? false}, wanted));
		});
	withDeviceOptions(
		snapshot
			.command('revert')
			.description(
				'give the device the content of a snapshot again; everything newer is lost, the snapshot stays',
			),
	)
		.argument('<snapshot>', 'its number or its name')
		.action(async (wanted: string, options: DeviceOptions) => {
			const {revertSnapshot} = await import('./snapshot.js');
			end(await revertSnapshot({target: targetOf(options), json: options.json ?? false}, wanted));
		});
}

function addExtend(runtime: Command, end: End): void {
	withOperationFlags(runtime.command('extend'), 'an extension')
		.description('make a running device, or its pool of spare blocks, larger')
		.addArgument(new Argument('[tree]', 'vbd: the device; ft: the pool').choices(['vbd', 'ft']))
		.addArgument(new Argument('[size]', sizeHelp).argParser(blockCountOf))
		.addHelpText(
			'after',
			'\nCtrl-C leaves the extension to itself; --attach shows it again.\n\nExamples:\n  runtime extend vbd 256M\n  runtime extend ft 65536 --detach\n  runtime extend --attach',
		)
		.action(
			async (
				tree: string | undefined,
				blockCount: number | undefined,
				options: OperationFlags,
				command: Command,
			) => {
				const request = requestOf(options);
				if (!request && (tree === undefined || blockCount === undefined)) {
					command.error('error: say what to extend, and by how much, such as "runtime extend vbd 256M"');
				}

				const {longOperation} = await import('./long-operation.js');
				const begin: OperationRequest = {
					kind: 'begin',
					request: {tree, blockCount},
					detach: options.detach ?? false,
				};
				end(
					await longOperation(
						{target: targetOf(options), name: 'extend', json: options.json ?? false},
						request ?? begin,
					),
				);
			},
		);
}

function addRekey(runtime: Command, end: End): void {
	withOperationFlags(runtime.command('rekey'), 'a rekeying')
		.description('seal a running device and all its snapshots anew with a new key')
		.addHelpText(
			'after',
			'\nCtrl-C leaves the rekeying to itself; --attach shows it again.\n\nExamples:\n  runtime rekey\n  runtime rekey --pause\n  runtime rekey --attach',
		)
		.action(async (options: OperationFlags) => {
			const {longOperation} = await import('./long-operation.js');
			const begin: OperationRequest = {kind: 'begin', request: {}, detach: options.detach ?? false};
			end(
				await longOperation(
					{target: targetOf(options), name: 'rekey', json: options.json ?? false},
					requestOf(options) ?? begin,
				),
			);
		});
}

function addVerify(runtime: Command, end: End): void {
	withOperationFlags(runtime.command('verify'), 'a verification')
		.description('compare everything that is in use of a running device, as it lies on the medium, with its labels')
		.addHelpText(
			'after',
			"\nCtrl-C leaves the verification to itself; --attach shows it again. Damage is named in the runtime's log, and the exit code is 1 then.\nThe tool cbe_check says more, of a device that does not run.\n\nExamples:\n  runtime verify\n  runtime verify --detach\n  runtime verify --attach --json",
		)
		.action(async (options: OperationFlags) => {
			const {longOperation} = await import('./long-operation.js');
			const begin: OperationRequest = {kind: 'begin', request: {}, detach: options.detach ?? false};
			end(
				await longOperation(
					{target: targetOf(options), name: 'check', json: options.json ?? false},
					requestOf(options) ?? begin,
				),
			);
		});
}

export function addDeviceCommands(runtime: Command, end: End): void {
	addSnapshot(runtime, end);
	addExtend(runtime, end);
	addRekey(runtime, end);
	addVerify(runtime, end);
}
