#!/usr/bin/env node
// The command `runtime`: starts the compiled command line; where the package was installed without its
// build step (npm ci --ignore-scripts), it builds once first.
import {spawnSync} from 'node:child_process';
import {existsSync, readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const main = new URL('../../dist/runtime/cli/main.js', import.meta.url);
if (!existsSync(fileURLToPath(main))) {
	process.stderr.write('[runtime] not built yet, building once\n');
	const built = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '--build', 'tsconfig.product.json'], {
		cwd: root,
		stdio: 'inherit',
		env: {PATH: process.env['PATH'] ?? '/usr/bin:/bin'},
	});
	if (built.status !== 0) {
		process.stderr.write('[runtime] the build failed: run "npm ci" in the project\'s folder, then try again\n');
		process.exit(1);
	}
}

// Node.js 20 opens all modules that it loads at once: with too few descriptors it would fail with a trace of its own.
const loadingDescriptorCount = Number(process.versions.node.split('.')[0]) < 22 ? 128 : 40;
try {
	const max = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]);
	if (max < loadingDescriptorCount) {
		process.stderr.write(
			`[runtime] this process may have ${max} files open at once; the program alone needs ${loadingDescriptorCount} to be loaded: ` +
				'raise the limit: "ulimit -n 4096" in the shell, or LimitNOFILE= of a systemd unit\n',
		);
		process.exit(1);
	}
} catch {
	// The system does not tell; the program says itself what it lacks.
}

// A signal that comes before the command is loaded: nothing has been started, so there is nothing to finish.
if (process.argv[2] === 'start') {
	for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
		process.on(signal, () => {
			process.stdout.write(`[runtime] ${signal}: stopping\n`);
			process.exit(0);
		});
	}
}

await import(main.href);
