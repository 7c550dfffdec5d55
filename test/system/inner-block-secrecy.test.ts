/** Containers with encrypted inner blocks: what the medium shows of them, and that everything works on them. */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as wait} from 'node:timers/promises';
import {testWith, runTool} from '../support/external-tools.js';
import {projectFolder, runRuntime, startRuntime, withFolder} from '../support/runtime-process.js';

const blockSize = 4096;
const superblockSlotCount = 8;
const nodeSize = 64;

const assembly = readFileSync(join(projectFolder, 'config/assemblies/low_latency.xml'), 'utf8');

/** A small device of the default assembly, with these attributes of `<create>` beside its size. */
function deployment(attributes: string): string {
	const changed = assembly
		.replace(/<create [^/]*\/>/, `<create vbd_leaves="4096" ft_leaves="4096" ${attributes}/>`)
		.replace('<config path="trust_anchor"/>', '<config path="trust_anchor" unlock_ms="1" kdf_memory="1M"/>');
	if (!changed.includes(attributes)) {
		throw new Error('the assembly says nothing of a new container');
	}

	return changed;
}

interface Image {
	readonly blocks: readonly Buffer[];
	/** Labels in the trees, as cbe_dump prints them. */
	readonly labels: readonly string[];
	/** Blocks of the trees that were ever written. */
	readonly innerAddresses: readonly number[];
}

interface DumpLine {
	readonly kind: string;
	readonly pba?: number;
	readonly hash?: string | null;
	readonly damaged?: boolean;
	readonly inner_blocks?: string | null;
}

function dumpLines(output: string): DumpLine[] {
	return output.split('\n').flatMap(line => {
		const start = line.indexOf('{"');
		return start === -1 ? [] : (JSON.parse(line.slice(start)) as DumpLine);
	});
}

async function imageOf(deployFile: string, state: string, variables: Record<string, string> = {}): Promise<Image> {
	const dumping = `${deployFile}.dump.xml`;
	writeFileSync(
		dumping,
		readFileSync(deployFile, 'utf8').replace(
			'<binary name="cbe_dump"/>',
			'<binary name="cbe_dump"/><config detail="leaves" format="json"/>',
		),
	);
	const {code, output} = await runRuntime(['run', 'cbe_dump', dumping, '--state', state], {variables});
	const lines = dumpLines(output);
	if (code !== 0 || lines.some(({damaged}) => damaged)) {
		throw new Error(output);
	}

	const image = readFileSync(join(state, 'cbe.img'));
	const inTrees = lines.filter(({kind}) => kind === 'block' || kind === 'leaf');
	const blocks = Array.from({length: image.length / blockSize}, (_, i) =>
		image.subarray(i * blockSize, (i + 1) * blockSize),
	);
	return {
		blocks,
		labels: inTrees.flatMap(({hash}) => hash ?? []),
		innerAddresses: inTrees.flatMap(({kind, pba}) =>
			kind === 'block' && pba !== undefined && blocks[pba].some(byte => byte !== 0) ? pba : [],
		),
	};
}

/** True where a block looks like nodes: each begins with the address of a block on this medium, or is all zero. */
function looksLikeNodes(block: Buffer, blockCount: number): boolean {
	let nodeCount = 0;
	for (let offset = 0; offset < blockSize; offset += nodeSize) {
		const node = block.subarray(offset, offset + nodeSize);
		if (node.some(byte => byte !== 0)) {
			nodeCount++;
			if (node.readBigUInt64LE() >= BigInt(blockCount)) {
				return false;
			}
		}
	}

	return nodeCount > 0;
}

/** Bits of information in a byte, by how often each value stands in the block; random bytes have some 7.95 in 4096. */
function entropyOf(block: Buffer): number {
	const counts = new Map<number, number>();
	for (const byte of block) {
		counts.set(byte, (counts.get(byte) ?? 0) + 1);
	}

	return [...counts.values()].reduce((sum, count) => sum - (count / blockSize) * Math.log2(count / blockSize), 0);
}

/** Labels that stand somewhere outside of the superblocks. */
function visibleLabels({blocks, labels}: Image): string[] {
	const found = new Set<string>();
	for (const block of blocks.slice(superblockSlotCount)) {
		for (let offset = 0; offset < blockSize; offset += nodeSize) {
			found.add(block.toString('hex', offset + 16, offset + 48));
		}
	}

	return labels.filter(label => found.has(label));
}

async function settled(state: string): Promise<void> {
	for (;;) {
		const {output} = await runRuntime(['status', '--json', '--state', state]);
		const {devices} = JSON.parse(output) as {devices: Array<{state: string}>};
		if (devices[0].state === 'normal') {
			return;
		}

		await wait(100);
	}
}

