/** Launchers: what several deployments start alike, in files of their own named `config/launcher/NAME.xml`. */
import {existsSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import {displayPath} from './display-path.js';
import type {SourcePosition} from './checked-deployment.js';
import type {Problems} from './problem.js';
import {suggestName} from './suggestion.js';
import {checkRoot, checkVocabulary, launcherRule} from './deployment-words.js';
import {parseXml, readDocument, type XmlElement} from './xml-document.js';

/** Launchers in the order of these folders; the first file of a name counts. */
export class LauncherFolders {
	readonly #folders: readonly string[];
	readonly #read = new Map<string, XmlElement | undefined>();
	readonly #lookedFor = new Set<string>();

	constructor(folders: readonly string[]) {
		this.#folders = folders;
	}

	/** Every file in which a launcher was looked for, whether or not it is there. */
	get lookedFor(): readonly string[] {
		return [...this.#lookedFor];
	}

	has(name: string): boolean {
		return this.#pathsOf(name).some(path => existsSync(path));
	}

	names(): string[] {
		const files = this.#folders.filter(folder => existsSync(folder)).flatMap(folder => readdirSync(folder));
		return [
			...new Set(files.filter(file => file.endsWith('.xml')).map(file => file.slice(0, -'.xml'.length))),
		].sort();
	}

	/** The checked root element of launcher `name`; undefined, with a problem at `position`, where there is none. */
	find(name: string, position: SourcePosition, problems: Problems): XmlElement | undefined {
		const path = this.#pathsOf(name).find(candidate => existsSync(candidate));
		if (path === undefined) {
			problems.report(position, `there is no launcher "${name}"`, suggestName(name, this.names(), 'launchers'));
			return undefined;
		}

		if (!this.#read.has(path)) {
			this.#read.set(path, this.#readFile(path, problems));
		}

		return this.#read.get(path);
	}

	#pathsOf(name: string): string[] {
		const paths = this.#folders.map(folder => join(folder, `${name}.xml`));
		for (const path of paths) {
			this.#lookedFor.add(path);
		}

		return paths;
	}

	#readFile(path: string, problems: Problems): XmlElement | undefined {
		const root = parseXml(displayPath(path), readDocument(path), problems);
		if (!root || !checkRoot(root, 'launcher', problems)) {
			return undefined;
		}

		checkVocabulary(root, launcherRule, problems);
		return root;
	}
}
