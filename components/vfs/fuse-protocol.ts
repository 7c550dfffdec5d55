/** Numbers of the kernel's FUSE protocol, as `linux/fuse.h` names them. Version 7.31 and later. */

export const protocolMajor = 7;
/** The newest minor version whose structures this program knows. */
export const protocolMinor = 38;
/** The oldest one: requests and replies have had their lengths since. */
export const protocolMinorMin = 31;

export const opcodes = {
	lookup: 1,
	forget: 2,
	getattr: 3,
	setattr: 4,
	symlink: 6,
	mknod: 8,
	mkdir: 9,
	unlink: 10,
	rmdir: 11,
	rename: 12,
	link: 13,
	open: 14,
	read: 15,
	write: 16,
	statfs: 17,
	release: 18,
	fsync: 20,
	flush: 25,
	init: 26,
	opendir: 27,
	readdir: 28,
	releasedir: 29,
	fsyncdir: 30,
	create: 35,
	interrupt: 36,
	destroy: 38,
	ioctl: 39,
	batchForget: 42,
	fallocate: 43,
	rename2: 45,
	lseek: 46,
	syncfs: 50,
	tmpfile: 51,
} as const;

/** Lengths of structures in bytes. */
export const lengths = {
	inHeader: 40,
	outHeader: 16,
	attr: 88,
	writeIn: 40,
} as const;

/** What both sides can agree on at the start. */
export const initFlags = {
	asyncRead: 1,
	bigWrites: 1 << 5,
	asyncDio: 1 << 15,
	parallelDirops: 1 << 18,
	maxPages: 1 << 22,
} as const;

/** How a file that was opened is to be used. */
export const openFlags = {
	directIo: 1,
	keepCache: 1 << 1,
	nonSeekable: 1 << 2,
	parallelDirectWrites: 1 << 6,
} as const;

/** What a SETATTR changes. */
export const setattrValid = {
	mode: 1,
	uid: 1 << 1,
	gid: 1 << 2,
	size: 1 << 3,
} as const;

export const fallocateModes = {
	keepSize: 1,
	punchHole: 2,
	zeroRange: 0x10,
} as const;

/** What LSEEK looks for; the kernel answers everything else itself. */
export const seekTargets = {data: 3, hole: 4} as const;

export const notifications = {invalidateInode: 2} as const;

/** Types of directory entries, and of files in modes. */
export const entryTypes = {directory: 4, file: 8} as const;
