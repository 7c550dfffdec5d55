/** A request and a reply of each operation of each session that fit its contract, with something in every field. */
const block = (count: number) => new Uint8Array(count * 4096);
const labels = (count: number) => new Uint8Array(count * 32);
const hash = new Uint8Array(32);
const root = {address: 9, generation: 2, hash};
const tree = {root, maxLevel: 2, degree: 4, leafCount: 16, fresh: {leafCount: 16, firstInner: 8, firstLeaf: 40}};
const snapshot = {generation: 2, tree};
const horizon = {
	currentGeneration: 3,
	lastSecuredGeneration: 2,
	snapshotGenerations: [1, 2],
	rekeying: {previousKeyId: 1, rekeyingVba: 4},
	setAsideCount: 4,
};
const changes = {vbas: [1, 5], addresses: [10, 11], leaves: [-1, 3], labels: labels(2)};
const keys = {currentKeyId: 2, previousKeyId: 1, rekeyingVba: 3};
const transfer = {extents: [3, 2, 9, 1], data: block(3)};
const file = {name: 'data', kind: 'file', mode: 0o600, byteLength: 4096, takesSecret: false};
const allocation = {request: {first: 3, count: 10}, reply: {runs: [4, 1, 5, 0]}};
const operation = {
	phase: 'in-progress',
	lastResult: 'none',
	waitsFor: 'room',
	done: 1,
	total: 2,
	bytesPerSecond: 3,
	secondsLeft: 4,
};
const growth = {request: {firstPba: 100, pbaCount: 20, stepCount: 2}, reply: {usedPbaCount: 20, addedLeafCount: 16}};

type Message = Record<string, unknown>;

export const validMessages: Readonly<
	Record<string, Readonly<Record<string, {readonly request: Message; readonly reply: Message}>>>
