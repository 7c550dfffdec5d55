/*
 * The commit protocol in Promela, apart from the product's code: flush log, checkpoints, trust anchor, crashes and openings.
 *
 * A block of the device is its newest version; each version lies in a place of its own, as copy-on-write has it. A hash is the number of
 * the superblock or entry that has it. What was written and not synced is kept apart; a loss of power keeps any of it, a part, or none.
 * The anchor's record may be written and not durable. Asserted: no opening is refused, none falls behind what was acknowledged or shown,
 * and all that counts is there.
 *
 * BREAK leaves out a rule, so that a test can see that it is needed:
 *  1 the first sync of a checkpoint      2 the announcement          3 the second sync of a checkpoint   4 the sync of a flush
 *  5 a flush is durable before it is acknowledged                    6 a checkpoint takes the slot behind the one that counts
 *  7 an entry lies behind the last one   8 a superblock that was found is durable before it is anchored
 *  9 so is a flush that was found
 */
#ifndef BREAK
#define BREAK 0
#endif

#define VERSIONS 3
#define SLOTS 3
#define LOG 2
#define IDS 9       /* superblocks, and entries, that may ever be written */
#define ENTRY 16    /* numbers from here on are entries */
#define TORN 63

/* The medium: what is durable for certain, and what reads back. */
byte slot[SLOTS], slot_read[SLOTS];
byte entries[LOG], entries_read[LOG];
bool data[VERSIONS + 1], data_cached[VERSIONS + 1];

/* Superblocks and entries by their numbers. */
byte sb_version[IDS], sb_generation[IDS], sb_count;
byte entry_version[IDS], entry_before[IDS], entry_position[IDS], entry_count;

/* The anchor: what reads back, and what is durable for certain. */
byte kept, intended, kept_durable, intended_durable;

/* The device. */
byte written, current, acknowledged, position, tail, base, stray;
bool is_settled;
byte crashes = 2;

/* Of the opening. */
byte i, found, newer, newer_slot, newer_count, ahead, ahead_count, last, version, covered, id, target;

#define is_entry(e) ((e) >= ENTRY && (e) < TORN)

inline write_client() {
	do
	:: written < VERSIONS -> written++; current = written; data_cached[written] = true
	:: break
	od
}

inline sync_medium() {
	d_step {
		i = 0;
		do
		:: i < SLOTS -> slot[i] = slot_read[i]; i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < LOG -> entries[i] = entries_read[i]; i++
		:: else -> break
		od;
		i = 0;
		do
		:: i <= VERSIONS -> data[i] = data[i] || data_cached[i]; data_cached[i] = false; i++
		:: else -> break
		od
	}
}

/* The power fails: of what was not synced, anything may have arrived, in whole or in part. */
inline lose_power() {
	atomic {
		i = 0;
		do
		:: i < SLOTS ->
			if
			:: slot_read[i] != slot[i] -> slot[i] = slot_read[i]
			:: slot_read[i] != slot[i] -> slot[i] = TORN
			:: true
			fi;
			slot_read[i] = slot[i]; i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < LOG ->
			if
			:: entries_read[i] != entries[i] -> entries[i] = entries_read[i]
			:: entries_read[i] != entries[i] -> entries[i] = TORN
			:: true
			fi;
			entries_read[i] = entries[i]; i++
		:: else -> break
		od;
		i = 0;
		do
		:: i <= VERSIONS ->
			if
			:: data_cached[i] -> data[i] = true
			:: true
			fi;
			data_cached[i] = false; i++
		:: else -> break
		od;
		if
		:: kept = kept_durable; intended = intended_durable
		:: true
		fi
	}
}

/* Between any two steps: the power fails, the program is killed, or it goes on. A kill leaves what was written in the host's memory. */
inline may_crash() {
	if
	:: crashes > 0 -> crashes--; lose_power(); goto opening
	:: crashes > 0 -> crashes--; goto opening
	:: true
	fi
}

inline remember(new_kept, new_intended) {
	kept_durable = kept; intended_durable = intended;
	kept = new_kept; intended = new_intended;
	may_crash();
	kept_durable = kept; intended_durable = intended
}

/* Follows the log from a superblock; `ahead` is the first entry behind `kept`, `last` the last one up to it. */
inline follow(from) {
	d_step {
		i = 0; last = from; ahead = 0; ahead_count = 0; id = from;
		do
		:: i < LOG && is_entry(entries_read[i]) && entry_before[entries_read[i] - ENTRY] == id && entry_position[entries_read[i] - ENTRY] == i ->
			id = entries_read[i];
			if
			:: ahead_count == 0 && found == 0 && from != kept -> last = id; if :: id == kept -> found = 1 :: else fi
			:: else -> if :: ahead_count == 0 -> ahead = id :: else fi; ahead_count++
			fi;
			i++
		:: else -> break
		od
	}
}

