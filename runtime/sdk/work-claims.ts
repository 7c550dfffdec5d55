/** For components that start threads of their own: work that these take piece by piece, and memory that they all see. */
export {sharedMemory, WorkClaims, type Claim} from '../transport/work-claims.js';