for (const cipher of ['aes-256-xts', 'aes-256-gcm']) {
	testWith(['qemu-io'], `${cipher}: a life with encrypted inner blocks leaves none that can be read`, async t => {
		await withFolder(async folder => {
			const [deployFile, passphraseFile] = [join(folder, 'deploy.xml'), join(folder, 'passphrase')];
			writeFileSync(deployFile, deployment(`cipher="${cipher}" inner_blocks="encrypted"`));
			writeFileSync(passphraseFile, 'a passphrase');
			const state = join(folder, 'state');
			const socket = `nbd+unix:///?socket=${join(state, 'nbd.sock')}`;
			const io = async (...commands: string[]) =>
				runTool('qemu-io', ['-f', 'raw', socket, ...commands.flatMap(command => ['-c', command])]);
			const run = async (...words: string[]) => {
				const {code, output} = await runRuntime([...words, '--state', state]);
				t.is(code, 0, output);
				return output;
			};

			await run('key', 'add', '--new-passphrase-file', passphraseFile, '--deploy', deployFile);
			const options = {variables: {CBE_PASSPHRASE_FILE: passphraseFile}};
			const first = await startRuntime(deployFile, state, options);
			t.teardown(async () => first.stop('SIGKILL'));
			t.regex(first.output, /inner blocks encrypted/);
			// Enough that the rekeying changes much of each tree: inner blocks as they were created do not lie on the
			// medium.
			await io('write -P 1 0 4M', 'write -P 2 6M 64k', 'write -P 6 10M 6M', 'flush');
			await run('snapshot', 'create', 'before the rekeying');
			await io('write -P 3 1M 1M', 'flush');
			await run('rekey');
			await settled(state);
			await run('extend', 'vbd', '512');
			await settled(state);
			await run('lock');
			await t.throwsAsync(io('read 0 4k'));
			await run('unlock', '--passphrase-file', passphraseFile);
			await io('write -P 4 9M 256k', 'flush', 'read -P 1 0 1M', 'read -P 3 1M 1M');
			// The key goes to another crypto server as well, and back to one that was restarted.
			await run('swap', 'crypto', 'crypto_noble');
			await io('write -P 5 7M 64k', 'flush', 'read -P 1 2M 1M');
			await run('swap', 'crypto', 'crypto_openssl');
			await run('restart', 'crypto');
			await io('read -P 5 7M 64k', 'read -P 4 9M 256k');
			await first.stop('SIGKILL');

			const second = await startRuntime(deployFile, state, options);
			t.teardown(async () => second.stop('SIGKILL'));
			await io(
				'read -P 1 0 1M',
				'read -P 3 1M 1M',
				'read -P 1 2M 2M',
				'read -P 2 6M 64k',
				'read -P 4 9M 256k',
				'read -P 0 5M 1M',
				'read -P 6 10M 6M',
			);
			const [{generation, name}] = (
				JSON.parse(await run('snapshot', 'list', '--json')) as {
					snapshots: Array<{generation: number; name: string}>;
				}
			).snapshots;
			t.is(name, 'before the rekeying');
			t.is(await second.stop(), 0);
			t.true(generation > 0);
			const checked = await runRuntime(['run', 'cbe_check', deployFile, '--state', state], options);
			t.is(checked.code, 0, checked.output);

			const image = await imageOf(deployFile, state, options.variables);
			t.true(image.innerAddresses.length > 100, `${image.innerAddresses.length} inner blocks`);
			t.false(
				image.blocks.some(block => block.includes(name)),
				'its name lies nowhere in clear',
			);
			t.true(image.labels.length > 1000);
			t.deepEqual(visibleLabels(image), []);
			const written = [...image.blocks.entries()]
				.slice(superblockSlotCount)
				.filter(([, block]) => block.some(byte => byte !== 0));
			t.true(written.length > 1000);
			t.deepEqual(
				written.filter(([, block]) => looksLikeNodes(block, image.blocks.length)).map(([address]) => address),
				[],
			);
			t.deepEqual(
				written.filter(([, block]) => entropyOf(block) < 7.9).map(([address]) => address),
				[],
			);

			// One bit of an inner block is noticed.
			const path = join(state, 'cbe.img');
			const damaged = readFileSync(path);
			damaged[image.innerAddresses.at(-1)! * blockSize + 77] ^= 4;
			writeFileSync(path, damaged);
			const found = await runRuntime(['run', 'cbe_check', deployFile, '--state', state], options);
			t.is(found.code, 255, found.output);
		});
	});
}

testWith(
	['qemu-io'],
	'without the option inner blocks can be read, and the same look at the medium finds them',
	async t => {
		await withFolder(async folder => {
			const deployFile = join(folder, 'deploy.xml');
			writeFileSync(deployFile, deployment('cipher="aes-256-xts"'));
			const state = join(folder, 'state');
			const running = await startRuntime(deployFile, state);
			t.teardown(async () => running.stop('SIGKILL'));
			await runTool('qemu-io', [
				'-f',
				'raw',
				`nbd+unix:///?socket=${join(state, 'nbd.sock')}`,
				'-c',
				'write -P 1 0 4M',
				'-c',
				'flush',
			]);
			t.is(await running.stop(), 0);
			const image = await imageOf(deployFile, state);
			const ofData = 1024;
			t.true(visibleLabels(image).length > ofData);
			t.true(image.innerAddresses.length > 16);
			t.true(image.innerAddresses.every(address => looksLikeNodes(image.blocks[address], image.blocks.length)));
			t.true(image.innerAddresses.every(address => entropyOf(image.blocks[address]) < 7.9));
		});
	},
);
