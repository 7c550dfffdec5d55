import test from 'ava';
import {loadGolden} from '../../../test/support/golden.js';
import {blockSize, freshPbaCount, superblockSlotCount} from './geometry.js';
import {layOut, layoutBlockCount, type ContainerPlan} from './initialize.js';
import {labelOf} from './label.js';
import {encodeSuperblock} from './superblock-codec.js';

test('a fresh container has the layout of the original, block for block', async t => {
	const {image: golden, description} = loadGolden('d64_a_init');
	const plan: ContainerPlan = {
		virtualBlockDevice: {degree: 64, maxLevel: 2, leafCount: 200},
		freeTree: {degree: 64, maxLevel: 2, leafCount: 1024},
		cipher: 'aes-256-cbc-essiv',
		containerId: undefined,
		key: {id: 1, wrapped: Buffer.from(description.superblock.current_key.on_disc, 'hex')},
	};
	const pbaCount = freshPbaCount(plan.virtualBlockDevice, plan.freeTree);
	t.is(pbaCount, 2295);
	const image = Buffer.alloc(pbaCount * blockSize);
	const written = new Set<number>();
	const progress: number[] = [];
	const medium = {
		async write(extents: number[], data: Uint8Array) {
			let from = 0;
			for (let i = 0; i < extents.length; i += 2) {
				for (let address = extents[i]; address < extents[i] + extents[i + 1]; address++) {
					t.false(written.has(address), `PBA ${address} is written twice`);
					written.add(address);
					image.set(data.subarray(from, from + blockSize), address * blockSize);
					from += blockSize;
				}
			}
		},
	};
	const superblock = encodeSuperblock(await layOut(plan, medium, count => void progress.push(count)));
	t.false(written.has(0), "the first superblock is the caller's to write");
	image.set(superblock);
	written.add(0);

	const innerCount = 5 + 17 + 17;
	t.is(written.size, superblockSlotCount + innerCount);
	t.is(progress.at(-1), layoutBlockCount(plan));
	for (const address of written) {
		const at = (whole: Buffer) => whole.subarray(address * blockSize, (address + 1) * blockSize);
		t.true(at(image).equals(at(golden)), `PBA ${address} differs from the original's`);
	}

	t.is(labelOf(superblock).toString('hex'), description.trust_anchor.superblock_hash_file);
	const {free_tree: freeTree, meta_tree: metaTree} = description.superblock;
	t.deepEqual([description.snapshots[0].pba, freeTree.pba, metaTree.pba], [212, 1253, 2294]);
});

test('in a container that the original cannot read no inner block is written', async t => {
	const plan: ContainerPlan = {
		virtualBlockDevice: {degree: 64, maxLevel: 5, leafCount: 2 ** 30},
		freeTree: {degree: 64, maxLevel: 5, leafCount: 2 ** 28},
		cipher: 'aes-256-xts',
		containerId: new Uint8Array(16),
		key: {id: 1, wrapped: new Uint8Array(32)},
	};
	const written: number[] = [];
	const {snapshots, freeTree, metaTree} = await layOut(plan, {
		async write(extents: number[]) {
			written.push(...extents);
		},
	});
	t.deepEqual(written, [1, 7]);
	for (const {root} of [snapshots[0]!, freeTree, metaTree]) {
		t.is(root.generation, 0);
		t.true(root.hash.every(byte => byte === 0));
	}
});
