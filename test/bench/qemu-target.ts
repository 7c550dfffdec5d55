/**
 * The peer: qemu-nbd with a LUKS image, raw or qcow2, on a unix socket. Caching and asynchronous I/O are left as
 * qemu-nbd has them (`cache=writeback`, `aio=threads`), but where reads from the disk are compared.
 */
import {existsSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {missingPrograms, runProgram} from './program.js';
import {ServerProcess} from './server-process.js';
import type {Target} from './target.js';

const mebibyte = 2 ** 20;
const deviceByteLength = 1024 * mebibyte;

/** The key's derivation costs nothing here: only opening the image would show it. */
const keyDerivationMs = 10;
const creationAttemptMax = 10;
const secret = ['--object', 'secret,id=key,data=bench'];

interface Format {
	readonly role: 'raw' | 'qcow2';
	readonly name: string;
	readonly creation: readonly string[];
	readonly driver: string;
	/** File name of image and socket, without their endings; the role where it is left out. */
	readonly file?: string;
	readonly caching?: readonly string[];
}

const formats: readonly Format[] = [
	{
		role: 'raw',
		name: 'raw+LUKS',
		creation: ['-f', 'luks', '-o', `key-secret=key,iter-time=${keyDerivationMs}`],
		driver: 'driver=luks,key-secret=key',
	},
	{
		role: 'qcow2',
		name: 'qcow2+LUKS',
		creation: [
			'-f',
			'qcow2',
			'-o',
			`encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=${keyDerivationMs}`,
		],
		driver: 'driver=qcow2,encrypt.format=luks,encrypt.key-secret=key',
	},
];

class QemuTarget implements Target {
	readonly name: string;
	readonly role: 'raw' | 'qcow2';
	readonly #format: Format;
	readonly #directory: string;
	readonly #file: string;
	#process: ServerProcess | undefined;

	constructor(format: Format, directory: string) {
		this.name = format.name;
		this.role = format.role;
		this.#format = format;
		this.#directory = directory;
		this.#file = format.file ?? format.role;
	}

	get uri(): string {
		return `nbd+unix:///?socket=${this.#socketPath}`;
	}

	get pid(): number {
		return this.#process?.pid ?? -1;
	}

	async start(): Promise<void> {
		const image = join(this.#directory, `${this.#file}.img`);
		if (!existsSync(image)) {
			await this.#create(image);
		}

		const words = [
			...secret,
			'--persistent',
			'--shared=0',
			...(this.#format.caching ?? []),
			`--socket=${this.#socketPath}`,
			'--image-opts',
			`${this.#format.driver},file.driver=file,file.filename=${image}`,
		];
		this.#process = new ServerProcess('qemu-nbd', words, this.#directory);
		await this.#process.listens(this.#socketPath);
	}

	/** qemu-img times the key derivation first, and gives up at times where its clock saw none of it. */
	async #create(image: string): Promise<void> {
		const words = ['create', '-q', ...secret, ...this.#format.creation, image, String(deviceByteLength)];
		for (let attempt = 1; ; attempt++) {
			try {
				await runProgram('qemu-img', words, this.#directory);
				return;
			} catch (error) {
				rmSync(image, {force: true});
				if (attempt === creationAttemptMax) {
					throw error;
				}
			}
		}
	}

	async stop(): Promise<void> {
		await this.#process?.stop();
	}

	get #socketPath(): string {
		return join(this.#directory, `${this.#file}.sock`);
	}
}

const [raw] = formats;
/** Reading from a disk: through the page cache as by default, and past it. */
const coldFormats: readonly Format[] = [
	{...raw, name: 'raw+LUKS, defaults', file: 'defaults'},
	{...raw, name: 'raw+LUKS, past the page cache', file: 'direct', caching: ['--cache=none', '--aio=io_uring']},
];

function targetsOf(all: readonly Format[], directory: string): {targets: Target[]; missing: string[]} {
	const missing = missingPrograms(['qemu-nbd', 'qemu-img']);
	return {targets: missing.length > 0 ? [] : all.map(format => new QemuTarget(format, directory)), missing};
}

/** The peers that this machine can run, or the programs that it lacks. */
export function qemuTargets(directory: string): {targets: Target[]; missing: string[]} {
	return targetsOf(formats, directory);
}

/** The same for reads from a disk. */
export function coldQemuTargets(directory: string): {targets: Target[]; missing: string[]} {
	return targetsOf(coldFormats, directory);
}
