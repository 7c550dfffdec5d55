/**
 * Where a passphrase comes from when nobody is there to type it: a file, or an environment variable. Never the
 * configuration itself.
 */
import {statSync} from 'node:fs';
import {stat} from 'node:fs/promises';
import type {Environment, Obstacle, PreflightContext, Reach} from '../../../runtime/sdk/component.js';
import {whyDirectoryUnmakable, whyUnreadable} from '../../../runtime/sdk/host-path.js';
import {withoutLineEnd} from '../../../runtime/sdk/secret-line.js';
import {readSmallFile} from '../host/durable-file.js';

export const passphraseLengthMax = 1024;
const fileVariable = 'CBE_PASSPHRASE_FILE';

/** Bytes. */
const lineEndLengthMax = 2;

export interface SourceConfig {
	readonly file: string | undefined;
	/** Name of the environment variable. */
	readonly variable: string;
}

export interface SourcedPassphrase {
	/** The reader wipes it. */
	readonly secret: Buffer;
	/** For messages: where it came from. */
	readonly origin: string;
}

/** What a component reaches to read a passphrase from here. */
export function passphraseReach(
	{file, variable: secret}: SourceConfig,
	variable: (name: string) => string | undefined,
): Required<Pick<Reach, 'files' | 'variables' | 'secrets'>> {
	const named = file ?? variable(fileVariable);
	return {
		files: named === undefined || named === '' ? [] : [{path: named, writable: false}],
		variables: [fileVariable],
		secrets: [secret],
	};
}

type PassphraseContext = Pick<PreflightContext, 'resolvePath' | 'variable' | 'variableLength'>;

/** Why what is there cannot be a passphrase, as far as its size tells; nobody reads it before it is needed. */
function whyNoPassphrase(path: string): string | undefined {
	const found = statSync(path);
	if (!found.isFile() || (found.size > 0 && found.size <= passphraseLengthMax + lineEndLengthMax)) {
		return undefined;
	}

	return found.size === 0
		? 'it is empty'
		: `it has ${found.size} bytes, and a passphrase has ${passphraseLengthMax} at most`;
}

/** A variable for a secret that is set to nothing. */
export function emptyVariableObstacles(
	variable: string,
	at: string,
	content: string,
	{variableLength}: Pick<PreflightContext, 'variableLength'>,
): Obstacle[] {
	return variableLength(variable) === 0
		? [
				{
					at: [at],
					what: `the environment variable ${variable} is set, but empty`,
					remedy: `unset it, or set it to ${content}`,
				},
			]
		: [];
}

/** What a passphrase is to come from and cannot: a file that cannot be read, a variable that is set to nothing. */
export function passphraseObstacles({file, variable: secret}: SourceConfig, context: PassphraseContext): Obstacle[] {
	const named = file ?? context.variable(fileVariable);
	if (named === undefined) {
		const length = context.variableLength(secret) ?? 0;
		return length <= passphraseLengthMax
			? emptyVariableObstacles(secret, 'passphrase_variable', 'the passphrase', context)
			: [
					{
						at: ['passphrase_variable'],
						what: `the environment variable ${secret} holds ${length} bytes`,
						remedy: `a passphrase has 1 to ${passphraseLengthMax}`,
					},
				];
	}

	if (named === '') {
		return [
			{
				what: `the environment variable ${fileVariable} is set, but empty`,
				remedy: 'unset it, or set it to the name of a file',
			},
		];
	}

	const path = context.resolvePath(named);
	const at = file !== undefined && {at: ['passphrase_file']};
	const reason = whyUnreadable(path);
	if (reason !== undefined) {
		return [
			{
				...at,
				what: `the passphrase file ${path} cannot be read: ${reason}`,
				remedy:
					file === undefined
						? `correct --passphrase-file or ${fileVariable}`
						: 'correct the path, or write the passphrase there (chmod 600)',
			},
		];
	}

	const fault = whyNoPassphrase(path);
	return fault === undefined
		? []
		: [
				{
					...at,
					what: `the passphrase file ${path} holds no passphrase: ${fault}`,
					remedy: 'write the passphrase there (chmod 600)',
				},
			];
}

/** What keeps the directory of an anchor's files from being made or used. */
export function anchorDirectoryObstacles(
	path: string,
	{resolvePath}: Pick<PreflightContext, 'resolvePath'>,
): Obstacle[] {
	const reason = whyDirectoryUnmakable(resolvePath(path));
	return reason === undefined
		? []
		: [
				{
					at: ['path'],
					what: `the trust anchor's directory ${resolvePath(path)} cannot be used: ${reason}`,
					remedy: 'correct the path, or give this user rights there',
				},
			];
}

/** A pipe is nobody else's, whatever its mode. */
async function warnOfOthers(path: string, env: Environment): Promise<void> {
	const found = await stat(path);
	if (found.isFile() && (found.mode & 0o077) !== 0) {
		env.log(
			`other users can read the passphrase file ${path} (mode ${(found.mode & 0o777).toString(8).padStart(4, '0')}); take their rights away (chmod 600)`,
			'warning',
		);
	}
}

/**
 * Nobody wants to be protected by nothing: such a variable comes from a script whose command for the passphrase failed.
 */
export function emptyVariable(variable: string, content: string): Error {
	return new Error(`the environment variable ${variable} is set, but empty; unset it, or set it to ${content}`);
}

/** @throws Error where a file is named that cannot be read, or what is there cannot be a passphrase */
export async function readPassphrase(
	{file, variable}: SourceConfig,
	env: Environment,
): Promise<SourcedPassphrase | undefined> {
	const named = file ?? env.variable(fileVariable);
	if (named === '') {
		throw emptyVariable(fileVariable, 'the name of a file');
	}

	if (named === undefined) {
		const secret = env.secret(variable);
		if (secret?.length === 0) {
			throw emptyVariable(variable, 'the passphrase');
		}

		if (secret && secret.length > passphraseLengthMax) {
			secret.fill(0);
			throw new Error(`the environment variable ${variable} must hold 1 to ${passphraseLengthMax} bytes`);
		}

		return secret && {secret, origin: `the environment variable ${variable}`};
	}

	const path = env.resolvePath(named);
	const content = await readSmallFile(path, passphraseLengthMax + lineEndLengthMax + 1).catch((error: unknown) => {
		throw new Error(
			`the passphrase file ${path} cannot be read (${error instanceof Error ? error.message : String(error)})`,
		);
	});
	if (!content) {
		throw new Error(`the passphrase file ${path} is not there`);
	}

	const secret = withoutLineEnd(content);
	if (secret.length === 0 || secret.length > passphraseLengthMax) {
		content.fill(0);
		throw new Error(`the passphrase file ${path} must hold 1 to ${passphraseLengthMax} bytes`);
	}

	await warnOfOthers(path, env);
	return {secret, origin: path};
}
