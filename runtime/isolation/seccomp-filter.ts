/**
 * The filter of system calls of an isolated process. It has its memory, its threads, its files and its sockets by then,
 * and needs no way to start programs, to look into other processes, to change the system or to make connections.
 */

/** Numbers on x86-64 and on 64-bit ARM; undefined where the call does not exist there. */
type Numbers = readonly [x64: number | undefined, arm64: number | undefined];

/** Refused with EPERM. */
const refused: Readonly<Record<string, Numbers>> = {
	execve: [59, 221],
	execveat: [322, 281],
	fork: [57, undefined],
	vfork: [58, undefined],
	ptrace: [101, 117],
	process_vm_readv: [310, 270],
	process_vm_writev: [311, 271],
	kcmp: [312, 272],
	process_madvise: [440, 440],
	pidfd_getfd: [438, 438],
	mount: [165, 40],
	umount2: [166, 39],
	pivot_root: [155, 41],
	chroot: [161, 51],
	open_tree: [428, 428],
	move_mount: [429, 429],
	fsopen: [430, 430],
	fsconfig: [431, 431],
	fsmount: [432, 432],
	fspick: [433, 433],
	mount_setattr: [442, 442],
	name_to_handle_at: [303, 264],
	open_by_handle_at: [304, 265],
	unshare: [272, 97],
	setns: [308, 268],
	bpf: [321, 280],
	perf_event_open: [298, 241],
	userfaultfd: [323, 282],
	add_key: [248, 217],
	request_key: [249, 218],
	keyctl: [250, 219],
	init_module: [175, 105],
	finit_module: [313, 273],
	delete_module: [176, 106],
	kexec_load: [246, 104],
	kexec_file_load: [320, 294],
	reboot: [169, 142],
	swapon: [167, 224],
	swapoff: [168, 225],
	acct: [163, 89],
	syslog: [103, 116],
	quotactl: [179, 60],
	settimeofday: [164, 170],
	clock_settime: [227, 112],
	clock_adjtime: [305, 266],
	adjtimex: [159, 171],
	sethostname: [170, 161],
	setdomainname: [171, 162],
	personality: [135, 92],
	iopl: [172, undefined],
	ioperm: [173, undefined],
	modify_ldt: [154, undefined],
};

/** Refused with EPERM where the process makes no connections of its own. */
const networking: Readonly<Record<string, Numbers>> = {
	socket: [41, 198],
	socketpair: [53, 199],
	connect: [42, 203],
	bind: [49, 200],
	listen: [50, 201],
	accept: [43, 202],
	accept4: [288, 242],
};

/** Refused as if the kernel did not have them: the C library and libuv then do without. */
const absent: Readonly<Record<string, Numbers>> = {clone3: [435, 435], io_uring_setup: [425, 425]};

const clone: Numbers = [56, 220];
const cloneThread = 0x10000;

const permissionError = 1;
const missingError = 38;

const loadWord = 0x20;
const jumpIfEqual = 0x15;
const jumpIfAtLeast = 0x35;
const jumpIfBits = 0x45;
const giveBack = 0x06;

const allow = 0x7fff_0000;
const refuse = 0x0005_0000;
const kill = 0x8000_0000;

/** Offsets in struct seccomp_data. */
const numberOffset = 0;
const architectureOffset = 4;
const firstArgumentOffset = 16;

const architectures = {
	x64: {index: 0, audit: 0xc000_003e},
	arm64: {index: 1, audit: 0xc000_00b7},
} as const;

/** Numbers of the x32 interface begin here on x86-64. */
const otherInterface = 0x4000_0000;

export type FilteredArchitecture = keyof typeof architectures;

export function isFiltered(architecture: string): architecture is FilteredArchitecture {
	return Object.hasOwn(architectures, architecture);
}

type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, operand: number];

function answerTo(number: number, answer: number): Instruction[] {
	return [
		[jumpIfEqual, 0, 1, number],
		[giveBack, 0, 0, answer],
	];
}

/** The instructions, eight bytes each, as the kernel takes them. */
export function seccompFilter(architecture: FilteredArchitecture, {sockets}: {readonly sockets: boolean}): Buffer {
	const {index, audit} = architectures[architecture];
	const answers = (table: Readonly<Record<string, Numbers>>, error: number) =>
		Object.values(table).flatMap(numbers =>
			numbers[index] === undefined ? [] : answerTo(numbers[index], refuse | error),
		);
	const program: Instruction[] = [
		[loadWord, 0, 0, architectureOffset],
		[jumpIfEqual, 1, 0, audit],
		[giveBack, 0, 0, kill],
		[loadWord, 0, 0, numberOffset],
		...(architecture === 'x64'
			? ([
					[jumpIfAtLeast, 0, 1, otherInterface],
					[giveBack, 0, 0, refuse | permissionError],
				] as const)
			: []),
		...answers(refused, permissionError),
		...(sockets ? [] : answers(networking, permissionError)),
		...answers(absent, missingError),
		// A new thread is fine, a new process is not.
		[jumpIfEqual, 0, 3, clone[index]!],
		[loadWord, 0, 0, firstArgumentOffset],
		[jumpIfBits, 1, 0, cloneThread],
		[giveBack, 0, 0, refuse | permissionError],
		[giveBack, 0, 0, allow],
	];
	const bytes = Buffer.alloc(program.length * 8);
	for (const [i, [code, jumpTrue, jumpFalse, operand]] of program.entries()) {
		bytes.writeUInt16LE(code, i * 8);
		bytes.writeUInt8(jumpTrue, i * 8 + 2);
		bytes.writeUInt8(jumpFalse, i * 8 + 3);
		bytes.writeUInt32LE(operand >>> 0, i * 8 + 4);
	}

	return bytes;
}
