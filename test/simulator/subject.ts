/** The device under test with all that outlives a crash of it: medium, trust anchor, and the model of what it holds. */
import type {Counts} from './counts.js';
import {cryptoKinds} from './crypto-kind.js';
import {LockModel} from './lock-model.js';
import {Model} from './model.js';
import {OperationsModel, type TreeShape} from './operations-model.js';
import {oldContainer} from './old-life.js';
import {inspect, type OracleVerdict} from './oracle.js';
import {oracleCipherOf} from './oracle-cipher.js';
import type {Plan} from './plan.js';
import type {Random} from './random.js';
import {SimulatedAnchor, type AnchorState} from './simulated-anchor.js';
import {SimulatedMedium, noFaults, type MediumFaults} from './simulated-medium.js';
import {SimulationFailure} from './simulation-failure.js';
import type {Trace} from './trace.js';
import {World} from './world.js';

export interface SubjectSetup {
	readonly plan: Plan;
	readonly random: Random;
	readonly counts: Counts;
	/** False where the trust anchor is one that believes what it reads, see `AnchorOptions`. */
	readonly settles?: boolean;
	/** Learns everything that happens. */
	readonly trace?: Trace | undefined;
}

/** An image as it was when a generation had just been secured. */
export interface SecuredImage {
	readonly generation: number;
	/** What the anchor then kept. */
	readonly hash: Uint8Array;
	readonly medium: SimulatedMedium;
	readonly anchor: AnchorState;
}

interface Remains {
	readonly medium: SimulatedMedium;
	readonly anchor: SimulatedAnchor;
	readonly model: Model;
	readonly operations: OperationsModel;
}

function deviceShape({
	vbd_leaves: leaves,
	vbd_degree: degree,
	vbd_max_level: maxLevel,
}: Readonly<Record<string, string>>): TreeShape {
	return {leafCount: Number(leaves), degree: Number(degree), maxLevel: Number(maxLevel)};
}

export class Subject {
	readonly setup: SubjectSetup;
	readonly model: Model;
	readonly operations: OperationsModel;
	readonly anchor: SimulatedAnchor;
	readonly medium: SimulatedMedium;
	readonly lock: LockModel;
	/** Codes with which requests may fail, since the medium does or the host has no room. */
	excuses: readonly string[] = [];
	/** True where the image was damaged on purpose, so that it need not be in order. */
	isDamaged = false;
	/** Filled where somebody asks for it. */
	securedImages: SecuredImage[] | undefined;
	/** Called after each change of medium or anchor. */
	onChange: (() => Promise<void>) | undefined;
	/** What the oracle said about the state secured last. */
	verdict: OracleVerdict | undefined;
	#world: World | undefined;
	#seenChangeCount = 0;
	#protected: ReadonlyMap<number, string> = new Map();
	#protectedSoon: ReadonlyMap<number, string> = new Map();

	constructor(setup: SubjectSetup, remains?: Remains) {
		this.setup = setup;
		const old = !remains && setup.plan.isOld ? oldContainer(setup.plan, setup.random.fork()) : undefined;
		this.medium = remains?.medium ?? old?.medium ?? new SimulatedMedium(setup.random.fork(), 0);
		this.anchor =
			remains?.anchor ??
			new SimulatedAnchor(
				setup.random.fork(),
				{locksAtStart: setup.plan.locksAtStart, settles: setup.settles !== false},
				{state: old?.anchor},
			);
		this.model = remains?.model ?? new Model(setup.plan.leafCount);
		this.lock = new LockModel(this.anchor.isLocked);
		this.operations = remains?.operations ?? new OperationsModel(deviceShape(setup.plan.create));
		this.medium.ownerOf = address => this.#protected.get(address) ?? this.#protectedSoon.get(address);
		this.anchor.onCheckpoint = ({hash, creating}) => {
			if (!creating) {
				this.#protectedSoon = this.#inspect(hash);
			}
		};
		this.anchor.onSecured = ({hash, creating, generation}) => {
			this.setup.counts.checkpoints++;
			if (!creating) {
				this.#protected = this.#inspect(hash);
				this.securedImages?.push({
					generation: generation ?? 0,
					hash,
					medium: this.medium.copy(setup.random.fork()),
					anchor: this.anchor.content,
				});
			}
		};
	}

	get isFaulty(): boolean {
		return this.excuses.length > 0;
	}

	/** True where the container's form lets snapshots have names, and times. */
	get namesSnapshots(): boolean {
		const {
			isOld,
			create: {cipher},
		} = this.setup.plan;
		return !isOld && cipher !== 'aes-256-cbc-essiv';
	}

	/** False where the names could not be read, and something excuses that. */
	get areNamesLegible(): boolean {
		return !(
			(this.isFaulty || this.isDamaged) &&
			this.world.log.some(line => line.includes('names of the snapshots'))
		);
	}

	get world(): World {
		if (!this.#world) {
			throw new Error('the device has not been opened');
		}

		return this.#world;
	}

