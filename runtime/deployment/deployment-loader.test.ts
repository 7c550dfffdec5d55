import {mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import test from 'ava';
import {z} from 'zod';
import {defineComponent, defineTool, optional, type Component} from '../sdk/component.js';
import {defineSession, op, region} from '../sdk/session.js';
import type {Catalog} from './catalog.js';
import {loadDeployment} from './deployment-loader.js';
import type {Child, Deployment} from './checked-deployment.js';
import {DeploymentError} from './problem.js';

const store = defineSession('store', {errors: [], ops: {}});
const lock = defineSession('lock', {errors: [], ops: {}});
const memory = defineSession('memory', {errors: [], ops: {share: op({reply: z.strictObject({memory: region()})})}});

const ends = () => {
	throw new Error('never started here');
};

const nothing = z.strictObject({});

const components: Record<string, () => Component> = {
	disk: () =>
		defineComponent({
			provides: {store},
			config: z.strictObject({
				path: z.string().default('x'),
				size: z.coerce.number().int().positive().optional(),
				count: z
					.string()
					.default('7')
					.superRefine((value, context) =>
						value === '7' ? undefined : context.addIssue({code: 'custom', message: 'seven is required'}),
					),
				mode: z.enum(['fast', 'safe']).optional(),
			}),
			start: ends,
		}),
	filter: () => defineComponent({provides: {store}, requires: {backend: store}, config: nothing, start: ends}),
	front: () =>
		defineComponent({
			requires: {device: store, guard: optional(lock)},
			config: z.strictObject({
				unix: z
					.array(z.strictObject({path: z.string()}))
					.max(1)
					.default([]),
				name: z.string().optional(),
			}),
			stateful: true,
			start: ends,
		}),
	sharer: () => defineComponent({provides: {memory}, config: nothing, start: ends}),
	reader: () => defineComponent({requires: {memory}, config: nothing, start: ends}),
	mounter: () => defineComponent({needsRuntime: 'mounts a file system', config: nothing, start: ends}),
	locker: () => defineComponent({provides: {lock}, config: nothing, start: ends}),
	strict: () =>
		defineComponent({
			config: z.strictObject({
				path: z.string().min(1),
				port: z.coerce.number().int().min(2).max(9).optional(),
				unix: z.array(z.strictObject({})),
			}),
			start: ends,
		}),
	check: () => defineTool({requires: {device: store}, config: nothing, run: ends}),
	broken: () => {
		throw new Error('its module has a mistake');
	},
};

const catalog: Catalog = {
	binaries: Object.keys(components),
	modulePath: binary => `/modules/${binary}/component.js`,
	load: async binary => components[binary](),
	loadOutside: async modulePath => ((await import(modulePath)) as {default: Component}).default,
	serviceNames: async () => ['store', 'lock', 'memory', 'unused'],
};

/** Loads a deployment from a folder of its own, with the machine's CPUs 0 and 1. */
async function load(files: Record<string, string | Uint8Array>): Promise<Deployment> {
	const folder = mkdtempSync(join(tmpdir(), 'deployment-'));
	try {
		for (const [name, text] of Object.entries(files)) {
			mkdirSync(dirname(join(folder, name)), {recursive: true});
			writeFileSync(join(folder, name), text);
		}

		return await loadDeployment(join(folder, 'deploy.xml'), {
			catalog,
			machineCpus: [0, 1],
			launcherFolders: [join(folder, 'launcher')],
		});
	} catch (error) {
		if (error instanceof DeploymentError) {
			error.message = error.message.replaceAll(`${folder}/`, '');
		}

		throw error;
	} finally {
		rmSync(folder, {recursive: true});
	}
}

async function messagesOf(files: Record<string, string | Uint8Array>): Promise<string[]> {
	try {
		await load(files);
	} catch (error) {
		if (error instanceof DeploymentError) {
			return error.message.split('\n');
		}

		throw error;
	}

	return [];
}

const diskStart = '<start name="disk"><binary name="disk"/><provides><service name="store"/></provides></start>';
const frontStart = (inner: string) => `<start name="front"><binary name="front"/>${inner}</start>`;
const toDisk = '<route><service name="store"><child name="disk"/></service></route>';

/** Body lines stand from line 2 on. */
const around = (...lines: string[]) => `<config>\n${lines.join('\n')}\n<default ram="32M"/></config>`;

/** What is wrong, the file, and all messages, without the file's name. */
const mistakes: ReadonlyArray<readonly [string, string, readonly string[]]> = [
	[
		'an element closed by another',
		'<config>\n<start name="a">\n</config>',
		[
			'3:9: error: malformed XML: <start> of line 2 is not closed; close every element with </NAME> or />, in the reverse order of their opening',
		],
	],
	[
		'an element that is never closed',
		'<config>\n<start name="a"/>\n',
		[
			'2:18: error: malformed XML: <config> of line 1 is not closed; close every element with </NAME> or />, in the reverse order of their opening',
		],
	],
	[
		'an attribute without quotes',
		'<config>\n<start name=a/></config>',
		['2:13: error: malformed XML: unquoted attribute value; write attributes as NAME="VALUE"'],
	],
	[
		'an attribute given twice',
		'<config>\n<start name="a" name="b"/></config>',
		['2:26: error: malformed XML: duplicate attribute: name; give each attribute once'],
	],
	['an empty file', '', ['1:1: error: malformed XML: document must contain a root element; write well-formed XML']],
	[
		'an entity bomb',
		'<?xml version="1.0"?>\n<!DOCTYPE config [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>\n<config>&b;</config>',
		['2:1: error: a document type declaration is not accepted, nor the entities it could declare; remove it'],
	],
	[
		'an external entity',
		'<!DOCTYPE config SYSTEM "file:///etc/passwd">\n<config/>',
		['1:1: error: a document type declaration is not accepted, nor the entities it could declare; remove it'],
	],
	[
		'an entity nobody declared',
		'<config>\n&x;</config>',
		['2:3: error: malformed XML: undefined entity; write & as &amp; and < as &lt;'],
	],
	[
		'another encoding',
		'<?xml version="1.0" encoding="ISO-8859-1"?>\n<config/>',
		['1:1: error: the encoding "ISO-8859-1" is not supported; store the file as UTF-8 and write encoding="UTF-8"'],
	],
	[
		'depth without end',
		'<config>\n' + '<a>'.repeat(20) + '</a>'.repeat(20) + '</config>',
		['2:46: error: <a> lies deeper than 16 elements; nest less'],
	],
	[
		'another root',
		'<deploy/>',
		['1:1: error: the root element is <deploy>; the root element of a deployment file is <config>'],
	],
	['nothing to start', around(), ['1:1: error: nothing is started; add a <start name="…">']],
	[
		'text',
		around('hello', diskStart),
		[
			'2:1: error: text "hello" inside <config>; everything is said by elements and attributes; put remarks into <!-- -->',
		],
	],
	[
		'an unknown element',
		around(diskStart, '<strat name="x"/>'),
		[
			'3:1: error: unknown element <strat> in <config>; did you mean "start"? (elements: affinity-space, default, default-route, heartbeat, isolation, parent-provides, start)',
		],
	],
	[
		'an unknown attribute',
		around(diskStart, '<start name="b"', '  colour="red"><binary name="disk"/></start>'),
		[
			'4:3: error: unknown attribute "colour" of <start>; attributes: colocate, isolation, launcher, name, priority',
		],
	],
	[
		'a missing attribute',
		around(diskStart, '<start><binary name="disk"/></start>'),
		['3:1: error: <start> has no attribute "name"; write <start name="…">'],
	],
	[
		'an element given twice',
		around(diskStart, '<heartbeat rate_ms="500"/>', '<heartbeat rate_ms="600"/>'),
		['4:1: error: a second <heartbeat> in <config>; keep one; the first is in line 3'],
	],
	[
		'a child given twice',
		around(diskStart, diskStart),
		['3:1: error: a second child "disk"; choose another name; the first is in line 2'],
	],
	[
		'a name with a path in it',
		around(diskStart, '<start name="../x"/>'),
		[
			'3:8: error: bad value name="../x" of <start>; a name has 1 to 64 letters, digits, "_", "-" or "." and starts with a letter, a digit or "_"',
		],
	],
	[
		'an unknown binary',
		around('<start name="a">', ' <binary name="dsik"/></start>'),
		[
			'3:10: error: there is no binary "dsik"; did you mean "disk"? (binaries: broken, check, disk, filter, front, locker, mounter, reader, sharer, strict)',
		],
	],
	[
		'a binary that does not load',
		around('<start name="a">', ' <binary name="broken"/></start>'),
		[
			'3:10: error: binary "broken" cannot be loaded: its module has a mistake; mend or rebuild the component (npm run build)',
		],
	],
	[
		'neither binary nor launcher',
		around('<start name="a"/>'),
		[
			'2:1: error: child "a" has no <binary>, and there is no launcher "a"; add <binary name="…"/>, or launcher="…" with one of: (there are no launchers)',
		],
	],
	[
		'an unknown launcher',
		around('<start name="a" launcher="dsk"/>'),
		['2:17: error: there is no launcher "dsk"; there are no launchers'],
	],
	[
		'launcher and binary',
		around('<start name="a" launcher="x"><binary name="disk"/></start>'),
		['2:17: error: child "a" has both a launcher and a <binary>; keep one: the launcher names the binary'],
	],
	[
		'a route to no child',
		around(diskStart, frontStart('\n<route><service name="store">\n<child name="dissk"/></service></route>')),
		['5:1: error: there is no child "dissk"; did you mean "disk"? (children: disk, front)'],
	],
	[
		'an unknown service',
		around(diskStart, frontStart(`\n<route><service name="stor">\n<child name="disk"/></service></route>`)),
		[
			'3:1: error: missing route: child "front" requires "store" (label "device"); add <service name="store" label="device"><child name="disk"/></service> to its <route>',
			'4:17: error: unknown service "stor"; did you mean "store"? (services: clock, entropy, lock, log, memory, store, unused)',
		],
	],
	[
		'a service that its child does not declare',
		around('<start name="disk"><binary name="disk"/></start>', frontStart(`\n${toDisk}`)),
		['4:30: error: child "disk" does not provide "store"; add <service name="store"/> to its <provides>'],
	],
	[
		'a service that its child cannot have',
		around(
			diskStart,
			'<start name="other"><binary name="locker"/></start>',
			frontStart('\n<route><service name="store"><child name="other"/></service></route>'),
		),
		['5:30: error: child "other" does not provide "store"; these do: disk'],
	],
	[
		'a service that its binary does not have',
		around(
			diskStart,
			'<start name="l"><binary name="locker"/>',
			'<provides><service name="store"/></provides></start>',
		),
		['4:20: error: child "l" cannot provide "store"; services of binary "locker": lock'],
	],
	[
		'a missing route',
		around(diskStart, frontStart('')),
		[
			'3:1: error: missing route: child "front" requires "store" (label "device"); add <service name="store" label="device"><child name="disk"/></service> to its <route>',
		],
	],
	[
		'a missing route and nobody to route to',
		around(frontStart('')),
		[
			'2:1: error: missing route: child "front" requires "store" (label "device"); start a child that provides "store" and route to it',
		],
	],
	[
		'a route for any child with none there',
		around(frontStart('<route><service name="store"><any-child/></service></route>')),
		[
			'2:1: error: missing route: child "front" requires "store" (label "device"); start a child that provides "store" and route to it',
		],
	],
	[
		'an ambiguous route',
		around(
			diskStart,
			diskStart.replace('name="disk"', 'name="disk2"'),
			'<default-route><any-service><any-child/></any-service></default-route>',
			frontStart(''),
		),
		[
			'5:1: error: ambiguous route: "store" (label "device") of child "front" could go to "disk" or "disk2"; say which: <service name="store" label="device"><child name="disk"/></service> in its <route>',
		],
	],
	[
		'a route that nothing needs',
		around(
			diskStart,
			frontStart(
				`${toDisk.replace('</route>', '\n<service name="unused"><child name="disk"/></service></route>')}`,
			),
		),
		[
			'4:1: error: child "front" requires no "unused"; remove the route; binary "front" requires store (label "device"), lock (label "guard")',
		],
	],
	[
		'a label that nothing has',
		around(
			diskStart,
			frontStart(
				`${toDisk.replace('<route>', '<route>\n<service name="store" label="devise"><child name="disk"/></service>')}`,
			),
		),
		[
			'4:23: error: child "front" requires no "store" label "devise"; remove the route; binary "front" requires store (label "device"), lock (label "guard")',
		],
	],
	[
		'a route without target',
		around(diskStart, frontStart(`\n<route><service name="store"/></route>`)),
		['4:8: error: the route for "store" has no target; put <child name="…"/>, <any-child/> or <parent/> into it'],
	],
	[
		'a route with two targets',
		around(
			diskStart,
			frontStart('\n<route><service name="store"><child name="disk"/><any-child/></service></route>'),
		),
		['4:50: error: the route for "store" has 2 targets; keep one: only the first could ever match'],
	],
	[
		'a parent that is asked for too much',
		around(diskStart, frontStart('\n<route><service name="store"><parent/></service></route>')),
		['4:30: error: the parent does not provide "store"; route it to a child that provides it'],
	],
	[
		'a parent that was not said to provide',
		around(diskStart, '<parent-provides/><default-route><service name="log"><parent/></service></default-route>'),
		['3:54: error: the parent does not provide "log"; add <service name="log"/> to <parent-provides>'],
	],
	[
		'a parent that could never provide',
		around(diskStart, '<parent-provides><service name="store"/></parent-provides>'),
		['3:27: error: the parent cannot provide "store"; services of the parent: clock, entropy, log'],
	],
	[
		'a cycle',
		around(
			'<start name="a"><binary name="filter"/><provides><service name="store"/></provides>',
			'<route><service name="store"><child name="b"/></service></route></start>',
			'<start name="b"><binary name="filter"/><provides><service name="store"/></provides>',
			'<route><service name="store"><child name="a"/></service></route></start>',
		),
		[
			'5:30: error: cycle of routes: "a" -> "b" -> "a"; route one of these sessions elsewhere: a server must be there before its clients',
		],
	],
	[
		'no RAM',
		`<config>\n${diskStart}</config>`,
		[
			'2:1: error: child "disk" has no RAM quantum; add <resource name="RAM" quantum="64M"/>, or <default ram="64M"/> for all children',
		],
	],
	[
		'too little RAM',
		around(diskStart.replace('</start>', '\n<resource name="RAM" quantum="1M"/></start>')),
		['3:22: error: quantum="1M" is too small; at least 32M is required'],
	],
	[
		'RAM in no known unit',
		around(diskStart.replace('</start>', '\n<resource name="RAM" quantum="64MB"/></start>')),
		[
			'3:22: error: bad value quantum="64MB" of <resource>; write bytes, or a whole number with K, M or G, such as "64M"',
		],
	],
	[
		'another resource',
		around(diskStart.replace('</start>', '\n<resource name="CAP" quantum="64M"/></start>')),
		['3:11: error: unknown resource "CAP"; the one resource is "RAM"'],
	],
	[
		'affinity outside the space',
		around(
			'<affinity-space width="2"/>',
			diskStart.replace('</start>', '\n<affinity xpos="1" width="2"/></start>'),
		),
		[
			'4:1: error: impossible affinity: columns 1 to 2, rows 0 to 0; the affinity space has columns 0 to 1 and rows 0 to 0',
		],
	],
	[
		'affinity to a CPU that is not there',
		around(
			'<affinity-space width="2" height="2"/>',
			diskStart.replace('</start>', '\n<affinity xpos="1" ypos="1"/></start>'),
		),
		['4:1: error: impossible affinity: CPU 3 cannot be used here; this machine gives the runtime CPUs 0, 1'],
	],
	[
		'a negative position',
		around(diskStart.replace('</start>', '\n<affinity xpos="-1"/></start>')),
		['3:11: error: bad value xpos="-1" of <affinity>; a whole number from 0 to 1024 is required'],
	],
	[
		'a priority without levels',
		around(diskStart.replace('<start', '<start priority="-1"')),
		[
			'2:8: error: priority="-1" has no effect without priority levels; give <config> the attribute prio_levels="2" or more',
		],
	],
	[
		'a priority beyond the levels',
		`<config prio_levels="2">\n${diskStart.replace('<start', '<start priority="-2"')}<default ram="32M"/></config>`,
		['2:8: error: bad value priority="-2" of <start>; a whole number from -1 to 0 is required'],
	],
	[
		'a heartbeat too fast',
		around(diskStart, '<heartbeat rate_ms="1"/>'),
		['3:12: error: bad value rate_ms="1" of <heartbeat>; a whole number from 50 to 3600000 is required'],
	],
	[
		'neither yes nor no',
		around(diskStart.replace('</start>', '\n<exit propagate="true"/></start>')),
		['3:7: error: bad value propagate="true" of <exit>; write "yes" or "no"'],
	],
	[
		'one thread on two CPUs',
		around(
			diskStart.replace('<start', '<start colocate="g"').replace('</start>', '<affinity xpos="0"/></start>'),
			diskStart
				.replace('<start name="disk"', '<start name="disk2" colocate="g"')
				.replace('</start>', '\n<affinity xpos="1"/></start>'),
		),
		[
			'4:1: error: child "disk2" shares the thread "g" with "disk" but has another affinity; give the affinity once, or take one of them out of the group',
		],
	],
	[
		'a group that is named like a stranger',
		around(diskStart, '<start name="b" colocate="disk"><binary name="locker"/></start>'),
		[
			'3:17: error: the group "disk" has the name of a child that is not in it; choose another name, or add colocate="disk" to that child',
		],
	],
	[
		'a tool that shares a thread',
		around(diskStart, '<start name="c" colocate="g"><binary name="check"/>', `${toDisk}</start>`),
		['3:17: error: child "c" is a tool and cannot share a thread; remove the attribute "colocate"'],
	],
	[
		'an unknown attribute of a configuration',
		around(diskStart.replace('</start>', '\n<config pat="x"/></start>')),
		[
			'3:9: error: unknown attribute "pat" of <config> of "disk"; did you mean "path"? it takes path, size, count, mode',
		],
	],
	[
		'a bad value of a configuration',
		around(diskStart.replace('</start>', '\n<config size="big"/></start>')),
		['3:9: error: bad value of attribute size="big" of <config> of "disk"; a number is required'],
	],
	[
		'a value that the component itself refuses',
		around(diskStart.replace('</start>', '\n<config count="8"/></start>')),
		['3:9: error: bad value of attribute count="8" of <config> of "disk"; seven is required'],
	],
	[
		'a bad choice in a configuration',
		around(diskStart.replace('</start>', '\n<config mode="quick"/></start>')),
		['3:9: error: bad value of attribute mode="quick" of <config> of "disk"; one of "fast", "safe" is required'],
	],
	[
		'an unknown element of a configuration',
		around(diskStart, frontStart(`${toDisk}\n<config><unx/></config>`)),
		['4:9: error: unknown element <unx> of <config> of "front"; did you mean "unix"? it takes <unix>, name'],
	],
	[
		'a mistake deep in a configuration',
		around(diskStart, frontStart(`${toDisk}\n<config><unix pat="x" path="y"/></config>`)),
		['4:15: error: unknown attribute "pat" of <unix> of "front"; did you mean "path"? it takes path'],
	],
	[
		'an attribute missing deep in a configuration',
		around(diskStart, frontStart(`${toDisk}\n<config><unix/></config>`)),
		['4:9: error: attribute "path" of <unix> of "front" is missing; write path="…"'],
	],
	[
		'an attribute where an element belongs',
		around(diskStart, frontStart(`${toDisk}\n<config unix="x"/>`)),
		['4:9: error: bad value of attribute unix="x" of <config> of "front"; it is an element: write <unix …/>'],
	],
	[
		'values of a configuration that are out of bounds',
		around(
			...['path="" port="1"', 'path="x" port="10"'].map(
				(values, i) => `<start name="s${i}"><binary name="strict"/><config ${values}><unix/></config></start>`,
			),
		),
		[
			'2:49: error: bad value of attribute path="" of <config> of "strict"; it must not be empty',
			'2:57: error: bad value of attribute port="1" of <config> of "strict"; at least 2 is required',
			'3:58: error: bad value of attribute port="10" of <config> of "strict"; at most 9 is possible',
		],
	],
	[
		'isolation of what cannot be isolated, or in unknown words',
		around(
			'<isolation user="0" if_missing="ask"/>',
			'<start name="a" isolation="jail"><binary name="locker"/></start>',
			'<start name="b" isolation="process"><binary name="mounter"/></start>',
		),
		[
			'2:12: error: bad value user="0" of <isolation>; a whole number from 1 to 4294967294 is required',
			'2:21: error: bad value if_missing="ask" of <isolation>; write "refuse" or "continue"',
			'3:17: error: bad value isolation="jail" of <start>; write "thread" or "process"',
			'4:17: error: child "b" cannot run in a process of its own: "mounter" mounts a file system; remove the attribute "isolation"',
		],
	],
	[
		'shared memory between processes',
		around(
			'<start name="s" isolation="process"><binary name="sharer"/><provides><service name="memory"/></provides></start>',
			'<start name="r"><binary name="reader"/><route><service name="memory"><child name="s"/></service></route></start>',
		),
		[
			'2:1: error: child "s" cannot run in a process of its own: the session memory of "r" with "s" shares memory; remove the attribute "isolation", or put both into one process with "colocate"',
		],
	],
	[
		'children of one group that are placed apart',
		around(
			'<start name="a" colocate="g" isolation="process"><binary name="locker"/></start>',
			'<start name="b" colocate="g" isolation="thread"><binary name="locker"/></start>',
		),
		[
			'3:30: error: child "b" shares the thread "g" with "a" but has another isolation; give the isolation once, or take one of them out of the group',
		],
	],
	[
		'no configuration where one is needed',
		around('<start name="a"><binary name="strict"/></start>'),
		[
			'2:1: error: attribute "path" of <config> of "strict" is missing; write path="…"',
			'2:1: error: element <unix> of "strict" is missing; write <unix …/>',
		],
	],
];

for (const [what, text, expected] of mistakes) {
	test(`reports ${what}`, async t => {
		const messages = await messagesOf({'deploy.xml': text});
		t.deepEqual(
			messages.map(message => message.replace('deploy.xml:', '')),
			[...expected],
		);
	});
}

test('reports a file that is not there, too large, or no text', async t => {
	t.deepEqual(await messagesOf({}), [
		'deploy.xml:1:1: error: the file cannot be read (ENOENT); name an existing deployment file',
	]);
	t.regex(
		(await messagesOf({'deploy.xml': `<config>${' '.repeat(1024 * 1024)}</config>`}))[0],
		/more than 1048576 bytes/,
	);
	t.regex((await messagesOf({'deploy.xml': Buffer.from([0x3c, 0xff, 0xfe])}))[0], /not UTF-8/);
});

test('reports what is wrong in a launcher at its own place', async t => {
	const messages = await messagesOf({
		'deploy.xml': around(
			'<start name="a" launcher="l"/>',
			'<start name="b" launcher="m"/>',
			'<start name="c" launcher="mm"/>',
		),
		'launcher/l.xml': '<launcher>\n<binary name="dsk"/></launcher>',
		'launcher/m.xml': '<config/>',
	});
	t.deepEqual(messages, [
		'launcher/m.xml:1:1: error: the root element is <config>; the root element of a launcher is <launcher>',
		'deploy.xml:4:17: error: there is no launcher "mm"; did you mean "m"? (launchers: l, m)',
		'launcher/l.xml:2:9: error: there is no binary "dsk"; did you mean "disk"? (binaries: broken, check, disk, filter, front, locker, mounter, reader, sharer, strict)',
	]);
});

function childOf(deployment: Deployment, name: string): Child {
	const child = deployment.children.find(candidate => candidate.name === name);
	if (!child) {
		throw new Error(`no child ${name}`);
	}

	return child;
}

test('a launcher gives what its start does not say', async t => {
	const deployment = await load({
		'deploy.xml': around('<start name="disk"/>', '<start name="second" launcher="disk"><config path="b"/></start>'),
		'launcher/disk.xml':
			'<launcher priority="0"><binary name="disk"/><provides><service name="store"/></provides><config path="a" size="7"/></launcher>',
	});
	t.deepEqual(childOf(deployment, 'disk').config, {path: 'a', size: '7'});
	t.deepEqual(childOf(deployment, 'second').config, {path: 'b'});
	t.is(childOf(deployment, 'second').binary, 'disk');
});

test('servers stand before their clients', async t => {
	const deployment = await load({
		'deploy.xml': around(
			`<start name="check"><binary name="check"/>${toDisk}</start>`,
			`<start name="last"><binary name="check"/>${toDisk}<exit propagate="yes"/></start>`,
			frontStart(toDisk),
			diskStart,
		),
	});
	t.deepEqual(
		deployment.children.map(child => child.name),
		['disk', 'check', 'last', 'front'],
	);
});

test("the first matching rule counts, the child's own before the default", async t => {
	const deployment = await load({
		'deploy.xml': around(
			'<parent-provides><service name="log"/></parent-provides>',
			'<default-route><service name="log"><parent/></service><any-service><parent/><child name="locker"/><any-child/></any-service></default-route>',
			diskStart,
			diskStart.replace('name="disk"', 'name="near"'),
			'<start name="locker"><binary name="locker"/><provides><service name="lock"/></provides></start>',
			frontStart(
				'<route><service name="store" label="device"><child name="near" label="x"/></service><service name="store"><child name="disk"/></service></route>',
			),
		),
	});
	t.deepEqual(childOf(deployment, 'front').routes, [
		{label: 'device', service: 'store', server: 'near', serverLabel: 'x'},
		{label: 'guard', service: 'lock', server: 'locker'},
	]);
});

test('a filter is never its own server', async t => {
	const deployment = await load({
		'deploy.xml': around(
			'<default-route><any-service><any-child/></any-service></default-route>',
			'<start name="filter"><binary name="filter"/><provides><service name="store"/></provides></start>',
			diskStart,
		),
	});
	t.deepEqual(childOf(deployment, 'filter').routes, [{label: 'backend', service: 'store', server: 'disk'}]);
});

test('an optional session may stay without a route', async t => {
	const deployment = await load({'deploy.xml': around(diskStart, frontStart(toDisk))});
	t.deepEqual(
		childOf(deployment, 'front').routes.map(route => route.label),
		['device'],
	);
});

test('isolation belongs to a whole group', async t => {
	const deployment = await load({
		'deploy.xml': around(
			'<isolation user="4711"/>',
			'<start name="s" colocate="g" isolation="process"><binary name="sharer"/><provides><service name="memory"/></provides></start>',
			'<start name="r" colocate="g"><binary name="reader"/><route><service name="memory"><child name="s"/></service></route></start>',
			'<start name="l"><binary name="locker"/></start>',
		),
	});
	const isolation = {user: 4711, ifMissing: 'refuse'};
	t.deepEqual(
		deployment.children.map(child => [child.name, child.isolation]),
		[
			['s', isolation],
			['r', isolation],
			['l', undefined],
		],
	);
});

test('values arrive as the supervisor needs them', async t => {
	const deployment = await load({
		'deploy.xml': [
			'<?xml version="1.0" encoding="UTF-8"?>',
			'<config prio_levels="3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="config/deploy.xsd">',
			'<affinity-space width="2" height="1"/><heartbeat rate_ms="700"/><default ram="40M"/>',
			diskStart
				.replace('</start>', '<affinity xpos="0" ypos="0" width="2" height="1"/></start>')
				.replace('<start', '<start priority="-1" colocate="g"'),
			'<start name="l" colocate="g"><binary name="locker"/><resource name="RAM" quantum="1G"/><heartbeat rate_ms="900"/></start>',
			frontStart(`${toDisk}<config name="n&amp;m"><unix path="a"/></config><exit propagate="yes"/>`),
			'</config>',
		].join('\r\n'),
	});
	const {position, positionOf, component, ...disk} = childOf(deployment, 'disk');
	t.like(position, {line: 4, column: 1});
	t.is(positionOf([]).line, 4);
	t.false(component.stateful);
	t.deepEqual(disk, {
		name: 'disk',
		binary: 'disk',
		modulePath: '/modules/disk/component.js',
		config: {},
		priority: 10,
		ramQuantum: 40 * 1024 ** 2,
		cpus: [0, 1],
		group: 'g',
		isolation: undefined,
		routes: [],
		heartbeat: {rateMs: 900},
		environment: ['clock', 'entropy', 'log'],
		exitPropagate: false,
	});
	t.like(childOf(deployment, 'l'), {cpus: [0, 1], priority: 10, ramQuantum: 1024 ** 3, group: 'g'});
	t.like(childOf(deployment, 'front'), {
		config: {name: 'n&m', unix: [{path: 'a'}]},
		group: 'front',
		cpus: [],
		priority: 0,
		heartbeat: {rateMs: 700},
		exitPropagate: true,
	});
});

test('bounds hold: children, and lines of a message', async t => {
	const many = Array.from({length: 300}, (_, index) => `<start name="c${index}"><binary name="locker"/></start>`);
	t.deepEqual(await messagesOf({'deploy.xml': around(...many)}), [
		'deploy.xml:258:1: error: child 257 of 300; one deployment has at most 256 children; split it',
	]);
	const messages = await messagesOf({'deploy.xml': around(diskStart, ...Array.from({length: 150}, () => '<x/>'))});
	t.is(messages.length, 101);
	t.is(messages.at(-1), 'and 50 more');
});

test('names with a meaning in JavaScript are just names', async t => {
	const messages = await messagesOf({
		'deploy.xml': around(
			'<constructor toString="1"/>',
			diskStart.replace('</start>', '\n<config __proto__="x" constructor="y"><__proto__/></config></start>'),
		),
	});
	t.deepEqual(
		messages.map(message => /error: ([^;]*)/.exec(message)?.[1]),
		[
			'unknown element <constructor> in <config>',
			'unknown attribute "__proto__" of <config> of "disk"',
			'unknown attribute "constructor" of <config> of "disk"',
			'<config> has both an attribute and an element "__proto__"',
		],
	);
});

test('every problem of a file is reported at once', async t => {
	const messages = await messagesOf({
		'deploy.xml': around(
			frontStart('<config nam="x"/><affinity xpos="9"/>'),
			'<start name="a"><binary name="x"/></start>',
			'<x/>',
		),
	});
	t.is(messages.length, 5);
});

test('the environment of components gives what the file lists, and everything where it lists nothing', async t => {
	const environmentWith = async (element: string) =>
		(await load({'deploy.xml': around(element, diskStart)})).children[0].environment;
	t.deepEqual(await environmentWith(''), ['clock', 'entropy', 'log']);
	t.deepEqual(
		await environmentWith('<parent-provides><service name="log"/><service name="clock"/></parent-provides>'),
		['clock', 'log'],
	);
	t.deepEqual(await environmentWith('<parent-provides/>'), []);
});

test('a binary outside of the project is the module at its path, seen from the file in which it stands', async t => {
	const module =
		"export default {kind: 'service', stateful: false, provides: {}, requires: {}, config: {safeParseAsync: async data => ({success: true, data})}};\n";
	const deployment = await load({
		'deploy.xml': around(
			'<start name="a"><binary name="mine" path="my/dist/mine.mjs"/></start>',
			'<start name="b" launcher="l"/>',
		),
		'my/dist/mine.mjs': module,
		'launcher/l.xml': '<launcher><binary name="mine" path="../my/dist/mine.mjs"/></launcher>',
	});
	t.deepEqual(
		deployment.children.map(({name, binary}) => `${name} ${binary}`),
		['a mine', 'b mine'],
	);
	t.regex(deployment.children[0].modulePath, /^\/.*\/my\/dist\/mine\.mjs$/);
	t.is(deployment.children[1].modulePath, deployment.children[0].modulePath);
});

test('what a path of a binary cannot be is told where the path stands', async t => {
	const paths = ['my/none.mjs', 'my', 'my/mine.ts', '', 'my/broken.mjs', 'my/x.mjs/y.mjs'];
	const starts = [
		...paths.map((path, i) => `<start name="s${i}"><binary name="mine" path="${path}"/></start>`),
		'<start name="d"><binary name="disk" path="my/broken.mjs"/></start>',
	];
	const messages = await messagesOf({
		'deploy.xml': around(...starts),
		'my/broken.mjs': "throw new Error('its module\\nhas a mistake');\n",
		'my/mine.ts': '',
		'my/x.mjs': '',
	});
	const short = messages.map(message =>
		message.replaceAll(/\/\S*\/deployment-\w+\//g, '').replace('deploy.xml:', ''),
	);
	const build =
		'build the component, or correct the path: a relative one begins at the folder of the file in which it stands';
	t.deepEqual(short, [
		`2:38: error: there is no file my/none.mjs; ${build}`,
		'3:38: error: my is no file; name the compiled module of the component in it',
		'4:38: error: my/mine.ts is TypeScript; name the module that is compiled from it, which ends in .js',
		'5:38: error: the path of the binary is empty; name the compiled module of the component, or remove the attribute',
		'6:38: error: binary "mine" cannot be loaded: its module; mend or rebuild the component; packages that it imports lie in a node_modules beside it or above',
		`7:38: error: there is no file my/x.mjs/y.mjs; ${build}`,
		'8:25: error: "disk" is a binary of this project; remove the path, or give the component that lies there another name',
	]);
});
