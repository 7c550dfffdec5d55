/** A block device of the host under block_file. */
import fs from 'node:fs';
import {join} from 'node:path';
import blockFile from '../../components/block_file/component.js';
import {block, blockSize} from '../../components/sessions/block.js';
import {startComponent, temporaryDirectory} from '../support/component-stand.js';
import {runTool, testWith} from '../support/external-tools.js';

testWith(
	['losetup', 'root', '/dev/loop-control'],
	'block_file serves a block device of the host, with its size, and does not grow it',
	async t => {
		const file = join(temporaryDirectory(), 'disk');
		fs.writeFileSync(file, Buffer.alloc(64 * blockSize));
		const device = (await runTool('losetup', ['--find', '--show', file])).trim();
		try {
			const stand = await startComponent(blockFile, {config: {path: device, create: 'yes'}});
			const client = stand.client(block);
			t.deepEqual(await client.geometry({}), {blockCount: 64, writable: true, growable: false});
			await client.write({extents: [63, 1, 0, 1], data: Buffer.alloc(2 * blockSize, 5)});
			await client.sync({});
			const data = Buffer.alloc(blockSize);
			await client.read({extents: [63, 1], data});
			t.deepEqual(data, Buffer.alloc(blockSize, 5));
			await t.throwsAsync(client.grow({blockCount: 65}), {code: 'no_space'});
			await stand.running.stop!();
		} finally {
			await runTool('losetup', ['--detach', device]);
		}

		t.is(fs.readFileSync(file)[0], 5);
	},
);
