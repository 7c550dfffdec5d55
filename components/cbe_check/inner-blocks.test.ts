/** The tools on a container whose inner blocks are encrypted. */
import test from 'ava';
import {MemoryAnchor} from '../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {runTool} from '../../test/support/tool-run.js';
import {quickCryptoHandlers} from '../../test/simulator/quick-crypto.js';
import cbeDump from '../cbe_dump/component.js';
import cbeInit from '../cbe_init/component.js';
import {blockSize, superblockSlotCount} from '../container/geometry.js';
import {innerKeyId} from '../container/inner-blocks.js';
import cbeCheck from './component.js';

const dimensions = {vbd_leaves: '200', vbd_max_level: '2', ft_leaves: '1024', ft_max_level: '2', inner_blocks: 'encrypted'};

function emptyWorld() {
	return {medium: new MemoryMedium(Buffer.alloc(0), {growable: true}), anchor: new MemoryAnchor({share: wrapped => Uint8Array.from(wrapped)}), crypto: quickCryptoHandlers()};
}

async function created() {
	const world = emptyWorld();
	const {exitValue, message} = await runTool(cbeInit, {...world, config: dimensions});
	return {world, exitValue, message};
}

test('cbe_init encrypts them, says so, and leaves no key behind', async t => {
	const {world: {medium, crypto}, exitValue, message} = await created();
	t.is(exitValue, 0);
	t.regex(message ?? '', /inner blocks encrypted/);
	const inner = medium.image.subarray(superblockSlotCount * blockSize, (superblockSlotCount + 39) * blockSize);
	for (let offset = 0; offset < inner.length; offset += 64) {
		t.true(inner.readBigUInt64LE(offset) > 2n ** 32n, `a node at ${offset} can be read`);
	}

	t.throws(() => void crypto.seal({keyId: innerKeyId, addresses: [8], vbas: [0], generations: [0], plain: [], sealed: Buffer.alloc(0)}, {session: 1, client: 'test'}), {code: 'unknown_key'});
});

test('without a crypto server cbe_init refuses before it writes, and cbe_check and cbe_dump say what is missing', async t => {
	const {crypto: _, ...without} = emptyWorld();
	const refused = await runTool(cbeInit, {...without, config: dimensions});
	t.not(refused.exitValue, 0);
	t.regex(refused.message ?? '', /route the service "crypto"/);
	t.is(without.medium.image.length, 0);

	const {world: {medium, anchor}} = await created();
	for (const [tool, config] of [[cbeCheck, {}], [cbeDump, {detail: 'trees'}]] as const) {
		const {exitValue, message} = await runTool(tool, {medium, anchor, config});
		t.is(exitValue, -1);
		t.regex(message ?? '', /inner blocks are encrypted.*route the service "crypto"/);
	}

	t.is((await runTool(cbeDump, {medium, anchor})).exitValue, 0);
});

test('cbe_check finds nothing, and one flipped bit in any of them', async t => {
	const {world} = await created();
	t.is((await runTool(cbeCheck, world)).exitValue, 0);
	for (let index = 0; index < 39; index++) {
		const image = Buffer.from(world.medium.image);
		image[((superblockSlotCount + index) * blockSize) + (index * 97)] ^= 1;
		const {exitValue, log} = await runTool(cbeCheck, {...world, medium: new MemoryMedium(image), crypto: quickCryptoHandlers()});
		t.is(exitValue, -1);
		t.true(log.some(({text}) => text.includes('does not match the hash in its parent')), `inner block ${index}`);
	}
});

test('cbe_dump shows what they say', async t => {
	const {world} = await created();
	const {exitValue, log} = await runTool(cbeDump, {...world, config: {detail: 'leaves', format: 'json', count: '2000'}});
	t.is(exitValue, 0);
	const records = log.map(({text}) => JSON.parse(text) as {kind: string; damaged?: boolean; inner_blocks?: string | null});
	t.is(records.filter(({kind}) => kind === 'block').length, 39);
	t.is(records.filter(({kind}) => kind === 'leaf').length, 200);
	t.is(records.filter(({kind}) => kind === 'entry').length, 2048);
	t.false(records.some(({damaged}) => damaged));
	t.true(records.some(({inner_blocks: form}) => form === 'encrypted'));
});
