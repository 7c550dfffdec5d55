import {readdirSync, readFileSync} from 'node:fs';
import {basename} from 'node:path';
import {fileURLToPath} from 'node:url';
import test from 'ava';
import {publishedFiles} from '../../test/support/published-files.js';
import {validateXML} from 'xmllint-wasm';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const schema = {fileName: 'deploy.xsd', contents: readFileSync(`${root}config/deploy.xsd`, 'utf8')};

function shippedFiles(): string[] {
	const folders = ['config/assemblies', 'config/launcher'];
	return [
		'deploy.xml',
		...folders.flatMap(folder => readdirSync(`${root}${folder}`).map(name => `${folder}/${name}`)),
	];
}

async function faultsOf(fileName: string, contents: string): Promise<string[]> {
	const {errors} = await validateXML({xml: [{fileName: basename(fileName), contents}], schema: [schema]});
	return errors.map(error => error.message);
}

for (const file of shippedFiles()) {
	test(`${file} is valid by the schema and names it`, async t => {
		const contents = readFileSync(`${root}${file}`, 'utf8');
		t.deepEqual(await faultsOf(file, contents), []);
		const reference = file === 'deploy.xml' ? 'config/deploy.xsd' : '../deploy.xsd';
		t.true(contents.includes(`xsi:noNamespaceSchemaLocation="${reference}"`));
	});
}

const wrong: ReadonlyArray<readonly [string, string, RegExp]> = [
	['an unknown element', '<config><strat name="a"/></config>', /strat/],
	['an unknown attribute', '<config><start name="a" colour="red"/></config>', /colour/],
	['a second binary', '<config><start name="a"><binary name="x"/><binary name="y"/></start></config>', /binary/],
	['a start without name', '<config><start/></config>', /'name' is required/],
	['two children of one name', '<config><start name="a"/><start name="a"/></config>', /Duplicate key-sequence/],
	['another resource', '<config><start name="a"><resource name="CAP" quantum="1M"/></start></config>', /CAP/],
	['RAM in no known unit', '<config><default ram="64MB"/></config>', /64MB/],
	[
		'two targets of a service',
		'<config><default-route><service name="x"><parent/><any-child/></service></default-route></config>',
		/any-child/,
	],
	['a route to nowhere', '<config><default-route><any-service/></default-route></config>', /any-service/],
	['neither yes nor no', '<config><start name="a"><exit propagate="true"/></start></config>', /true/],
	['another root', '<deploy/>', /deploy/],
];

for (const [what, text, pattern] of wrong) {
	test(`the schema refuses ${what}`, async t => {
		t.regex((await faultsOf('wrong.xml', text)).join('\n'), pattern);
	});
}

test('the schema leaves the configuration of a component to the component', async t => {
	t.deepEqual(
		await faultsOf(
			'open.xml',
			'<config><start name="a"><config any="1"><thing deep="2"><er/></thing></config></start></config>',
		),
		[],
	);
});

for (const [path, text] of publishedFiles()) {
	test(`${path} has the words that the runtime reads: "npm run words" writes it`, t => {
		t.is(readFileSync(`${root}${path}`, 'utf8'), text);
	});
}

test('the schema knows the words of launchers', async t => {
	t.deepEqual(
		await faultsOf(
			'launcher.xml',
			'<launcher priority="-1"><binary name="x" path="../x.js"/><exit propagate="no"/></launcher>',
		),
		[],
	);
	t.regex((await faultsOf('launcher.xml', '<launcher name="x"/>')).join('\n'), /name/);
});
