import {createServer, type Socket} from 'node:net';
import {join} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {requestControl} from './control-client.js';
import {controlSocketPath} from './control-request.js';

test('a runtime that does not answer is not waited for for ever', async t => {
	const stateDirectory = temporaryDirectory();
	const sockets: Socket[] = [];
	const server = createServer(socket => void sockets.push(socket));
	await new Promise<void>(resolve => {
		server.listen(controlSocketPath(stateDirectory), resolve);
	});
	await t.throwsAsync(requestControl(stateDirectory, {op: 'status'}, 100), {
		name: 'ControlError',
		code: 'unreachable',
		message: /^the runtime cannot be reached: it did not answer within 0\.1 s; it may have been stopped/,
	});
	for (const socket of sockets) {
		socket.destroy();
	}

	server.close();
});

test('no runtime is told from one that cannot be reached', async t => {
	await t.throwsAsync(requestControl(join(temporaryDirectory(), 'nowhere'), {op: 'status'}), {
		code: 'not_running',
		message: /no runtime uses the state directory/,
	});
});
