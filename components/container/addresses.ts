/**
 * The numbers of the container, kept apart by type: a plain number can become any of them, one of them never another.
 */
type Flavoured<Name extends string> = number & {readonly flavour?: Name};

/** Physical block address: a block of the medium. */
export type Pba = Flavoured<'pba'>;

/** Virtual block address: a block of the user's device, or the position of a leaf in a pool tree. */
export type Vba = Flavoured<'vba'>;

/** Number of a device state; everything written between two securings carries the same one. */
export type Generation = Flavoured<'generation'>;

/** Names a block key; 0 is no key. */
export type KeyId = Flavoured<'key id'>;

/** Level of a block in its tree: 0 are the leaves. */
export type Level = Flavoured<'level'>;

/** Position of a node in its block, 0 to 63. */
export type NodeIndex = Flavoured<'node index'>;

/** Number of a block in the memory that the cache shares with a client. */
export type Frame = Flavoured<'frame'>;
