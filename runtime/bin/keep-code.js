// Loaded before a program: whatever bundle runs in one of its threads, the code that the engine has made of it by the
// end of the thread is kept beside it.
import {renameSync, writeFileSync} from 'node:fs';
import {syncBuiltinESMExports} from 'node:module';
import vm from 'node:vm';
import {codeFile} from '../../dist/runtime/bundle/bundles.js';

const {Script} = vm;

vm.Script = class extends Script {
	constructor(source, options) {
		super(source, options);
		process.once('exit', () => {
			const file = codeFile(options.filename, source);
			writeFileSync(`${file}.new`, this.createCachedData());
			renameSync(`${file}.new`, file);
		});
	}
};
syncBuiltinESMExports();
