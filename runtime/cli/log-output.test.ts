import {closeSync, fstatSync, openSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {makeStateDirectory} from '../../test/support/fixture-deployment.js';
import {formatLogLine, logTo, targetOfOutput} from './log-output.js';

const time = new Date(Date.UTC(2030, 0, 2, 3, 4, 5, 6));
const line = '[runtime -> nbd] warning: odd';
const entry = {level: 'warning', child: 'nbd', text: 'odd'} as const;

test('each target has its form', t => {
	const formOf = (target: 'stream' | 'file' | 'journal') =>
		formatLogLine(line, entry, {format: 'text', target, time});
	t.is(formOf('stream'), line);
	t.is(formOf('file'), `2030-01-02T03:04:05.006Z warning ${line}`);
	t.is(formOf('journal'), `<4>${line}`);
	t.deepEqual(JSON.parse(formatLogLine(line, entry, {format: 'json', target: 'stream', time})), {
		time: '2030-01-02T03:04:05.006Z',
		level: 'warning',
		child: 'nbd',
		text: 'odd',
	});
	t.deepEqual(
		JSON.parse(
			formatLogLine('[runtime] ready', {level: 'info', text: 'ready'}, {format: 'json', target: 'file', time}),
		),
		{time: '2030-01-02T03:04:05.006Z', level: 'info', text: 'ready'},
	);
});

test('what is below the level is not shown', t => {
	const lines: string[] = [];
	const log = logTo(text => lines.push(text), {format: 'text', level: 'warning'}, 'stream');
	log('[runtime] ready', {level: 'info', text: 'ready'});
	log(line, entry);
	log('[runtime] died', {level: 'error', text: 'died'});
	t.deepEqual(lines, [line, '[runtime] died']);
});

test('files, streams and the journal are told apart', async t => {
	const fd = openSync(join(await makeStateDirectory(), 'log'), 'w');
	const {dev, ino} = fstatSync(fd);
	t.is(targetOfOutput(undefined, fd), 'file');
	t.is(targetOfOutput(`${dev}:${ino}`, fd), 'journal');
	t.is(targetOfOutput(`${dev}:${ino + 1}`, fd), 'file');
	const nothing = openSync('/dev/null', 'w');
	t.is(targetOfOutput(undefined, nothing), 'stream');
	closeSync(fd);
	closeSync(nothing);
});
