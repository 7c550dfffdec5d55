/** What an isolated process gets from the runtime. */
import {informationDescriptor} from '../isolation/confinement.js';
import type {Sandbox} from '../isolation/sandbox.js';
import type {HostData} from './messages.js';

export const descriptors = {
	/** Messages between supervisor and host. */
	control: 3,
	/** Brings ends of sessions, in the order of the messages that speak of them. */
	sessions: 4,
	information: informationDescriptor,
	secrets: 6,
} as const;

/** The first message. */
export interface ProcessStart {
	readonly type: 'begin';
	readonly data: HostData;
	readonly sandbox: Sandbox;
	/** It goes on without what the system does not give. */
	readonly mayMiss: boolean;
}
