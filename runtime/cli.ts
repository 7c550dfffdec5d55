/** The command `runtime`. */
import {commandLine} from './cli/command-line.js';

// A reader of the log that goes away (runtime start | head) must not take the device down.
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);
process.exit(await commandLine(process.argv.slice(2)));
