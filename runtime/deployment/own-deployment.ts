/**
 * A deployment file of one's own, made of a shipped one: a few attributes get other values, everything else stays as it
 * was written.
 */

export interface OwnValues {
	/** Sizes with K, M, G or T behind them. */
	readonly size?: string;
	readonly pool?: string;
	readonly cipher?: string;
	/** Paths; relative ones lie in the state directory. */
	readonly image?: string;
	readonly anchor?: string;
	/** Where the schema lies, for editors. */
	readonly schema: string;
}

/** The assembly has no place for a value; the message says which. */
export class UnplacedError extends Error {
	override readonly name = 'UnplacedError';
}

/** As the value of an attribute. */
function escaped(text: string): string {
	return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

/** Sets one attribute of a tag and takes others away that say the same. */
function withAttribute(tag: string, name: string, value: string, instead: readonly string[] = []): string {
	const stripped = [name, ...instead].reduce(
		(text, other) => text.replace(new RegExp(`\\s+${other}\\s*=\\s*"[^"]*"`), ''),
		tag,
	);
	return stripped.replace(/\s*(\/?)>$/, (_end, slash: string) => ` ${name}="${escaped(value)}"${slash}>`);
}

/** Comments keep their text: an example in one is no element. */
const commentOrTag = /<!--[\s\S]*?-->|<[a-z][^<>]*>/g;

function editTags(text: string, pattern: RegExp, edit: (tag: string) => string): {text: string; count: number} {
	let count = 0;
	const edited = text.replace(commentOrTag, tag => {
		if (tag.startsWith('<!--') || !pattern.test(tag)) {
			return tag;
		}

		count++;
		return edit(tag);
	});
	return {text: edited, count};
}

/** The `<config>` of the one child with this kind of binary. */
function editConfigOf(text: string, binary: RegExp, edit: (tag: string) => string): {text: string; count: number} {
	let count = 0;
	const edited = text.replace(/<start\b[\s\S]*?<\/start>/g, start => {
		if (!binary.test(start)) {
			return start;
		}

		const {text: changed, count: found} = editTags(start, /^<config\b/, edit);
		count += found;
		return changed;
	});
	return {text: edited, count};
}

/** @throws UnplacedError where the assembly has no place for one of the values, or several */
export function withOwnValues(shipped: string, {size, pool, cipher, image, anchor, schema}: OwnValues): string {
	let text = shipped;
	const take = (what: string, wanted: string | undefined, edit: () => {text: string; count: number}) => {
		if (wanted === undefined) {
			return;
		}

		const {text: edited, count} = edit();
		if (count === 0) {
			throw new UnplacedError(`this assembly has no place for ${what}`);
		}

		if (count > 1) {
			throw new UnplacedError(`this assembly has more than one place for ${what}; write the file by hand`);
		}

		text = edited;
	};

	// A device is described where it is created and, for cbe_init, a second time.
	const editDimensions = (edit: (tag: string) => string) => {
		const created = editTags(text, /^<create\b[^>]*\bcipher="/, edit);
		const tool = editTags(created.text, /^<config\b[^>]*\bcipher="/, edit);
		return {text: tool.text, count: Math.max(created.count, tool.count)};
	};

	const sized = (tree: 'vbd' | 'ft', value: string) => () =>
		editDimensions(tag =>
			withAttribute(tag, `${tree}_size`, value, [`${tree}_leaves`, `${tree}_max_level`, `${tree}_degree`]),
		);
	take('a size', size, sized('vbd', size ?? ''));
	take('a pool', pool, sized('ft', pool ?? ''));
	take('a cipher', cipher, () => editDimensions(tag => withAttribute(tag, 'cipher', cipher ?? '')));
	take('an image', image, () =>
		editConfigOf(text, /<binary name="block_file"\/>/, tag => withAttribute(tag, 'path', image ?? '')),
	);
	take('a trust anchor', anchor, () =>
		editConfigOf(text, /<binary name="trust_anchor_/, tag => withAttribute(tag, 'path', anchor ?? '')),
	);
	return text.replace(
		/xsi:noNamespaceSchemaLocation="[^"]*"/,
		() => `xsi:noNamespaceSchemaLocation="${escaped(schema)}"`,
	);
}
