/** Which older state of a container can be adopted: the newest one that is whole at its roots. */
import type {Client} from '../../runtime/sdk/session.js';
import {blockSize} from '../container/geometry.js';
import {labelOf} from '../container/label.js';
import {ContainerError, openSuperblock, readSlot, type OpenedSuperblock, type Secured, type SuperblockSearch} from '../container/open-superblock.js';
import type {Superblock} from '../container/superblock.js';
import type {block} from '../sessions/block.js';
import type {RootNode} from '../sessions/tree-root.js';

/** Refusals after which the image may hold an older state of the anchor's container. */
const adoptableKinds: ReadonlySet<string> = new Set(['rolled_back', 'rolled_back_or_foreign', 'damaged']);

/** A state that could become the one that counts. */
export type Candidate = OpenedSuperblock;

/** Why the image is refused; undefined where it is what the anchor expects. @throws ContainerError where nothing can be adopted */
export function refusalOf(search: SuperblockSearch): ContainerError | undefined {
	try {
		openSuperblock(search);
		return undefined;
	} catch (error) {
		if (error instanceof ContainerError && adoptableKinds.has(error.kind)) {
			return error;
		}

		throw error;
	}
}

/** Superblocks of older states, the newest first. What claims the expected generation was altered and is none of them. */
function candidates({slots, mediumBlockCount}: SuperblockSearch, secured: Secured): Candidate[] {
	const found: Candidate[] = [];
	for (const [slot, bytes] of slots.entries()) {
		const read = readSlot(slots, slot);
		if (!read || 'fault' in read || read.superblock.pbaCount > mediumBlockCount) {
			continue;
		}

		const {superblock} = read;
		if (secured.generation === null || superblock.lastSecuredGeneration < secured.generation) {
			found.push({slot, superblock, log: [], hash: labelOf(bytes)});
		}
	}

	return found.sort((a, b) => b.superblock.lastSecuredGeneration - a.superblock.lastSecuredGeneration);
}

/** The secured state without its flush log; undefined where it has none. @throws ContainerError where its trees are damaged */
export async function candidateWithoutLog(medium: Client<typeof block>, {slots, log}: SuperblockSearch): Promise<Candidate | undefined> {
	const read = log && readSlot(slots, log.slot);
	if (!read || 'fault' in read) {
		return undefined;
	}

	if (!await hasWholeRoots(medium, read.superblock)) {
		throw new ContainerError('damaged', 'the trees do not match their superblock; put back another copy of the image');
	}

	return {...read, log: [], hash: labelOf(slots[read.slot])};
}

function requireOneContainer(found: readonly Candidate[]): void {
	const ids = new Set(found.map(({superblock: {containerId}}) => containerId ? Buffer.from(containerId).toString('hex') : ''));
	if (ids.size > 1) {
		throw new ContainerError('foreign', `the image holds superblocks of ${ids.size} different containers; put back an image of one container`);
	}
}

function rootsOf({snapshots, freeTree, metaTree}: Superblock): RootNode[] {
	return [...snapshots.flatMap(snapshot => snapshot ? [snapshot.root] : []), freeTree.root, metaTree.root];
}

async function hasWholeRoots(medium: Client<typeof block>, superblock: Superblock): Promise<boolean> {
	const data = Buffer.alloc(blockSize);
	for (const {address, hash} of rootsOf(superblock)) {
		await medium.read({extents: [address, 1], data});
		if (!labelOf(data).equals(hash)) {
			return false;
		}
	}

	return true;
}

/** The newest older state whose root blocks are all what its superblock expects. @throws ContainerError where there is none */
export async function findCandidate(medium: Client<typeof block>, search: SuperblockSearch, secured: Secured): Promise<Candidate> {
	const found = candidates(search, secured);
	requireOneContainer(found);
	for (const candidate of found) {
		if (await hasWholeRoots(medium, candidate.superblock)) {
			return candidate;
		}
	}

	throw new ContainerError('damaged', 'the image holds no older state whose trees match its superblock; put back another copy of the image');
}
