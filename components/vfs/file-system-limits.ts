/** Every bound of the file system. */
import {blockSize} from '../sessions/block.js';

/** Bytes of data in one request of the kernel, in both directions. */
export const transferByteLengthMax = 2 ** 20;

/** Requests that the kernel hands out beside those that somebody waits for (read-ahead, asynchronous I/O). */
export const backgroundCountMax = 64;

/** Memory for requests with data, as long as they are served: this many of full length … */
export const largeSlotCount = 15;
/** … and this many that small ones are copied to. */
export const smallSlotCount = 64;
export const smallSlotByteLength = 16 * blockSize;

/** Requests taken from the kernel in one turn of the event loop. */
export const turnRequestCountMax = 64;

/** Bytes of one command to a control file. */
export const commandByteLengthMax = 4096;

/** A command that takes longer is answered, and goes on; its file says how it stands. */
export const commandWaitMs = 5000;

/** Seconds for which the kernel may believe what it was told of names and attributes. */
export const attributeSeconds = 1;

/** How long stopping waits for accepted requests. */
export const finishMsMax = 5000;
