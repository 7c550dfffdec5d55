/** What a module imports, whichever way it says so. */
import {dirname, join, normalize} from 'node:path';
import ts from 'typescript';

export interface Module {
	/** Relative to the project's folder. */
	readonly path: string;
	/** Modules of the project that it imports, as such paths. */
	readonly imports: readonly string[];
	/** Names of packages and of Node's own modules, as written. */
	readonly packages: readonly string[];
}

function isOwnUrl({expression, arguments: words}: ts.NewExpression, file: ts.SourceFile): boolean {
	return expression.getText(file) === 'URL' && words?.[1]?.getText(file) === 'import.meta.url';
}

/**
 * The literal with which a node names a module; undefined where it names none, or one that is known only when it runs.
 */
function specifierOf(node: ts.Node, file: ts.SourceFile): string | undefined {
	let named: ts.Node | undefined;
	if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
		named = node.moduleSpecifier;
	} else if (ts.isImportTypeNode(node)) {
		named = ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined;
	} else if (ts.isExternalModuleReference(node)) {
		named = node.expression;
	} else if (ts.isCallExpression(node)) {
		const isImport =
			node.expression.kind === ts.SyntaxKind.ImportKeyword || node.expression.getText(file) === 'require';
		named = isImport ? node.arguments[0] : undefined;
	} else if (ts.isNewExpression(node) && isOwnUrl(node, file)) {
		// The module of a worker or of another process. Other files of the project are read by such paths, too.
		named = node.arguments?.[0];
		return named && ts.isStringLiteralLike(named) && named.text.endsWith('.js') ? `./${named.text}` : undefined;
	}

	return named && ts.isStringLiteralLike(named) ? named.text : undefined;
}

/** Where a relative specifier leads. The program in `dist/` is what its sources are compiled to. */
function pathOf(from: string, specifier: string): string {
	return normalize(join(dirname(from), specifier))
		.replace(/^dist\//, '')
		.replace(/\.js$/, '.ts');
}

export function readModule(path: string, text: string): Module {
	const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
	const specifiers: string[] = [];
	const visit = (node: ts.Node) => {
		const specifier = specifierOf(node, file);
		if (specifier !== undefined) {
			specifiers.push(specifier);
		}

		ts.forEachChild(node, visit);
	};

	visit(file);
	return {
		path,
		imports: [
			...new Set(
				specifiers.filter(specifier => specifier.startsWith('.')).map(specifier => pathOf(path, specifier)),
			),
		],
		packages: specifiers.filter(specifier => !specifier.startsWith('.')),
	};
}
