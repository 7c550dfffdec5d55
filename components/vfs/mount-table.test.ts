import test from 'ava';
import {parseMountTable} from './mount-table.js';

const table = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
42 22 0:39 / /srv/a\\040b/cbe rw,nosuid,nodev shared:2 master:3 - fuse.cbe cbe-12-0a0b0c0d rw,user_id=0
43 22 0:40 / /mnt rw - tmpfs tmpfs rw
not a line of the table
`;

test('entries with any number of optional fields and with escaped paths', t => {
	t.deepEqual(parseMountTable(table), [
		{path: '/', type: 'ext4', source: '/dev/vda'},
		{path: '/srv/a b/cbe', type: 'fuse.cbe', source: 'cbe-12-0a0b0c0d'},
		{path: '/mnt', type: 'tmpfs', source: 'tmpfs'},
	]);
});
