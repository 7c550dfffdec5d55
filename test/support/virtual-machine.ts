/** A small Linux in qemu, without hardware acceleration; its disk is what the test says. */
import {spawn, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import fs from 'node:fs';
import {join} from 'node:path';
import {runTool} from './external-tools.js';
import {LineChannel} from './line-channel.js';
import {projectFolder} from './runtime-process.js';

const scripts = join(projectFolder, 'test/system/vm');

/** Where a kernel lies, as `test/system/vm/fetch-kernel` unpacks it. */
const kernelFolder = process.env.CBE_VM_KERNEL ?? join(projectFolder, '.cache/kernel');

function kernelImage(): string {
	const folder = join(kernelFolder, 'boot');
	const names = fs.existsSync(folder) ? fs.readdirSync(folder) : [];
	return join(folder, names.find(name => /^vmlinuz-.*-cloud-amd64$/.test(name)) ?? 'vmlinuz-*-cloud-amd64');
}

/** What `makeGuest` and `VirtualMachine` need. */
export const machineRequirements = ['qemu-system-x86_64', 'busybox', 'resize2fs', 'ldd', kernelImage()];

/** Makes a guest: `vmlinuz`, `initrd`, and in `root` what belongs on its disk, `programs` of this machine among it. */
export async function makeGuest(folder: string, programs: readonly string[] = []): Promise<void> {
	await runTool(join(scripts, 'make-guest'), [folder, kernelFolder, ...programs]);
}

export class VirtualMachine {
	readonly #process: ChildProcess;
	readonly #agent: LineChannel;
	readonly #monitor: LineChannel;
	/** What qemu printed, and what the guest's kernel had to say. */
	#output = '';
	readonly #ended: Promise<unknown>;

	private constructor(guestFolder: string, drive: string, channels: {agent: LineChannel; monitor: LineChannel}) {
		this.#agent = channels.agent;
		this.#monitor = channels.monitor;
		this.#process = spawn(
			'qemu-system-x86_64',
			[
				'-nodefaults',
				'-display',
				'none',
				'-m',
				'256',
				'-kernel',
				join(guestFolder, 'vmlinuz'),
				'-initrd',
				join(guestFolder, 'initrd'),
				'-append',
				'console=ttyS0 quiet',
				'-drive',
				`${drive},format=raw,if=none,node-name=disk,cache=none,discard=unmap`,
				'-device',
				'virtio-blk-pci,drive=disk',
				// The host is 10.0.2.2, and its loopback addresses can be reached there.
				'-nic',
				'user,model=virtio-net-pci',
				'-serial',
				'stdio',
				'-serial',
				`unix:${join(guestFolder, 'agent.sock')}`,
				'-qmp',
				`unix:${join(guestFolder, 'monitor.sock')}`,
			],
			{stdio: ['ignore', 'pipe', 'pipe']},
		);
		for (const stream of [this.#process.stdout, this.#process.stderr]) {
			stream?.setEncoding('utf8').on('data', (text: string) => {
				this.#output += text;
			});
		}

		this.#ended = once(this.#process, 'close');
	}

	/** Boots a guest from a disk, given as the first words of qemu's `-drive`, and waits until it takes commands. */
	static async boot(guestFolder: string, drive: string): Promise<VirtualMachine> {
		const agent = await LineChannel.listen(join(guestFolder, 'agent.sock'));
		const monitor = await LineChannel.listen(join(guestFolder, 'monitor.sock'));
		const machine = new VirtualMachine(guestFolder, drive, {agent, monitor});
		try {
			await machine.#take(monitor, /^[^\n]*\n/);
			await machine.control('qmp_capabilities');
			await machine.#booted();
			return machine;
		} catch (error) {
			await machine.end();
			throw error;
		}
	}

	/** Runs a command in the guest and gives its output. @throws Error where it fails */
	async run(command: string): Promise<string> {
		this.#agent.send(command);
		const [, output, code] = await this.#take(this.#agent, /^([^]*?)\n\[exit (\d+)\]\n/);
		if (code !== '0') {
			throw new Error(`in the guest, ${command} failed with ${code}: ${output}`);
		}

		return output;
	}

	/** Has the guest reboot, and waits until it takes commands again. */
	async reboot(): Promise<void> {
		this.#agent.send('reboot');
		await this.#booted();
	}

	/** Has the guest shut down, and waits until qemu has closed its disk. */
	async powerOff(): Promise<void> {
		this.#agent.send('poweroff');
		await this.#ended;
		await this.end();
	}

	/** Tells qemu's monitor a command of its QMP. @throws Error where it refuses */
	async control(command: string, words: Readonly<Record<string, unknown>> = {}): Promise<void> {
		this.#monitor.send(JSON.stringify({execute: command, arguments: words}));
		const [answer] = await this.#take(this.#monitor, /^\{"(return|error)"[^\n]*\n/m);
		if (answer.startsWith('{"error"')) {
			throw new Error(`qemu refused ${command}: ${answer}`);
		}
	}

	/** Pulls the plug, if it is still in. */
	async end(): Promise<void> {
		this.#process.kill('SIGKILL');
		await this.#ended;
		this.#agent.close();
		this.#monitor.close();
	}

	async #booted(): Promise<void> {
		await this.#take(this.#agent, /\[ready\]\n/);
	}

	async #take(channel: LineChannel, pattern: RegExp): Promise<RegExpExecArray> {
		try {
			return await channel.until(pattern, this.#ended);
		} catch (error) {
			throw new Error(`${String(error)}\nthe console: ${this.#output}`, {cause: error});
		}
	}
}
