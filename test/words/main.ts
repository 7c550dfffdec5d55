/**
 * `npm run words`: writes the words of deployment files anew where others read them, the schema of editors and the
 * table of the documents.
 */
import {publishWords} from '../support/published-files.js';

for (const path of publishWords()) {
	process.stdout.write(`${path} was written\n`);
}
