/** The components of one group, under the orders of the supervisor, in a worker thread or a process of its own. */
import {readlinkSync} from 'node:fs';
import {pathToFileURL} from 'node:url';
import {StartError, type Component, type LogLevel} from '../sdk/component.js';
import {withOpenFilesMax} from '../sdk/open-files.js';
import {isSessionError} from '../sdk/session.js';
import {doorbell} from '../transport/doorbell.js';
import {LeasePool} from '../transport/lease-pool.js';
import {describeError} from './describe-error.js';
import {DirectoryClaims} from './directory-claims.js';
import {makeEnvironment} from './host-environment.js';
import {HostedComponent} from './hosted-component.js';
import {watchMemory} from './memory-watch.js';
import type {CallFailure, ChildFigures, FromHost, HostData, HostedChild, ToHost} from './messages.js';

/** The way to the supervisor. */
export interface HostLink {
	post(message: FromHost): void;
	/** From now on the host hears the supervisor. */
	listen(onMessage: (message: ToHost) => void): void;
	/** A secret that the runtime took out of its environment. The caller wipes it. */
	secret(name: string): Buffer | undefined;
}

let supervisor: HostLink;
let stateDirectory: string;
let soleChild: string | undefined;
const hosted = new Map<string, HostedComponent>();

function send(message: FromHost): void {
	supervisor.post(message);
}

function die(child: string | undefined, reason: string): never {
	send({type: 'died', child, reason});
	process.exit(1);
}

function hostedChild(name: string): HostedComponent {
	const found = hosted.get(name);
	if (!found) {
		throw new Error(`no component "${name}" on this thread`);
	}

	return found;
}

async function importComponent(child: HostedChild): Promise<Component> {
	const module = (await import(pathToFileURL(child.modulePath).href)) as {default: Component};
	return module.default;
}

async function host(child: HostedChild): Promise<void> {
	const component = await importComponent(child);
	const pool = new LeasePool(child.leaseLimit);
	const log = (text: string, level: LogLevel) => {
		send({type: 'log', child: child.name, level, text});
	};
	const claims = new DirectoryClaims({log});
	const env = makeEnvironment(child, stateDirectory, pool, {
		log,
		claimDirectory: async path => claims.claim(path),
		fail: reason => die(child.name, reason),
		secret: name => supervisor.secret(name),
	});
	hosted.set(
		child.name,
		new HostedComponent({
			child,
			component,
			env,
			claims,
			pool,
			neighbour: hostedChild,
			die: reason => die(child.name, reason),
			reportBadReply(server, reason) {
				send({type: 'bad_reply', server, reason});
			},
			reportBroken(session, reason, isEnd) {
				send({type: 'session_broken', session, reason, isEnd});
			},
		}),
	);
}

function startProblem(error: unknown): string {
	return error instanceof StartError || isSessionError(error)
		? withOpenFilesMax(error.message)
		: describeError(error);
}

async function start({child, connections}: Extract<ToHost, {type: 'start'}>): Promise<void> {
	const component = hostedChild(child);
	try {
		if (component.isTool) {
			const {exitValue, message} = await component.run(connections);
			send({type: 'finished', child, exitValue, message});
		} else {
			send({type: 'started', child, hints: await component.start(connections)});
		}
	} catch (error) {
		if (component.isTool) {
			send({type: 'finished', child, exitValue: -1, message: startProblem(error)});
		} else {
			send({type: 'start_failed', child, message: startProblem(error)});
		}
	}
}

async function stop(child: string): Promise<void> {
	let problem: string | undefined;
	try {
		await hostedChild(child).stop();
	} catch (error) {
		problem = startProblem(error);
	}

	send({type: 'stopped', child, problem});
}

async function call({id, child, service, operation, request}: Extract<ToHost, {type: 'call'}>): Promise<void> {
	try {
		const client = hostedChild(child).serveLocally(service, 0, 'runtime');
		if (!Object.hasOwn(client, operation)) {
			throw new Error(`the service ${service} has no operation ${operation}`);
		}

		send({type: 'call_done', id, reply: await client[operation](request)});
	} catch (error) {
		const failure: CallFailure = isSessionError(error)
			? {code: error.code, message: error.message, detail: error.detail}
			: {code: 'failed', message: error instanceof Error ? error.message : String(error), detail: {}};
		send({type: 'call_done', id, failure});
	}
}

function inspect(id: number): void {
	const figures: Record<string, ChildFigures> = {};
	for (const [name, component] of hosted) {
		figures[name] = component.figures();
	}

	send({type: 'figures', id, children: figures});
}

async function close(child: string, session: number): Promise<void> {
	await hostedChild(child).close(session);
	send({type: 'closed', session});
}

async function connect({
	child,
	label,
	session,
	server,
	port,
	how,
	onTrial,
}: Extract<ToHost, {type: 'connect'}>): Promise<void> {
	const component = hostedChild(child);
	let problem: string | undefined;
	try {
		await component.connect(label, session, server, port, how);
	} catch (error) {
		if (!onTrial) {
			component.failWith(error);
		}

		problem = startProblem(error);
	}

	send({type: 'connected', session, problem});
}

async function interrupt({child, label, how}: Extract<ToHost, {type: 'interrupt'}>): Promise<void> {
	const component = hostedChild(child);
	try {
		await component.interrupt(label, how);
	} catch (error) {
		component.failWith(error);
	}
}

async function handle(message: ToHost): Promise<void> {
	switch (message.type) {
		case 'start': {
			return start(message);
		}

		case 'serve': {
			hostedChild(message.child).serve(message.service, message.session, message.client, message.port);
			return;
		}

		case 'close': {
			return close(message.child, message.session);
		}

		case 'disconnect': {
			hostedChild(message.child).disconnect(message.label, message.lost);
			return;
		}

		case 'hold': {
			await hostedChild(message.child).hold(message.label);
			send({type: 'held', session: message.session});
			return;
		}

		case 'release': {
			hostedChild(message.child).release(message.label);
			return;
		}

		case 'connect': {
			return connect(message);
		}

		case 'interrupt': {
			return interrupt(message);
		}

		case 'stop': {
			return stop(message.child);
		}

		case 'beat': {
			send({type: 'beat'});
			return;
		}

		case 'end': {
			return process.exit(1);
		}

		case 'inspect': {
			inspect(message.id);
			return;
		}

		case 'call': {
			return call(message);
		}
	}
}

/** Loads the components and reports to the supervisor. What goes wrong ends the thread, or the process. */
export async function runHost(data: HostData, link: HostLink): Promise<void> {
	supervisor = link;
	stateDirectory = data.stateDirectory;
	soleChild = data.children.length === 1 ? data.children[0].name : undefined;
	process.on('uncaughtException', error => {
		die(soleChild, describeError(error));
	});
	watchMemory(data.ramQuantum, reason => {
		die(soleChild, reason);
	});
	for (const child of data.children) {
		await host(child);
	}

	if ([...hosted.values()].every(component => component.isWokenBySessionsOnly)) {
		doorbell.serveSessionsOnly();
	}

	link.listen(message => {
		handle(message).catch((error: unknown) => {
			die(soleChild, describeError(error));
		});
	});
	send({type: 'ready', tid: Number(readlinkSync('/proc/thread-self').split('/').at(-1))});
}
