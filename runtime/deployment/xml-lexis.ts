/**
 * The first thing in an XML text that does not end or must not stand where it is. The parser goes on until it cannot,
 * which may be many lines later: a bare "&" ends at the next ";", an open quotation at the next quotation mark.
 */

export interface LexicalFault {
	/** Of the character that is wrong, or of the beginning of what does not end. */
	readonly offset: number;
	readonly what: string;
	readonly remedy: string;
}

/** `&amp;` and the like, `&#65;`, `&#x41;`. */
const reference = /&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z_][\w.-]*);/iy;

const tagName = /<\/?([^\s<>/="'&]*)/y;

const attributeName = /([^\s<>/="'&]+)\s*=\s*$/;

function bareAmpersand(text: string, offset: number): LexicalFault | undefined {
	reference.lastIndex = offset;
	return reference.test(text) ? undefined : {offset, what: 'a bare "&"', remedy: 'write &amp; for &'};
}

/** The first bare "&" of a piece. */
function faultOfPiece(text: string, start: number, end: number): LexicalFault | undefined {
	for (let at = text.indexOf('&', start); at !== -1 && at < end; at = text.indexOf('&', at + 1)) {
		const fault = bareAmpersand(text, at);
		if (fault) {
			return fault;
		}
	}

	return undefined;
}

/** Walks over a text once; each step moves `#at` behind one piece of markup. */
class Lexer {
	readonly #text: string;
	#at = 0;

	constructor(text: string) {
		this.#text = text;
	}

	fault(): LexicalFault | undefined {
		for (;;) {
			const start = this.#text.indexOf('<', this.#at);
			const fault = faultOfPiece(this.#text, this.#at, start === -1 ? this.#text.length : start);
			if (fault || start === -1) {
				return fault;
			}

			const found = this.#markup(start);
			if (found !== undefined) {
				return found === 'left' ? undefined : found;
			}
		}
	}

	/** `left`: what follows is for the parser to judge. */
	#markup(start: number): LexicalFault | 'left' | undefined {
		const text = this.#text;
		if (text.startsWith('<!--', start)) {
			return this.#comment(start);
		}

		if (text.startsWith('<![CDATA[', start)) {
			return this.#until(start, ']]>', 'the CDATA section');
		}

		if (text.startsWith('<?', start)) {
			return this.#until(start, '?>', 'the processing instruction');
		}

		return text.startsWith('<!', start) ? 'left' : this.#tag(start);
	}

	#until(start: number, end: string, what: string): LexicalFault | undefined {
		const at = this.#text.indexOf(end, start);
		this.#at = at + end.length;
		return at === -1 ? {offset: start, what: `${what} does not end`, remedy: `end it with ${end}`} : undefined;
	}

	#comment(start: number): LexicalFault | undefined {
		const at = this.#text.indexOf('--', start + 4);
		if (at !== -1 && this.#text[at + 2] !== '>') {
			return {
				offset: at,
				what: '"--" inside of a comment',
				remedy: 'write another dash there, or end the comment with -->',
			};
		}

		return this.#until(start, '-->', 'the comment');
	}

	#tag(start: number): LexicalFault | undefined {
		const text = this.#text;
		tagName.lastIndex = start;
		const name = tagName.exec(text)?.[1] ?? '';
		const ends = /["'<>]/g;
		ends.lastIndex = start + 1;
		for (let match = ends.exec(text); match; match = ends.exec(text)) {
			const [character] = match;
			if (character === '>') {
				this.#at = ends.lastIndex;
				return undefined;
			}

			if (character === '<') {
				break;
			}

			const fault = this.#value(start, match.index);
			if (fault) {
				return fault;
			}

			ends.lastIndex = this.#at;
		}

		return {offset: start, what: `the tag <${name}> does not end`, remedy: 'end it with > or />'};
	}

	/** A value in quotation marks; `open` is the first one. */
	#value(tagStart: number, open: number): LexicalFault | undefined {
		const text = this.#text;
		const quote = text[open];
		const close = text.indexOf(quote, open + 1);
		const less = text.indexOf('<', open + 1);
		const name = attributeName.exec(text.slice(tagStart, open))?.[1];
		const what = name === undefined ? 'a value' : `the value of attribute "${name}"`;
		if (close === -1 || (less !== -1 && less < close)) {
			const line = text.slice(open, less === -1 ? text.length : less);
			return line.includes('\n') || close === -1
				? {offset: open, what: `${what} does not end`, remedy: `end it with ${quote}`}
				: {offset: less, what: `"<" in ${what}`, remedy: 'write &lt; for <'};
		}

		this.#at = close + 1;
		const fault = faultOfPiece(text, open + 1, close);
		// Most often it is not this value that ends too late, but the next one that has begun here.
		return (
			fault ??
			(/[\s/>?]/.test(text[close + 1] ?? '>')
				? undefined
				: {
						offset: close + 1,
						what: `nothing stands between ${what} and the next one`,
						remedy: 'put a space there, or the quotation mark that is missing before',
					})
		);
	}
}

/** Undefined where every piece ends and references are written in full; what the pieces say is for the parser. */
export function lexicalFault(text: string): LexicalFault | undefined {
	return new Lexer(text).fault();
}
