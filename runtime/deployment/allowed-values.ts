/**
 * Which values attributes may have: bounds of numbers, and closed sets of words. Readers, schema file and documents
 * share them.
 */
import {ramQuantumMin} from './ram-share.js';

export interface Bounds {
	readonly min: number;
	readonly max: number;
}

/** Bytes. */
export const ramBounds: Bounds = {min: ramQuantumMin, max: 1024 ** 4};

/** Milliseconds: more often would be busywork, more rarely no supervision. */
export const heartbeatBounds: Bounds = {min: 50, max: 3_600_000};

/** Levels are spread over the nice values 0 to 19, so more of them could not be told apart. */
export const niceMax = 19;
export const priorityLevelsMax = niceMax + 1;

/** Columns or rows of an affinity space. */
export const spaceSizeBounds: Bounds = {min: 1, max: 1024};
export const spacePositionBounds: Bounds = {min: 0, max: 1024};

/** Root owns everything, so it is no user to isolate anything as. */
export const userBounds: Bounds = {min: 1, max: 2 ** 32 - 2};

/** Where a child runs. */
export const placements = ['thread', 'process'] as const;
export type Placement = (typeof placements)[number];

/** What happens where the system does not give what isolation is made of. */
export const missingActions = ['refuse', 'continue'] as const;
export type MissingAction = (typeof missingActions)[number];

export const yesOrNo = ['yes', 'no'] as const;

export const resources = ['RAM'] as const;
