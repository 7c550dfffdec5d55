import {readdirSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import test from 'ava';
import {projectCatalog} from './catalog.js';
import {loadDeployment} from './deployment-loader.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const assemblies = readdirSync(join(root, 'config/assemblies')).map(name => join('config/assemblies', name));

for (const file of ['deploy.xml', ...assemblies]) {
	test(`${file} can be started`, async t => {
		const deployment = await loadDeployment(join(root, file), {
			catalog: projectCatalog(),
			machineCpus: [0, 1],
			launcherFolders: [join(root, 'config/launcher')],
		});
		const started = new Set<string>();
		for (const {name, routes} of deployment.children) {
			t.true(
				routes.every(route => started.has(route.server)),
				`${name} stands after its servers`,
			);
			started.add(name);
		}
	});
}
