/** Runs the behaviours that a contract promises, one test for each sentence, on each way that a session may go. */
import test, {type ExecutionContext} from 'ava';
import type {Session} from '../../runtime/sdk/session.js';
import type {SessionWay} from './session-ways.js';

/** What a provider must do, by the sentence of the contract that says so. */
export type ContractCases<Stand> = Readonly<Record<string, (t: ExecutionContext, stand: Stand) => Promise<void>>>;

interface ContractStand {
	/** What a server threw that was no error of its contract. */
	readonly bugs: readonly unknown[];
	close(): Promise<void>;
}

/** @param open a provider of its own for each test */
export function holdTo<Stand extends ContractStand>(
	provider: string,
	{
		ways,
		open,
		cases,
	}: {ways: readonly SessionWay[]; open(way: SessionWay): Promise<Stand>; cases: ContractCases<Stand>},
): void {
	for (const way of ways) {
		for (const [sentence, behaves] of Object.entries(cases)) {
			test(`${provider} ${way}: ${sentence}`, async t => {
				const stand = await open(way);
				t.teardown(async () => stand.close());
				await behaves(t, stand);
				t.deepEqual(stand.bugs, []);
			});
		}
	}
}

/** The name of a case begins with the operation, or the error, that its sentence is about. */
export function everyOperationHasCases(session: Session, cases: ContractCases<never>): void {
	test(`each operation of ${session.name} has a case`, t => {
		const sentences = Object.keys(cases);
		t.deepEqual(
			session.opNames.filter(operation => !sentences.some(sentence => sentence.startsWith(`${operation}:`))),
			[],
		);
	});
}
