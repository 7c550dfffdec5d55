/** Opens one end of a session's way, whichever it is. */
import {BatchPort} from './batch-port.js';
import {isSocket, type PortOptions, type SessionHandle, type SessionPort} from './session-port.js';
import {SocketPort} from './socket-port.js';

export function openPort(handle: SessionHandle, options: PortOptions): SessionPort {
	return isSocket(handle) ? new SocketPort(handle.socket, options) : new BatchPort(handle, options.onTriple);
}
