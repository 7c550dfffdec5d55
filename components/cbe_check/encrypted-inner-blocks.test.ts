/** The tools on a container whose inner blocks are encrypted. */
import test from 'ava';
import {MemoryAnchor} from '../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {runTool} from '../../test/support/tool-run.js';
import {Counts} from '../../test/simulator/counts.js';
import {open} from '../../test/simulator/lifecycle.js';
import {write} from '../../test/simulator/load.js';
import {randomPlan, type Plan} from '../../test/simulator/plan.js';
import {quickCryptoHandlers} from '../../test/simulator/quick-crypto.js';
import {Random} from '../../test/simulator/random.js';
import {Subject} from '../../test/simulator/subject.js';
import cbeDump from '../cbe_dump/component.js';
import cbeInit from '../cbe_init/component.js';
import {blockSize, superblockSlotCount} from '../lib/format/geometry.js';
import cbeCheck from './component.js';

const dimensions = {
	vbd_leaves: '200',
	vbd_max_level: '2',
	ft_leaves: '1024',
	ft_max_level: '2',
	inner_blocks: 'encrypted',
};

function emptyWorld() {
	return {
		medium: new MemoryMedium(Buffer.alloc(0), {growable: true}),
		anchor: new MemoryAnchor({share: wrapped => Uint8Array.from(wrapped)}),
		crypto: quickCryptoHandlers(),
	};
}

async function created() {
	const world = emptyWorld();
	const {exitValue, message} = await runTool(cbeInit, {...world, config: dimensions});
	return {world, exitValue, message};
}

/** A device on which everything was written, and the inner blocks that lie on its medium. */
async function written() {
	const random = new Random(1);
	const create = {...dimensions, cipher: 'aes-256-xts'};
	const plan: Plan = {
		...randomPlan(random, {kind: 'long'}),
		create,
		leafCount: 200,
		poolLeafCount: 1024,
		crypto: 'quick',
		lockPercent: 0,
		locksAtStart: false,
	};
	const subject = new Subject({plan, random, counts: new Counts()});
	await open(subject);
	await subject.run(write(subject, random, [{vba: 0, count: 200}]));
	await subject.world.close();
	const image = Buffer.concat(
		Array.from({length: subject.medium.blockCount}, (_, address) => subject.medium.content(address)),
	);
	const anchor = new MemoryAnchor({secured: subject.anchor.secured, share: wrapped => Uint8Array.from(wrapped)});
	const dumped = await runTool(cbeDump, {
		medium: new MemoryMedium(image),
		anchor,
		crypto: quickCryptoHandlers(),
		config: {detail: 'leaves', format: 'json', count: '2000'},
	});
	const records = dumped.log.map(
		({text}) =>
			JSON.parse(text) as {
				kind: string;
				pba?: number;
				hash?: string | null;
				damaged?: boolean;
				inner_blocks?: string | null;
			},
	);
	const inner = records.flatMap(({kind, hash, pba = 0}) => (kind === 'block' && hash ? pba : []));
	return {image, anchor, records, inner};
}

test('cbe_init says so, and needs no crypto server: nothing that was never changed lies on the medium', async t => {
	const {
		world: {medium},
		exitValue,
		message,
	} = await created();
	t.is(exitValue, 0);
	t.regex(message ?? '', /inner blocks encrypted/);
	t.true(medium.image.subarray(superblockSlotCount * blockSize).every(byte => byte === 0));
});

test('without a crypto server cbe_check and cbe_dump say what is missing', async t => {
	const {
		world: {medium, anchor},
	} = await created();
	for (const [tool, config, notDone] of [
		[cbeCheck, {}, 3],
		[cbeDump, {detail: 'trees'}, -1],
	] as const) {
		const {exitValue, message} = await runTool(tool, {medium, anchor, config});
		t.is(exitValue, notDone);
		t.regex(message ?? '', /inner blocks are encrypted.*route the service "crypto"/);
	}

	t.is((await runTool(cbeDump, {medium, anchor})).exitValue, 0);
});

test('inner blocks lie encrypted on the medium', async t => {
	const {image, inner} = await written();
	for (const pba of inner) {
		for (let offset = pba * blockSize; offset < (pba + 1) * blockSize; offset += 64) {
			t.true(image.readBigUInt64LE(offset) > 2n ** 32n, `a node at ${offset} can be read`);
		}
	}
});

test('cbe_check finds nothing, and one flipped bit in any of them', async t => {
	const {image, anchor, inner} = await written();
	t.is(
		(await runTool(cbeCheck, {medium: new MemoryMedium(image), anchor, crypto: quickCryptoHandlers()})).exitValue,
		0,
	);
	for (const [index, pba] of inner.entries()) {
		const flipped = Buffer.from(image);
		flipped[pba * blockSize + index * 97] ^= 1;
		const {exitValue, log} = await runTool(cbeCheck, {
			medium: new MemoryMedium(flipped),
			anchor,
			crypto: quickCryptoHandlers(),
		});
		t.is(exitValue, -1);
		t.true(
			log.some(({text}) => text.includes('does not match the hash in its parent')),
			`inner block at PBA ${pba}`,
		);
	}
});

test('cbe_dump shows what they say, and which of them are not there', async t => {
	const {records, inner} = await written();
	// The device's four lowest blocks and its root, and what was exchanged for them.
	t.true(inner.length >= 5 + 4, `${inner.length} inner blocks`);
	t.is(records.filter(({kind}) => kind === 'leaf').length, 200);
	t.false(records.some(({damaged}) => damaged));
	t.true(records.some(({kind, hash}) => kind === 'block' && hash === null));
	t.true(records.some(({inner_blocks: form}) => form === 'encrypted'));
});
