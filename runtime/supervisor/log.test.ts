import test from 'ava';
import {RuntimeLog, type LogEntry} from './log.js';
import {passCountMax} from './repeat-limit.js';

function stand() {
	const lines: string[] = [];
	const entries: LogEntry[] = [];
	const log = new RuntimeLog((line, entry) => {
		lines.push(line);
		entries.push(entry);
	});
	return {log, lines, entries};
}

test('a line says who speaks and how bad it is', t => {
	const {log, lines, entries} = stand();
	log.say('ready');
	log.write('nbd', 'warning', 'one\ntwo');
	log.problem('a.xml:1:1: error: no');
	t.deepEqual(lines, [
		'[runtime] ready',
		'[runtime -> nbd] warning: one',
		'[runtime -> nbd] warning: two',
		'a.xml:1:1: error: no',
	]);
	t.deepEqual(entries[1], {level: 'warning', child: 'nbd', text: 'one'});
	t.is(entries[3].level, 'error');
});

test('messages of one fault are limited in rate, those of another one are not held up, and none is lost uncounted', t => {
	const {log, lines} = stand();
	for (let i = 0; i < 1000; i++) {
		log.write(
			'virtual_block_device',
			'error',
			`integrity error: the data block at PBA ${i} (hash 0x${i.toString(16)}) does not match`,
		);
	}

	log.write('virtual_block_device', 'error', 'another fault at PBA 7');
	log.write('cache', 'error', 'integrity error: the data block at PBA 1 (hash 0x1) does not match');
	t.is(lines.length, passCountMax + 2);
	log.close();
	t.is(lines.length, passCountMax + 3);
	t.is(
		lines.at(-1),
		`[runtime -> virtual_block_device] error: … ${1000 - passCountMax} more of these in the last 10 s, the last one: integrity error: the data block at PBA 999 (hash 0x3e7) does not match`,
	);
});

test('what was asked for is not limited', t => {
	const {log, lines} = stand();
	for (let i = 0; i < 100; i++) {
		log.write('block_trace', 'info', `read of ${i} blocks`);
	}

	t.is(lines.length, 100);
});

test('many kinds of faults are remembered within a bound', t => {
	const {log, lines} = stand();
	const name = (kind: number) => String.fromCodePoint(...[...String(kind)].map(digit => 0x67 + Number(digit)));
	for (let kind = 0; kind < 2000; kind++) {
		for (let i = 0; i < passCountMax + 1; i++) {
			log.write('nbd', 'warning', `${name(kind)} fault`);
		}
	}

	const told = lines.filter(line => line.includes('… 1 more of these')).length;
	t.true(told >= 2000 - 256 && told < 2000, String(told));
	log.close();
	t.is(lines.filter(line => line.includes('… 1 more of these')).length, 2000);
});
