import test from 'ava';
import {EditError, withBinary} from './binary-edit.js';

const text = `<?xml version="1.0"?>
<!-- <start name="crypto"><binary name="old"/></start> -->
<config>
	<start name="other"><binary name="old"/></start>
	<start   name = "crypto">	<!-- ä, 🙂 --><binary
		name = 'old' />  <!-- keep -->
	</start>
</config>
`;

test('changes the value alone', t => {
	t.is(withBinary('x.xml', text, 'crypto', 'new_one'), text.replace("name = 'old'", "name = 'new_one'"));
	t.is(
		withBinary('x.xml', text, 'other', 'new_one'),
		text.replace('<start name="other"><binary name="old"/>', '<start name="other"><binary name="new_one"/>'),
	);
});

test('takes the path of a binary outside of the project away', t => {
	const outside =
		'<config><start name="a"><binary name="my"  path="../my.js"/></start><start name="b"><binary path=\'x.js\' name="my"/></start></config>';
	t.is(withBinary('x.xml', outside, 'a', 'block_file'), outside.replace('"my"  path="../my.js"', '"block_file"  '));
	t.is(
		withBinary('x.xml', outside, 'b', 'block_file'),
		outside.replace('path=\'x.js\' name="my"', 'name="block_file"'),
	);
});

test('keeps the ends of lines', t => {
	for (const end of ['\r\n', '\r']) {
		const lines = text.replaceAll('\n', end);
		t.is(withBinary('x.xml', lines, 'crypto', 'new_one'), lines.replace("name = 'old'", "name = 'new_one'"));
	}
});

test('says what it cannot edit', t => {
	t.throws(() => withBinary('x.xml', text, 'crypt', 'new_one'), {
		instanceOf: EditError,
		message: /has no child "crypt"; its children are other, crypto/,
	});
	t.throws(() => withBinary('x.xml', text, 'crypto', 'a" b="'), {
		instanceOf: EditError,
		message: /is no name of a binary/,
	});
	t.throws(() => withBinary('x.xml', '<config><start name="a" launcher="b"/></config>', 'a', 'c'), {
		instanceOf: EditError,
		message: /is named by its launcher/,
	});
	t.throws(() => withBinary('x.xml', '<config>', 'a', 'c'), {instanceOf: EditError, message: /well-formed/});
});
