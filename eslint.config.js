import eslint from '@eslint/js';
import {defineConfig, globalIgnores} from 'eslint/config';
import tseslint from 'typescript-eslint';

export default defineConfig(
	globalIgnores(['dist/', 'node_modules/', 'var/', 'coverage/', 'test/golden/']),
	eslint.configs.recommended,
	tseslint.configs.recommendedTypeChecked,
	{
		languageOptions: {parserOptions: {projectService: true, tsconfigRootDir: import.meta.dirname}},
		linterOptions: {reportUnusedDisableDirectives: 'error'},
		rules: {
			'@typescript-eslint/no-explicit-any': 'error',
			'@typescript-eslint/no-floating-promises': 'error',
			'@typescript-eslint/no-misused-promises': 'error',
			'@typescript-eslint/switch-exhaustiveness-check': ['error', {considerDefaultExhaustiveForUnions: true}],
			'@typescript-eslint/consistent-type-imports': ['error', {fixStyle: 'inline-type-imports'}],
			'@typescript-eslint/no-unused-vars': [
				'error',
				{argsIgnorePattern: '^_', varsIgnorePattern: '^_', ignoreRestSiblings: true},
			],
			'@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
			// Handlers are async by contract, whether or not they wait for something.
			'@typescript-eslint/require-await': 'off',
			// Sessions and options are plain objects of functions, taken apart wherever that reads better.
			'@typescript-eslint/unbound-method': 'off',
			eqeqeq: 'error',
			'no-restricted-syntax': ['error', 'TSEnumDeclaration', 'TSModuleDeclaration[kind="namespace"]'],
			'no-var': 'error',
			'object-shorthand': 'error',
			'prefer-const': 'error',
		},
	},
	{
		// Time, chance and waiting come from the environment, so that a component does in the simulator what it does
		// everywhere.
		files: ['components/**/*.ts'],
		ignores: ['**/*.test.ts'],
		rules: {
			'no-restricted-globals': [
				'error',
				...['setTimeout', 'setInterval', 'performance'].map(name => ({
					name,
					message: 'use env.now and env.sleep',
				})),
			],
			'no-restricted-properties': [
				'error',
				{object: 'Date', property: 'now', message: 'use env.now or env.timeOfDay'},
				{object: 'Math', property: 'random', message: 'use env.randomBytes'},
			],
			'no-restricted-imports': [
				'error',
				{
					paths: [
						...['timers', 'timers/promises'].map(name => ({
							name: `node:${name}`,
							importNames: ['setTimeout', 'setInterval', 'scheduler'],
							message: 'use env.sleep',
						})),
						{name: 'node:perf_hooks', message: 'use env.now'},
						{
							name: 'node:crypto',
							importNames: [
								'randomBytes',
								'randomFill',
								'randomFillSync',
								'randomInt',
								'randomUUID',
								'getRandomValues',
								'webcrypto',
							],
							message: 'use env.randomBytes and env.fillRandom',
						},
					],
				},
			],
			'no-restricted-syntax': [
				'error',
				'TSEnumDeclaration',
				'TSModuleDeclaration[kind="namespace"]',
				{selector: 'NewExpression[callee.name="Date"][arguments.length=0]', message: 'use env.timeOfDay'},
			],
		},
	},
	{
		files: ['**/*.js'],
		extends: [tseslint.configs.disableTypeChecked],
		languageOptions: {globals: {process: 'readonly', URL: 'readonly'}},
	},
);
