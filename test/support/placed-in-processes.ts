/** Imported before a contract: its providers run in a process of their own. */
import test from 'ava';
import {endProviderProcess} from './provider-process.js';
import {placeInProcesses} from './providers.js';

placeInProcesses();
test.after.always(endProviderProcess);
