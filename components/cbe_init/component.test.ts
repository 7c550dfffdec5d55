import test from 'ava';
import {MemoryAnchor} from '../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {runTool} from '../../test/support/tool-run.js';
import {SessionError} from '../../runtime/sdk/session.js';
import checkTool from '../cbe_check/component.js';
import initTool from './component.js';

const small = {vbd_leaves: '500', ft_leaves: '2000', ft_max_level: '2'};

for (const cipher of ['aes-256-xts', 'aes-256-cbc-essiv', 'none']) {
	test(`a new ${cipher} container passes the check`, async t => {
		const medium = new MemoryMedium(Buffer.alloc(0), {growable: true});
		const anchor = new MemoryAnchor();
		const outcome = await runTool(initTool, {medium, anchor, config: {...small, cipher}});
		t.is(outcome.exitValue, 0);
		t.regex(
			outcome.message ?? '',
			new RegExp(`^created a container of \\d+ blocks: device 500 blocks, pool 2000 blocks, ${cipher}$`),
		);
		const checked = await runTool(checkTool, {medium, anchor});
		t.is(checked.exitValue, 0, checked.log.map(({text}) => text).join('\n'));
		t.regex(checked.message ?? '', /500 without content/);
	});
}

test('a second run refuses and changes nothing', async t => {
	const medium = new MemoryMedium(Buffer.alloc(0), {growable: true});
	const anchor = new MemoryAnchor();
	await runTool(initTool, {medium, anchor, config: small});
	const before = Buffer.from(medium.image);
	const outcome = await runTool(initTool, {medium, anchor, config: small});
	t.is(outcome.exitValue, -1);
	t.regex(outcome.message ?? '', /secured a container already/);
	t.true(medium.image.equals(before));
});

test('a full host disk is reported in the words of the medium', async t => {
	const medium = new MemoryMedium(Buffer.alloc(0), {growable: true});
	medium.before = operation => {
		if (operation === 'grow') {
			throw new SessionError('no_space', 'no space left for the image');
		}
	};
	const anchor = new MemoryAnchor();
	const outcome = await runTool(initTool, {medium, anchor, config: small});
	t.deepEqual(
		{exitValue: outcome.exitValue, message: outcome.message},
		{exitValue: -1, message: 'no space left for the image'},
	);
	t.false(anchor.initialized);
});
