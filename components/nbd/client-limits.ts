/** Every bound of the server. Whatever clients do, memory and time spent on them stay within these. */
import {requestBlockCountMax, blockSize} from '../sessions/block.js';

/** Open connections on all sockets together. */
export const connectionCountMax = 256;

/**
 * Of these, connections that only clients of unix sockets get: what comes over the network cannot keep the owner out.
 */
export const localConnectionCountMin = 32;

/** Connections that have to use TLS and have not said yet who they are. */
export const unknownCountMax = 64;

/** One of these that is older makes room for a new one; a client that means it is through by then. */
export const unknownMsMin = 2000;

/** From accepting a connection until it serves an export. */
export const handshakeMsMax = 30_000;

/** From accepting a connection that has to use TLS until it has said who it is. */
export const tlsMsMax = 10_000;

/** A connection over TCP that says nothing is probed after this long, so that a peer that is gone is noticed. */
export const keepAliveMs = 60_000;

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

/** Questions to the device for one reply about allocation; what they do not cover, the client asks for again. */
export const statusCallCountMax = 64;

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
export const pollCountMax = 4096;

/** A peer that owes bytes of a request, or replies to take, may stand still this long; one byte is progress. */
export const stallMsMax = 120_000;

/**
 * Payload memory that is each connection's own: this much, where all connections together get a part of one in this
 * many.
 */
export const reserveByteLengthMax = 128 * 1024;
export const reservePart = 4;

/** Requests up to this size are small; one part in this many of the common memory is for them alone. */
export const smallByteLengthMax = 64 * 1024;
export const smallRoomPart = 8;

/** What one connection may hold at first and at last, as parts of all payload memory. */
export const firstWindowPart = 40;
export const firstWindowMin = 2 * 2 ** 20;
export const lastWindowPart = 4;

/** A connection with this many bytes of replies that were not taken gets no more common memory. */
export const unsentByteLengthMax = 8 * 2 ** 20;

/**
 * Replies leave in batches of at least this many bytes of payload where more waits; the memory of each is free once it
 * has left.
 */
export const batchByteLengthMax = 2 ** 20;

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
