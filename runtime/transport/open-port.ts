/** Opens one end of a session's way, whichever it is. */
import {RingPort} from './ring-port.js';
import {isSocket, type PortOptions, type SessionHandle, type SessionPort} from './session-port.js';
import {SocketPort} from './socket-port.js';

export function openPort(handle: SessionHandle, options: PortOptions): SessionPort {
	return isSocket(handle) ? new SocketPort(handle.socket, options) : new RingPort(handle, options.onTriple);
}
