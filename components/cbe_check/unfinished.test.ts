import test from 'ava';
import {SessionError} from '../../runtime/sdk/session.js';
import {MemoryAnchor} from '../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {connectMemory, runTool} from '../../test/support/tool-run.js';
import {createContainer} from '../lib/container/create.js';
import {ContainerDimensions} from '../lib/format/dimensions-config.js';
import cbeCheck from './component.js';

test('a medium that fails is no damage: the check has an exit value of its own for what it could not finish', async t => {
	const [medium, anchor] = [new MemoryMedium(Buffer.alloc(0), {growable: true}), new MemoryAnchor()];
	const env = {log: () => undefined, now: () => 0, randomBytes: (count: number) => new Uint8Array(count).fill(3)};
	await createContainer({
		...connectMemory({medium, anchor}),
		env,
		plan: ContainerDimensions.parse({vbd_leaves: '200', vbd_max_level: '2', ft_leaves: '1024', ft_max_level: '2'}),
	});
	medium.before = operation => {
		if (operation === 'read') {
			throw new SessionError('device_failed', 'EIO: i/o error, read');
		}
	};
	const {exitValue, message} = await runTool(cbeCheck, {medium, anchor, cpuCount: 1});
	t.is(exitValue, 3);
	t.regex(message ?? '', /EIO/);
	medium.before = () => undefined;
	t.is((await runTool(cbeCheck, {medium, anchor, cpuCount: 1})).exitValue, 0);
});
