/** Which children run in processes of their own, and whether they can. */
import type {Component} from '../sdk/component.js';
import {missingActions, placements, userBounds, type Placement} from './allowed-values.js';
import {readInteger, type Declared} from './attribute-value.js';
import type {Child, Isolation} from './checked-deployment.js';
import type {Problems} from './problem.js';
import type {XmlElement} from './xml-document.js';

function readChoice<T extends string>(
	element: XmlElement,
	name: string,
	choices: readonly T[],
	problems: Problems,
): Declared<T> | undefined {
	const attribute = element.attributes.get(name);
	if (!attribute) {
		return undefined;
	}

	const chosen = choices.find(choice => choice === attribute.value);
	if (chosen === undefined) {
		problems.report(
			attribute.position,
			`bad value ${name}="${attribute.value.slice(0, 64)}" of <${element.name}>`,
			`write ${choices.map(choice => `"${choice}"`).join(' or ')}`,
		);
		return undefined;
	}

	return {value: chosen, position: attribute.position};
}

/** The attribute `isolation` of a child. */
export function readPlacement(owner: XmlElement | undefined, problems: Problems): Declared<Placement> | undefined {
	return owner && readChoice(owner, 'isolation', placements, problems);
}

/** What `<isolation>` says for all isolated children. */
export function readIsolation(element: XmlElement | undefined, problems: Problems): Isolation {
	return {
		user: element && readInteger(element, 'user', userBounds, problems)?.value,
		ifMissing: (element && readChoice(element, 'if_missing', missingActions, problems)?.value) ?? 'refuse',
	};
}

/** Reports a child that cannot leave the runtime's process. */
export function checkIsolatable(
	{name, binary}: {readonly name: string; readonly binary: string},
	component: Component,
	placement: Declared<Placement> | undefined,
	problems: Problems,
): void {
	if (placement?.value === 'process' && component.needsRuntime !== undefined) {
		problems.report(
			placement.position,
			`child "${name}" cannot run in a process of its own: "${binary}" ${component.needsRuntime}`,
			'remove the attribute "isolation"',
		);
	}
}

/** Reports sessions that share memory although their ends are in different processes. */
export function checkSharedMemory(children: readonly Child[], problems: Problems): void {
	for (const client of children) {
		for (const {server: serverName, service} of client.routes) {
			const server = children.find(({name}) => name === serverName);
			const session = Object.values(server?.component.provides ?? {}).find(({name}) => name === service);
			if (
				server &&
				session?.sharesMemory &&
				server.group !== client.group &&
				(server.isolation ?? client.isolation)
			) {
				const isolated = server.isolation ? server : client;
				problems.report(
					isolated.position,
					`child "${isolated.name}" cannot run in a process of its own: the session ${service} of "${client.name}" with "${server.name}" shares memory`,
					'remove the attribute "isolation", or put both into one process with "colocate"',
				);
			}
		}
	}
}
