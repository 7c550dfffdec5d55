/**
 * What is wrong with a deployment file, where, and what would be right. All problems of a file are reported at once.
 */
import type {SourcePosition} from './checked-deployment.js';

export interface Problem {
	readonly position: SourcePosition;
	readonly what: string;
	/** What would be right. */
	readonly remedy: string;
	/** True where it would also show while somebody is still writing the file. */
	readonly mayBeUnfinished: boolean;
}

export function formatProblem({position, what, remedy}: Problem, level: 'error' | 'warning' = 'error'): string {
	return `${position.file}:${position.line}:${position.column}: ${level}: ${what}; ${remedy}`;
}

function comparePositions(a: SourcePosition, b: SourcePosition): number {
	return a.line - b.line || a.column - b.column;
}

/** Collects problems; checks go on after one, so that a user sees them all. */
export class Problems {
	readonly #problems: Problem[] = [];

	report(position: SourcePosition, what: string, remedy: string, mayBeUnfinished = false): void {
		this.#problems.push({position, what, remedy, mayBeUnfinished});
	}

	get count(): number {
		return this.#problems.length;
	}

	/**
	 * File by file in the order of their first problem, then from top to bottom; a problem found twice is listed once.
	 */
	sorted(): Problem[] {
		const files = [...new Set(this.#problems.map(problem => problem.position.file))];
		const unique = new Map(this.#problems.map(problem => [formatProblem(problem), problem]));
		return [...unique.values()].sort(
			(a, b) =>
				files.indexOf(a.position.file) - files.indexOf(b.position.file) ||
				comparePositions(a.position, b.position),
		);
	}
}

/** Most problems that a message lists: a file that is wrong throughout must not flood a terminal. */
const listedProblemCountMax = 100;

function listProblems(problems: readonly Problem[]): string {
	const lines = problems.slice(0, listedProblemCountMax).map(problem => formatProblem(problem));
	const more = problems.length - lines.length;
	return [...lines, ...(more > 0 ? [`and ${more} more`] : [])].join('\n');
}

/** The deployment cannot be started. Its message is one line per problem. */
export class DeploymentError extends Error {
	override readonly name = 'DeploymentError';

	/** @param files those that decide the deployment, as far as is known */
	constructor(
		readonly problems: readonly Problem[],
		readonly files: readonly string[] = [],
	) {
		super(listProblems(problems));
	}

	get mayBeUnfinished(): boolean {
		return this.problems.some(({mayBeUnfinished}) => mayBeUnfinished);
	}
}
