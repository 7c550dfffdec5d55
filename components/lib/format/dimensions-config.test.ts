import test from 'ava';
import {ContainerDimensions} from './dimensions-config.js';

test('the default is 1 GiB with a pool as large and XTS', t => {
	t.deepEqual(ContainerDimensions.parse({}), {
		virtualBlockDevice: {leafCount: 262_144, maxLevel: 4, degree: 64},
		freeTree: {leafCount: 262_144, maxLevel: 3, degree: 64},
		cipher: 'aes-256-xts',
		flushLogBlockCount: 256,
		namesSnapshots: true,
	});
});

test('every attribute has its effect', t => {
	t.deepEqual(
		ContainerDimensions.parse({
			vbd_leaves: '200',
			vbd_max_level: '2',
			vbd_degree: '32',
			ft_leaves: '1000',
			ft_max_level: '4',
			ft_degree: '16',
			cipher: 'aes-256-cbc-essiv',
		}),
		{
			virtualBlockDevice: {leafCount: 200, maxLevel: 2, degree: 32},
			freeTree: {leafCount: 1000, maxLevel: 4, degree: 16},
			cipher: 'aes-256-cbc-essiv',
			flushLogBlockCount: 0,
		},
	);
});

test("the pool is as large as the device, from 64 GiB on a 16th of it but no less; the original's stays small", t => {
	const poolOf = (attributes: Record<string, string>) => ContainerDimensions.parse(attributes).freeTree.leafCount;
	t.is(poolOf({vbd_size: '4M'}), 32_768);
	t.is(poolOf({vbd_size: '16G'}), 2 ** 22);
	t.is(poolOf({vbd_size: '1T'}), 2 ** 24);
	t.is(poolOf({vbd_size: '4T'}), 2 ** 26);
	t.is(poolOf({vbd_size: '16G', cipher: 'aes-256-cbc-essiv'}), 32_768);
});

test('inner blocks are encrypted where it is asked for', t => {
	t.is(ContainerDimensions.parse({inner_blocks: 'encrypted'}).innerBlocks, 'encrypted');
	t.true(ContainerDimensions.parse({inner_blocks: 'encrypted'}).namesSnapshots);
	t.is(ContainerDimensions.parse({inner_blocks: 'encrypted'}).flushLogBlockCount, 0);
	t.is(ContainerDimensions.parse({inner_blocks: 'encrypted', cipher: 'aes-256-gcm'}).innerBlocks, 'encrypted');
	t.is(ContainerDimensions.parse({inner_blocks: 'clear'}).innerBlocks, undefined);
});

test('sizes in bytes count as leaves, and the levels follow', t => {
	const {virtualBlockDevice, freeTree} = ContainerDimensions.parse({vbd_size: '128G', ft_size: '16G'});
	t.deepEqual(virtualBlockDevice, {leafCount: 2 ** 25, maxLevel: 5, degree: 64});
	t.deepEqual(freeTree, {leafCount: 2 ** 22, maxLevel: 4, degree: 64});
});

test('the flush log is smaller on a small device, and what is asked for', t => {
	const logOf = (attributes: Record<string, string>) => ContainerDimensions.parse(attributes).flushLogBlockCount;
	t.is(logOf({vbd_leaves: '1000'}), 15);
	t.is(logOf({vbd_leaves: '1000', flush_log_blocks: '0'}), 0);
	t.is(logOf({flush_log_blocks: '4096'}), 4096);
	t.is(logOf({cipher: 'aes-256-cbc-essiv', flush_log_blocks: '0'}), 0);
});

const refused: ReadonlyArray<{attributes: Record<string, string>; path: string; message: RegExp}> = [
	{attributes: {vbd_leaves: '0'}, path: 'vbd_leaves', message: /above 0/},
	{attributes: {vbd_leaves: '1e3'}, path: 'vbd_leaves', message: /whole number/},
	{attributes: {vbd_size: 'big'}, path: 'vbd_size', message: /no size/},
	{attributes: {vbd_size: '5000'}, path: 'vbd_size', message: /whole number of blocks/},
	{attributes: {vbd_size: '1G', vbd_leaves: '5'}, path: 'vbd_size', message: /give one of them/},
	{
		attributes: {vbd_leaves: '5000', vbd_max_level: '2'},
		path: 'vbd_leaves',
		message: /virtual block device: .* from 1 to 4096/,
	},
	{attributes: {vbd_degree: '1'}, path: 'vbd_degree', message: /degree is 1/},
	{attributes: {vbd_size: '8T'}, path: 'vbd_size', message: /max level is 6/},
	{attributes: {vbd_max_level: '9'}, path: 'vbd_max_level', message: /max level is 9/},
	{attributes: {ft_degree: '4', ft_leaves: '64'}, path: 'ft_degree', message: /free tree: .* number of levels/},
	{attributes: {ft_leaves: '5', ft_max_level: '1'}, path: 'ft_leaves', message: /needs at least 10/},
	{attributes: {flush_log_blocks: '4097'}, path: 'flush_log_blocks', message: /4096/},
	{attributes: {flush_log_blocks: '-1'}, path: 'flush_log_blocks', message: /whole number/},
	{
		attributes: {cipher: 'aes-256-cbc-essiv', flush_log_blocks: '8'},
		path: 'flush_log_blocks',
		message: /has no flush log/,
	},
	{attributes: {inner_blocks: 'encrypted', flush_log_blocks: '8'}, path: 'flush_log_blocks', message: /no flush log/},
	{attributes: {inner_blocks: 'hidden'}, path: 'inner_blocks', message: /encrypted/},
	{attributes: {inner_blocks: 'encrypted', cipher: 'none'}, path: 'inner_blocks', message: /cipher none/},
	{
		attributes: {inner_blocks: 'encrypted', cipher: 'aes-256-cbc-essiv'},
		path: 'inner_blocks',
		message: /aes-256-cbc-essiv.*aes-256-xts/,
	},
	{attributes: {cipher: 'rot13'}, path: 'cipher', message: /aes-256-xts/},
];

for (const {attributes, path, message} of refused) {
	test(`refused: ${JSON.stringify(attributes)}`, t => {
		const {error} = ContainerDimensions.safeParse(attributes);
		t.deepEqual(
			error?.issues.map(issue => issue.path.join('.')),
			[path],
		);
		t.regex(error?.issues[0].message ?? '', message);
	});
}

test('unknown attributes are errors', t => {
	t.false(ContainerDimensions.safeParse({vbd_leafs: '5'}).success);
});
