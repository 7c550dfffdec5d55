/** What a worker thread runs that loads a bundle. */
import {workerData} from 'node:worker_threads';
import {loadBundle} from './bundles.js';

const {bundle} = workerData as {readonly bundle: string};
const {run} = loadBundle(bundle).exports as {run(): void};
run();
