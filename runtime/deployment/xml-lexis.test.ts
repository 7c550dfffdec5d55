import test from 'ava';
import {Problems, formatProblem} from './problem.js';
import {parseXml} from './xml-document.js';

/** Where a fault would be told too late: more lines with quotation marks, semicolons and ends of tags. */
const more = '\n<b x="1;"/>\n<b x=\'2\'/> <!-- y --> &amp;'.repeat(30);

const faults: ReadonlyArray<readonly [second: string, place: string, text: RegExp]> = [
	['<c path="a&b"/>', '2:11', /a bare "&"; write &amp; for &$/],
	['<c path="a&b;c" x="&"/>', '2:20', /a bare "&"/],
	['& here', '2:1', /a bare "&"/],
	['<c path="ab/>', '2:9', /the value of attribute "path" does not end; end it with "$/],
	['<c path=\'ab"/>', '2:9', /the value of attribute "path" does not end; end it with '$/],
	['<c x="1" path="a<b"/>', '2:17', /"<" in the value of attribute "path"; write &lt; for <$/],
	[
		'<c path="ab x="yes"/>',
		'2:16',
		/nothing stands between the value of attribute "path" and the next one; .*the quotation mark that is missing before$/,
	],
	['<c x="1"', '2:1', /the tag <c> does not end; end it with > or \/>$/],
	['<!-- x -- y -->', '2:8', /"--" inside of a comment/],
	['<![CDATA[ x', '2:1', /the CDATA section does not end; end it with ]]>$/],
	['<?x', '2:1', /the processing instruction does not end; end it with \?>$/],
	['<c path=ab/>', '2:9', /unquoted attribute value; write attributes as NAME="VALUE"$/],
	['<c path/>', '2:8', /write attributes as NAME="VALUE"$/],
];

for (const [second, place, text] of faults) {
	test(`a fault is told where it is: ${second}`, t => {
		const problems = new Problems();
		const document = `<a>\n${second}${second.startsWith('<!--') ? '' : more.replaceAll(/<!--.*?-->/g, '')}\n</a>`;
		t.is(parseXml('f', Buffer.from(document), problems), undefined);
		const [problem] = problems.sorted();
		t.true(formatProblem(problem).startsWith(`f:${place}: error: malformed XML: `), formatProblem(problem));
		t.regex(formatProblem(problem), text);
		t.true(problem.mayBeUnfinished);
	});
}

test('a comment that does not end is told where it begins', t => {
	const problems = new Problems();
	parseXml('f', Buffer.from('<a>\n <!-- x\n<b/>\n</a>'), problems);
	t.regex(
		formatProblem(problems.sorted()[0]),
		/^f:2:2: error: malformed XML: the comment does not end; end it with -->$/,
	);
});

test('what looks like a fault and is none passes: references, and marks in comments, CDATA sections and values', t => {
	const problems = new Problems();
	const text = '<?xml version="1.0"?>\n<!-- a & b < \' " -->\n<a x="&lt;&amp;&#65;&#x41; \'>" y=\'"\n>\'><!----></a>';
	t.truthy(parseXml('f', Buffer.from(text), problems));
	t.is(problems.count, 0);
});