active proctype device() {
	d_step {
		data[0] = true;
		sb_count = 2; entry_count = 1; slot[0] = 1; slot_read[0] = 1; kept = 1; kept_durable = 1
	}

opening:
	/* What the anchor has read it makes durable first. */
	kept_durable = kept; intended_durable = intended;
	d_step {
		base = SLOTS; i = 0;
		do
		:: i < SLOTS -> if :: slot_read[i] == kept -> base = i :: else fi; i++
		:: else -> break
		od
	}
	if
	:: base < SLOTS -> found = 1; follow(kept); last = kept
	:: else ->
		target = 0; found = 0;
		do
		:: target < SLOTS && found == 0 ->
			if
			:: slot_read[target] > 0 && slot_read[target] < ENTRY -> follow(slot_read[target]); if :: found == 1 -> base = target :: else fi
			:: else
			fi;
			target++
		:: else -> break
		od
	fi;
	assert(base < SLOTS);                       /* what the anchor keeps is there */

	/* Superblocks beyond it: only the announced one may be. */
	d_step {
		newer_count = 0; newer = 0; newer_slot = SLOTS; i = 0;
		do
		:: i < SLOTS ->
			if
			:: i != base && slot_read[i] > 0 && slot_read[i] < ENTRY && sb_generation[slot_read[i]] > sb_generation[slot_read[base]] ->
				newer_count++; newer = slot_read[i]; newer_slot = i
			:: else
			fi;
			i++
		:: else -> break
		od
	}
	assert(newer_count == 0 || (newer_count == 1 && newer == intended));
	stray = SLOTS;
	if
	:: newer_count == 1 ->
		/* A checkpoint that was cut off at its last step. */
		ahead_count = 0;
		if :: BREAK != 8 -> slot_read[newer_slot] = newer :: else fi;
		may_crash();
		if :: BREAK != 8 -> sync_medium() :: else fi;
		may_crash();
		remember(newer, 0);
		base = newer_slot; last = newer; position = 0; is_settled = true
	:: else ->
		assert(ahead_count <= 1);
		if :: intended != 0 -> stray = (base + 1) % SLOTS :: else fi;
		position = 0;
		if :: is_entry(last) -> position = entry_position[last - ENTRY] + 1 :: else fi;
		is_settled = (ahead_count == 0);
		if
		:: ahead_count == 1 && (data[entry_version[ahead - ENTRY]] || data_cached[entry_version[ahead - ENTRY]]) ->
			/* A flush that was cut off, and is all there. */
			if
			:: BREAK != 9 -> data_cached[entry_version[ahead - ENTRY]] = true; entries_read[position] = ahead
			:: else
			fi;
			if :: stray < SLOTS -> slot_read[stray] = 0 :: else fi;
			may_crash();
			if :: BREAK != 9 -> sync_medium() :: else fi;
			may_crash();
			id = ahead;
			remember(id, 0);
			last = ahead; position++; is_settled = true; stray = SLOTS
		:: else
		fi
	fi;
	tail = last;
	if :: is_entry(tail) -> version = entry_version[tail - ENTRY] :: else -> version = sb_version[tail] fi;
	assert(data[version] || data_cached[version]);   /* all that counts is there */
	assert(version >= acknowledged);                 /* and nothing is lost */
	acknowledged = version; current = version;
	if
	:: is_entry(tail) || !is_settled -> goto checkpoint
	:: else
	fi;

running:
	if
	:: written < VERSIONS -> written++; current = written; data_cached[written] = true; goto running
	:: current > acknowledged && position < LOG && is_settled && stray == SLOTS && entry_count < IDS - 1 -> goto flush
	:: current > acknowledged && sb_count < IDS - 1 -> goto checkpoint
	:: crashes > 0 -> crashes--; lose_power(); goto opening
	:: crashes > 0 -> crashes--; goto opening
	:: goto end_done
	fi;

flush:
	covered = current;
	target = entry_count; entry_count++;
	d_step { entry_version[target] = covered; entry_before[target] = kept; entry_position[target] = position }
	if
	:: BREAK == 7 && position > 0 -> entries_read[position - 1] = ENTRY + target
	:: else -> entries_read[position] = ENTRY + target
	fi;
	may_crash();
	write_client();
	if :: BREAK == 5 -> acknowledged = covered; may_crash() :: else fi;
	if :: BREAK != 4 -> sync_medium() :: else fi;
	may_crash();
	remember(ENTRY + target, intended);
	acknowledged = covered; position++; tail = kept;
	goto running;

checkpoint:
	if :: sb_count >= IDS - 1 -> goto end_done :: else fi;
	covered = current;
	target = sb_count; sb_count++;
	d_step { sb_version[target] = covered; sb_generation[target] = sb_generation[slot_read[base]] + 1 }
	if
	:: stray < SLOTS -> slot_read[stray] = 0; may_crash(); sync_medium(); stray = SLOTS; may_crash()
	:: else
	fi;
	write_client();
	if
	:: true -> if :: BREAK != 1 -> sync_medium() :: else fi; may_crash(); if :: BREAK != 2 -> remember(kept, target) :: else fi
	:: true -> if :: BREAK != 2 -> remember(kept, target) :: else fi; may_crash(); if :: BREAK != 1 -> sync_medium() :: else fi
	fi;
	may_crash();
	newer_slot = (base + 1) % SLOTS;
	if :: BREAK == 6 -> newer_slot = base :: else fi;
	slot_read[newer_slot] = target;
	may_crash();
	if :: BREAK != 3 -> sync_medium() :: else fi;
	may_crash();
	remember(target, 0);
	base = newer_slot; position = 0; is_settled = true; tail = kept; version = covered;
	if :: covered > acknowledged -> acknowledged = covered :: else fi;
	goto running;

end_done:
	skip
}
