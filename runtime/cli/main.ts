/** The command `runtime`. */
import {closeProcess} from '../process/process-closure.js';

const stillOpen = closeProcess();

// A reader of the log that goes away (runtime start | head) must not take the device down.
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);
for (const what of stillOpen) {
	process.stderr.write(`[runtime] warning: ${what}\n`);
}

// Loaded when this process is closed to others: with the program come passphrases.
const {commandLine} = await import('./command-line.js');
process.exit(await commandLine(process.argv.slice(2)));
