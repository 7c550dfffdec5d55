import {mkdtempSync, rmSync, utimesSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import test, {type ExecutionContext} from 'ava';
import {projectCatalog, UnusableModule} from './catalog.js';

const sdk = fileURLToPath(new URL('../sdk/exports.js', import.meta.url));
const block = fileURLToPath(new URL('../../components/sessions/block.js', import.meta.url));

function folderFor(t: ExecutionContext): string {
	const folder = mkdtempSync(join(tmpdir(), 'catalog-'));
	t.teardown(() => {
		rmSync(folder, {recursive: true});
	});
	return folder;
}

const component = (contract: string, config = '') => `import {defineComponent, defineSession, z} from '${sdk}';
${contract}
export default defineComponent({provides: {block}, requires: {}, config: z.strictObject({${config}}), start() { throw new Error('never'); }});
`;

test('a module outside of the project that speaks its contracts is a component', async t => {
	const file = join(folderFor(t), 'mine.mjs');
	writeFileSync(file, component(`import {block} from '${block}';`));
	const {kind, provides} = await projectCatalog().loadOutside(file);
	t.is(kind, 'service');
	t.deepEqual(Object.keys(provides), ['block']);
});

test('a module that was compiled again is loaded again', async t => {
	const file = join(folderFor(t), 'mine.mjs');
	writeFileSync(file, component(`import {block} from '${block}';`));
	t.false((await projectCatalog().loadOutside(file)).config.safeParse({size: '1'}).success);
	writeFileSync(file, component(`import {block} from '${block}';`, 'size: z.string()'));
	utimesSync(file, 1, 2);
	t.true((await projectCatalog().loadOutside(file)).config.safeParse({size: '1'}).success);
});

test('a contract of the same name from elsewhere is refused: its operations could have other numbers', async t => {
	const file = join(folderFor(t), 'mine.mjs');
	writeFileSync(file, component("const block = defineSession('block', {errors: [], ops: {}});"));
	const error = await t.throwsAsync(projectCatalog().loadOutside(file), {
		instanceOf: UnusableModule,
		message: 'its contract "block" is not that of this copy of the project',
	});
	t.regex(error.remedy, /^let "cbe" in its node_modules lead to \/.*, and compile it again$/);
});

test('a contract of its own is its own affair', async t => {
	const file = join(folderFor(t), 'mine.mjs');
	writeFileSync(file, component("const block = defineSession('mine', {errors: [], ops: {}});"));
	t.is((await projectCatalog().loadOutside(file)).provides['block'].name, 'mine');
});

test('a module without a component is none', async t => {
	const file = join(folderFor(t), 'mine.mjs');
	writeFileSync(file, 'export const component = {};\n');
	await t.throwsAsync(projectCatalog().loadOutside(file), {
		instanceOf: UnusableModule,
		message: 'its module has no component as default export',
	});
});
