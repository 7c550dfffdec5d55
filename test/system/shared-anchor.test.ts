/**
 * Two runtimes with copies of one image and one trust anchor: the second one is refused, whatever becomes of the first.
 */
import {copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import type {ExecutionContext} from 'ava';
import {requestControl, type RuntimeStatus} from '../../runtime/supervisor/control-client.js';
import {temporaryDirectory} from '../support/component-stand.js';
import {testWith} from '../support/external-tools.js';
import {projectFolder, runRuntime, startRuntime} from '../support/runtime-process.js';

class Subject {
	readonly folder = temporaryDirectory();
	readonly state = join(this.folder, 'first');
	readonly copy = join(this.folder, 'copy');
	readonly anchor = join(this.folder, 'anchor');
	readonly deployFile = join(this.folder, 'deploy.xml');
	readonly inUse = new RegExp(
		`the trust anchor's directory ${this.anchor} is in use by another runtime or component; .* give each image an anchor of its own`,
	);

	constructor(assembly: string) {
		const text = readFileSync(join(projectFolder, assembly), 'utf8');
		this.edit(text.replace('<config path="trust_anchor"/>', `<config path="${this.anchor}" unlock_ms="1000"/>`));
	}

	edit(text: string): void {
		writeFileSync(this.deployFile, text);
	}

	async start(t: ExecutionContext) {
		const runtime = await startRuntime(this.deployFile, this.state);
		t.teardown(async () => runtime.stop('SIGKILL'));
		return runtime;
	}

	async child(name: string) {
		const {children} = (await requestControl(this.state, {op: 'status'})) as RuntimeStatus;
		return children.find(child => child.name === name)!;
	}

	async isUp(name: string, restartCount: number): Promise<boolean> {
		const child = await this.child(name);
		return child.state === 'up' && child.restarts + child.requestedRestarts === restartCount;
	}

	anchorFiles(): Record<string, string> {
		return Object.fromEntries(
			readdirSync(this.anchor)
				.sort()
				.map(name => [name, readFileSync(join(this.anchor, name), 'hex')]),
		);
	}

	/** A runtime on the copy is refused, and so is every command that would change the anchor; nothing is changed. */
	async expectRefusal(t: ExecutionContext): Promise<void> {
		const before = this.anchorFiles();
		for (const words of [
			['start', this.deployFile, '--state', this.copy],
			['run', 'cbe_adopt', this.deployFile, '--state', this.copy],
			['key', 'add', '--deploy', this.deployFile, '--state', this.copy],
		]) {
			const {code, output} = await runRuntime(words, {
				variables: {CBE_NEW_PASSPHRASE: 'eins zwei drei', CBE_ADOPT: 'yes'},
			});
			t.is(code, 1, output);
			t.regex(output, this.inUse);
			t.notRegex(output, / {4}at /);
		}

		t.deepEqual(this.anchorFiles(), before);
		t.deepEqual(readdirSync(this.copy).sort(), ['cbe.img', 'runtime.lock']);
		t.true(readFileSync(join(this.copy, 'cbe.img')).equals(readFileSync(join(this.state, 'cbe.img'))));
	}
}

/** Small, as its image is copied and compared. */
function smaller(text: string): string {
	return text
		.replaceAll('vbd_leaves="262144"', 'vbd_leaves="4096"')
		.replaceAll('ft_leaves="262144"', 'ft_leaves="4096"');
}

async function untilTrue(condition: () => Promise<boolean>): Promise<void> {
	while (!(await condition())) {
		await new Promise(resolve => {
			setTimeout(resolve, 50);
		});
	}
}

for (const [assembly, place, requirements] of [
	['deploy.xml', 'thread', []],
	['config/assemblies/hardened.xml', 'process', ['root', 'bwrap', '/dev/fuse']],
] as const) {
	testWith(requirements, `one trust anchor serves one runtime (on a ${place} of its own)`, async t => {
		const subject = new Subject(assembly);
		subject.edit(smaller(readFileSync(subject.deployFile, 'utf8')));
		await (await subject.start(t)).stop();
		mkdirSync(subject.copy);
		copyFileSync(join(subject.state, 'cbe.img'), join(subject.copy, 'cbe.img'));

		let runtime = await subject.start(t);
		await subject.expectRefusal(t);

		// Killed alone, the anchor comes back and has its directory again.
		if (place === 'process') {
			process.kill((await subject.child('trust_anchor')).pid!, 'SIGKILL');
		} else {
			t.is((await runRuntime(['restart', 'trust_anchor', '--state', subject.state])).code, 0);
		}

		await untilTrue(async () => subject.isUp('trust_anchor', 1));
		await subject.expectRefusal(t);

		// Replaced while everything runs, too.
		subject.edit(readFileSync(subject.deployFile, 'utf8').replace('unlock_ms="1000"', 'unlock_ms="900"'));
		await runtime.printed(/deployment generation 2 runs/);
		t.true(await subject.isUp('trust_anchor', 1));
		await subject.expectRefusal(t);

		// After the runtime was killed it starts again at once.
		await runtime.stop('SIGKILL');
		runtime = await subject.start(t);
		await subject.expectRefusal(t);

		// With its end the directory is free: what the copy is told then is about its state, not about the anchor.
		t.is(await runtime.stop(), 0);
		const {output} = await runRuntime(['run', 'cbe_adopt', subject.deployFile, '--state', subject.copy]);
		t.notRegex(output, subject.inUse);
	});
}
