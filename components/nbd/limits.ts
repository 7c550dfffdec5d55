/** Every bound of the server. Whatever clients do, memory and time spent on them stay within these. */
import {requestBlockCountMax, blockSize} from '../sessions/block.js';

/** Open connections on all sockets together. */
export const connectionCountMax = 256;

/** From accepting a connection until it serves an export. */
export const handshakeMsMax = 30_000;

/** Options of one handshake. */
export const optionCountMax = 1024;

/** Bytes of one option that are read into memory; longer ones are refused. */
export const optionLengthMax = 16 * 1024;

/** Bytes of a refused option that are skipped; a client that announces more is cut off. */
export const optionSkipMax = 1024 * 1024;

/** Requests of one connection that are served or whose replies wait to be sent. */
export const requestCountMax = 256;

/** Bytes of one request's payload, as the handshake advertises it. */
export const requestByteLengthMax = requestBlockCountMax * blockSize;

/** Bytes of one request to the device; longer requests of clients become several. */
export const pieceByteLengthMax = 2 ** 20;

/** Received bytes that wait to be looked at; beyond that the socket is not read. */
export const receivedByteLengthMax = 256 * 1024;

/** Bytes that one read of a socket brings, except where they go straight into payload memory. */
export const receiveMemorySize = 64 * 1024;

/** Payload of one connection that is read before everything else on the thread has its turn, in bytes. */
export const turnByteLengthMax = 2 * 2 ** 20;

/** Longest wait for the next request without giving the thread up, in microseconds. */
export const pollMaxUs = 1000;

/** Looks at a socket in one such wait, whatever the clock says. */
export const lookCountMax = 4096;

/** A peer that owes bytes of a request, or does not take replies, may stand still this long. */
export const stallMsMax = 120_000;

/** The same where requests of other connections wait for memory: what it holds is needed. */
export const stallMsMaxWhenShort = 20_000;

/** How often timeouts are looked at. */
export const watchIntervalMs = 1000;

/** How long stopping waits for accepted requests. */
export const finishMsMax = 10_000;

/** Replies with at most this many bytes of data are copied together into one write. */
export const copiedReplyByteLengthMax = 16 * 1024;

/** Bytes of one page of outgoing replies. */
export const replyPageSize = 128 * 1024;

/** Pages kept for reuse, of all connections together. */
export const replyPageCountMax = 32;
