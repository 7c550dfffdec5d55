import test from 'ava';
import {nearestName, suggestName} from './suggestion.js';

const known = ['block_file', 'block_ram', 'cache', 'nbd'];

test('misspelt names find the one that was meant', t => {
	t.is(nearestName('blok_file', known), 'block_file');
	t.is(nearestName('ndb', known), 'nbd');
	t.is(nearestName('Cache', known), 'cache');
	t.is(nearestName('free_tree', known), undefined);
});

test('a name that was begun is gone on with, though another one is nearer', t => {
	t.is(nearestName('stat', ['start', 'status']), 'status');
	t.is(nearestName('Block', ['block_file', 'block_ram', 'blocks']), 'blocks');
	t.is(nearestName('st', ['start', 'status']), undefined);
});

test('remedies list what there is', t => {
	t.is(suggestName('cach', known, 'binaries'), 'did you mean "cache"? (binaries: block_file, block_ram, cache, nbd)');
	t.is(suggestName('x', ['only'], 'children'), 'children: only');
	t.is(suggestName('x', [], 'launchers'), 'there are no launchers');
});