	/**
	 * Starts the device, which may have come back locked; see `open` in lifecycle.ts. @throws StartError where it
	 * refuses to open
	 */
	async start(): Promise<void> {
		const {plan, random} = this.setup;
		this.#traceMedium('opening');
		const secured = this.anchor.secured;
		if (secured && !secured.creating) {
			this.#protected = this.#inspect(secured.hash);
			this.#inspectAnnounced();
			if (this.verdict) {
				this.operations.settle(this.verdict);
				this.setup.counts.replays += this.verdict.logLength > 0 ? 1 : 0;
			}
		}

		this.#world = await World.open({
			medium: this.medium,
			anchor: this.anchor,
			random: random.fork(),
			crypto: cryptoKinds[plan.crypto],
			frameCount: plan.frameCount,
			leaseLimit: plan.leaseLimit,
			create: plan.create,
			copies: plan.copies,
			stepMs: plan.stepMs,
			operationStep: plan.operationStep,
			eachTurn: async () => this.#afterTurn(),
			trace: this.setup.trace,
		});
	}

	/** What lies there, and what the anchor remembers. */
	#traceMedium(when: string): void {
		const {trace} = this.setup;
		if (trace) {
			trace.note(when, this.anchor.content);
			for (let address = 0; address < this.medium.blockCount; address++) {
				trace.note(this.medium.content(address));
			}
		}
	}

	/** A superblock that the anchor announced, and that has arrived, is the state that will be opened. */
	#inspectAnnounced(): void {
		const {intended} = this.anchor;
		if (intended && !this.isDamaged && inspect(this.medium, intended, oracleCipherOf(this.setup.plan.crypto))) {
			this.#protectedSoon = this.#inspect(intended);
		}
	}

	async run<T>(job: Promise<T>): Promise<T> {
		return this.world.run(job);
	}

	/** What a loss of power would leave now. */
	afterPowerLoss(): Subject {
		const random = this.setup.random.fork();
		const model = this.model.copy();
		model.crash();
		return new Subject(
			{...this.setup, random},
			{
				medium: this.medium.afterPowerLoss(random.fork()),
				anchor: this.anchor.afterPowerLoss(random.fork()),
				model,
				operations: this.operations.copy(),
			},
		);
	}

	/** What the end of the process would leave now. */
	afterKill(): Subject {
		const random = this.setup.random.fork();
		const model = this.model.copy();
		model.crash();
		return new Subject(
			{...this.setup, random},
			{
				medium: this.medium.afterKill(random.fork()),
				anchor: this.anchor.afterKill(random.fork()),
				model,
				operations: this.operations.copy(),
			},
		);
	}

	/** The same anchor and model with another medium. */
	withMedium(medium: SimulatedMedium): Subject {
		const random = this.setup.random.fork();
		return new Subject(
			{...this.setup, random},
			{
				medium,
				anchor: this.anchor.afterPowerLoss(random.fork()),
				model: this.model.copy(),
				operations: this.operations.copy(),
			},
		);
	}

	/** The same medium and model with a copy of the anchor from another time. */
	withAnchor(content: AnchorState): Subject {
		const random = this.setup.random.fork();
		return new Subject(
			{...this.setup, random},
			{
				medium: this.medium.copy(random.fork()),
				anchor: this.anchor.withContent(random.fork(), content),
				model: this.model.copy(),
				operations: this.operations.copy(),
			},
		);
	}

	/** From now on medium and anchor fail now and then, and so may requests. */
	startFaults(faults: MediumFaults, anchorFaultRate: number): void {
		this.excuses = ['device_failed', 'no_space'];
		this.medium.faults = faults;
		this.anchor.faultRate = anchorFaultRate;
	}

	/**
	 * From now on the host has room for so many blocks more; a device that finds too little when it is opened is only
	 * read.
	 */
	fillHost(room: number): void {
		this.excuses = ['no_space', 'read_only', 'refused'];
		this.medium.room = room;
	}

	/** From now on medium and anchor work, and so must the device. */
	stopFaults(): void {
		this.excuses = [];
		this.medium.room = Infinity;
		this.medium.faults = noFaults;
		this.anchor.faultRate = 0;
	}

	abandon(): void {
		if (this.#world) {
			this.#traceMedium('end');
			this.setup.counts.steps += this.#world.scheduler.stepCount;
			this.setup.counts.faults += this.medium.faultCount;
			this.#world.abandon();
		}
	}

	/** Checks the state behind a superblock and returns the blocks that it refers to. */
	#inspect(hash: Uint8Array): ReadonlyMap<number, string> {
		if (this.isDamaged) {
			return new Map();
		}

		const verdict = inspect(this.medium, hash, oracleCipherOf(this.setup.plan.crypto));
		if (!verdict) {
			throw new SimulationFailure('the superblock that the trust anchor knows is not on the medium');
		}

		if (verdict.problems.length > 0) {
			throw new SimulationFailure(`generation ${verdict.generation}: ${verdict.problems.slice(0, 4).join('; ')}`);
		}

		const bad = verdict.badData.at(0);
		if (bad !== undefined) {
			throw new SimulationFailure(
				`generation ${verdict.generation}: the data of VBA ${bad.vba} of ${bad.snapshot === undefined ? 'the current state' : `snapshot ${bad.snapshot}`} does not match its label`,
			);
		}

		this.operations.judge(verdict);
		this.verdict = verdict;
		return verdict.referenced;
	}

	async #afterTurn(): Promise<void> {
		const changeCount = this.medium.changeCount + this.anchor.changeCount;
		if (changeCount !== this.#seenChangeCount) {
			this.#seenChangeCount = changeCount;
			await this.onChange?.();
		}
	}
}
