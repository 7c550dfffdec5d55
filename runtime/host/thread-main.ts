/** What runs in a worker thread whose components have no bundle. */
import {runThread} from './run-thread.js';

await runThread();
