/** The command `runtime`, where it has no bundle. */
import {runProgram} from './closed-program.js';

await runProgram(process.argv.slice(2));