> = {
	anchor_keys: {
		list: {
			request: {},
			reply: {
				state: 'present',
				hasKeyFile: true,
				keys: [{slot: 1, kind: 'passphrase', name: 'n', derivation: 'scrypt', isWeak: false}],
				slotCount: 8,
			},
		},
		recipient: {request: {}, reply: {publicKey: hash}},
		add: {request: {existing: 'ab', secret: 'cd', name: 'n', memory: 2 ** 28}, reply: {slot: 1}},
		add_recovery: {
			request: {existing: 'ab', recipient: '0f'.repeat(32), name: 'n'},
			reply: {slot: 1, sealed: 'cd'},
		},
		change: {request: {existing: 'ab', slot: 1, secret: 'cd', memory: 2 ** 27}, reply: {slot: 1}},
		remove: {request: {existing: 'ab', slot: 1}, reply: {}},
	},
	block: {
		geometry: {request: {}, reply: {blockCount: 10, writable: true, growable: false}},
		read: {request: transfer, reply: {}},
		allocation,
		write: {request: {...transfer, durable: true}, reply: {isDurable: true}},
		clear: {request: {extents: [0, 5]}, reply: {}},
		allocate: {request: {extents: [0, 5]}, reply: {}},
		sync: {request: {}, reply: {}},
		grow: {request: {blockCount: 12}, reply: {}},
	},
	cache: {
		attach: {request: {frameCountMax: 4}, reply: {memory: block(4), frameCount: 4}},
		load: {
			request: {frames: [0, 3], addresses: [20, 21], labels: labels(2), encrypted: true},
			reply: {mismatched: [1]},
		},
		verify: {request: {addresses: [20, 21], labels: labels(2)}, reply: {mismatched: [0, 1]}},
		store: {
			request: {frames: [0, 3], addresses: [20, 21], places: [0, 65, 1, 2], encrypted: true},
			reply: {labels: labels(2)},
		},
	},
	crypto: {
		recipient: {request: {}, reply: {publicKey: hash}},
		add_key: {request: {keyId: 1, cipher: 'aes-256-xts', envelope: new Uint8Array(100)}, reply: {}},
		remove_key: {request: {keyId: 1}, reply: {}},
		seal: {
			request: {
				keyId: 1,
				addresses: [7, 8],
				vbas: [1, 2],
				generations: [3, 3],
				plain: [block(1), block(1)],
				sealed: block(2),
			},
			reply: {labels: labels(2)},
		},
		open: {
			request: {
				keyId: 1,
				addresses: [7, 8],
				vbas: [1, 2],
				generations: [3, 3],
				labels: labels(2),
				sealed: block(2),
				plain: [block(2)],
			},
			reply: {mismatched: [1]},
		},
	},
	device_control: {
		status: {
			request: {},
			reply: {
				locked: false,
				state: 'normal',
				blockCount: 10,
				currentGeneration: 3,
				lastSecuredGeneration: 2,
				cipher: 'aes-256-xts',
				readOnly: 'the medium is',
				usedBlockCount: 4,
				sharedBlockCount: 1,
				poolLeafCount: 8,
				poolAllocatableCount: 4,
				poolHeldCount: 1,
				poolSecondsLeft: 5,
			},
		},
		measure_snapshots: {request: {}, reply: {snapshots: [{generation: 2, soleBlockCount: 3}]}},
		list_snapshots: {
			request: {},
			reply: {snapshots: [{generation: 2, name: 'before', time: 1_767_323_045, blockCount: 10, keep: true}]},
		},
		create_snapshot: {request: {name: 'before'}, reply: {generation: 2, isNew: true}},
		discard_snapshot: {request: {generation: 2}, reply: {}},
		revert_snapshot: {request: {generation: 2}, reply: {}},
		extend: {request: {tree: 'vbd', blockCount: 100}, reply: {}},
		rekey: {request: {}, reply: {}},
		check: {request: {}, reply: {}},
		operations: {request: {}, reply: {extend: operation, rekey: operation, check: operation}},
		lock: {request: {}, reply: {}},
		recipient: {request: {}, reply: {publicKey: hash}},
		unlock: {request: {sealed: 'abcd'}, reply: {}},
		pause: {request: {operation: 'rekey'}, reply: {}},
		resume: {request: {operation: 'rekey'}, reply: {}},
		snapshot_allocation: {request: {generation: 2, ...allocation.request}, reply: allocation.reply},
		read_snapshot: {request: {generation: 2, ...transfer}, reply: {}},
	},
	file_system: {
		describe: {request: {path: '/data'}, reply: file},
		list: {request: {path: '/'}, reply: {entries: [file]}},
		read: {request: {path: '/data', offset: 0, length: 3, into: hash}, reply: {data: hash}},
		write: {request: {path: '/data', offset: 0, data: hash}, reply: {}},
		sync: {request: {path: '/data'}, reply: {}},
	},
	free_tree: {
		open: {request: {freeTree: tree, metaTree: tree, horizon, innerBlocks: 'encrypted'}, reply: {}},
		exchange: {
			request: {items: [9, 1, 0, 10, 1, 4], keyId: 1, reserved: true, relief: true},
			reply: {addresses: [30, 31], leaves: [2, 3]},
		},
		take_ahead: {request: {count: 4}, reply: {addresses: [30, 31], leaves: [2, 3]}},
		book: {request: {items: [30, 9, 1, 0, 1, 31, 10, 1, 4, 1], leaves: [2, 3]}, reply: {}},
		reserve: {request: {items: [1, 2, 3, 4]}, reply: {addresses: [30], leaves: [2]}},
		sweep: {request: {firstLeaf: 0, rekeyed: {previousKeyId: 1, rekeyingVba: 4}}, reply: {nextLeaf: 8}},
		restore: {request: {leaves: [2, 3], addresses: [30, 31], isNext: true}, reply: {}},
		swap: {request: {items: [9, 10, 1, 0], leaves: [2], keyId: 1}, reply: {}},
		extend: growth,
		store: {request: {}, reply: {freeTree: tree, metaTree: tree, storedBlockCount: 3}},
		begin: {request: {currentGeneration: 3}, reply: {}},
		advance: {
			request: {lastSecuredGeneration: 2, snapshotGenerations: [1], rekeying: null, setAsideCount: 4},
			reply: {},
		},
		spare: {request: {ranges: [0, 4, 8, 4]}, reply: {addresses: [30], leafCount: 16}},
		verify: {request: {firstLeaf: 0}, reply: {nextLeaf: 4, checkedBlockCount: 3, damages: ['text']}},
		sole_holdings: {request: {firstLeaf: 0}, reply: {nextLeaf: 8, holdings: [{generation: 2, blockCount: 3}]}},
		usage: {request: {}, reply: {leafCount: 8, allocatableCount: 4, heldCount: 1}},
	},
	trust_anchor: {
		access: {request: {}, reply: {state: 'open'}},
		recipient: {request: {}, reply: {publicKey: hash}},
		lock: {request: {}, reply: {}},
		unlock: {request: {sealed: 'abcd'}, reply: {}},
		status: {request: {}, reply: {initialized: true, secured: {hash, generation: 2, creating: false}}},
		initialize: {request: {}, reply: {}},
		create_key: {request: {current: hash}, reply: {wrapped: hash}},
		share_key: {request: {wrapped: hash, recipient: hash}, reply: {envelope: new Uint8Array(100)}},
		share_inner_key: {
			request: {containerId: new Uint8Array(16), recipient: hash},
			reply: {envelope: new Uint8Array(100)},
		},
		secure: {request: {hash, generation: 2, creating: false}, reply: {flushKey: hash}},
		verify: {
			request: {containerId: new Uint8Array(16), digest: hash, authenticator: hash},
			reply: {isAuthentic: true},
		},
		marks: {request: {}, reply: {intended: hash, announces: true, authenticated: true}},
		intend: {request: {hash}, reply: {}},
		flush_key: {request: {hash}, reply: {key: hash}},
		authenticate: {request: {containerId: new Uint8Array(16), digest: hash}, reply: {authenticator: hash}},
	},
	virtual_block_device: {
		open: {request: {tree, keys, currentGeneration: 3, innerBlocks: 'encrypted', emptiesLeaves: true}, reply: {}},
		read: {request: transfer, reply: {}},
		write: {request: transfer, reply: {}},
		clear: {request: {vba: 0, count: 5}, reply: {isChanged: true, nextVba: 3}},
		count_written: {
			request: {firstVba: 0, newestKeptGeneration: 2},
			reply: {usedCount: 4, sharedCount: 1, nextVba: 9},
		},
		allocation: {request: {snapshot, ...allocation.request}, reply: allocation.reply},
		read_snapshot: {request: {snapshot, ...transfer}, reply: {}},
		revert: {request: {tree, newestKeptGeneration: 2}, reply: {}},
		set_keys: {request: keys, reply: {}},
		rekey: {
			request: {snapshots: [snapshot], blockCount: 4, untilVba: 9},
			reply: {rekeyingVba: 4, sealedBlockCount: 4, lostBlockCount: 1},
		},
		verify: {
			request: {snapshots: [snapshot], firstVba: 0},
			reply: {nextVba: 8, checkedBlockCount: 3, damages: ['text']},
		},
		reclaim: {
			request: {lastSecuredGeneration: 2, snapshots: [snapshot], snapshotGone: 1, endLeaf: 6},
			reply: {remainder: 'more'},
		},
		extend: growth,
		book: {request: {}, reply: {}},
		log: {request: {countMax: 10}, reply: {changes}},
		replay: {request: changes, reply: {}},
		read_with: {request: changes, reply: {}},
		store: {
			request: {nextGeneration: 4, isRootKept: true},
			reply: {tree, freeTree: tree, metaTree: tree, snapshots: [snapshot], storedBlockCount: 5},
		},
	},
};
