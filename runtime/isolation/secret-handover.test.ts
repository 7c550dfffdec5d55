import {randomBytes} from 'node:crypto';
import test from 'ava';
import {handOver, receiveSecrets} from './secret-handover.js';
import {closeDescriptor, passDescriptor, socketPair, takeDescriptor} from './socket-pair.js';
import {readSync, writeSync} from 'node:fs';

test('secrets arrive by name as the bytes that they are', t => {
	const secrets = new Map<string, Uint8Array>([
		['CBE_ONE', Buffer.from('geheim')],
		['CBE_EMPTY', new Uint8Array(0)],
		['CBE_BYTES', Uint8Array.of(0, 255, 10, 0, 195, 40)],
		['CBE_LÄNGER', randomBytes(1024)],
	]);
	const received = receiveSecrets(handOver([...secrets.keys()], secrets));
	t.deepEqual([...received.keys()], [...secrets.keys()]);
	for (const [name, secret] of secrets) {
		t.deepEqual(received.get(name), Buffer.from(secret), name);
	}
});

test('only what was named is handed over, and what is not set is missing', t => {
	const received = receiveSecrets(
		handOver(
			['CBE_ONE', 'CBE_TEST_THAT_IS_NOT_SET'],
			new Map([
				['CBE_ONE', Buffer.from('geheim')],
				['CBE_OTHER', Buffer.from('other')],
			]),
		),
	);
	t.deepEqual([...received.keys()], ['CBE_ONE']);
	t.deepEqual([...receiveSecrets(handOver([], new Map())).keys()], []);
});

test("a variable of the process's environment is read where the system keeps it", t => {
	// One that every process has; JavaScript's own are not in the system's.
	const received = receiveSecrets(handOver(['PATH'], new Map()));
	t.is(received.get('PATH')?.toString(), process.env['PATH']);
});

test('a descriptor that is passed is the same file at the other end', t => {
	const [over, from] = socketPair();
	const [given, kept] = socketPair();
	passDescriptor(over, given);
	const taken = takeDescriptor(from);
	writeSync(taken, 'hello');
	const content = Buffer.alloc(10);
	t.is(readSync(kept, content), 5);
	t.is(content.toString('utf8', 0, 5), 'hello');
	for (const fd of [over, from, taken, kept]) {
		closeDescriptor(fd);
	}
});

test('where nothing was passed, or nobody takes it, that is told', t => {
	const [over, from] = socketPair();
	t.throws(() => takeDescriptor(from), {message: /^a session was not handed over \(error 11\)$/});
	writeSync(over, 'x');
	t.throws(() => takeDescriptor(from), {message: /^a session was not handed over/});
	closeDescriptor(from);
	const [given, kept] = socketPair();
	t.throws(
		() => {
			passDescriptor(over, given);
		},
		{message: /^a session could not be handed over \(error 32\)$/},
	);
	closeDescriptor(over);
	closeDescriptor(kept);
});
