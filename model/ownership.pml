/* SPDX-License-Identifier: Apache-2.0
 *
 * Ownership of one DVIPA: src/vipa/ownership, src/node/ceilings, src/node/shadow_role. What this proves, and how:
 * docs/proof.md.
 *
 * Two nodes that may own it, 1 and 2, and one member that sends and receives for it. A node that owned it may be paused at any
 * time and wake with its epoch over; its session may end though it does not know; the facility may be out of its reach, so
 * that its claims and reservations stand still (which is a node that takes these steps late, or never). No clock is
 * trusted: the session of a node that thinks it is the owner may end at any time. What a node has sent lies in sets and may
 * arrive at any time, again and again.
 *
 * Runs, of which tools/run_model.py knows all, with their constants:
 *   ONE_OWNER  the member never honours an older epoch after a newer one; once an owner has begun to forward for the SAs it
 *              took over, nobody honours what a former one forwards; no number is granted under two epochs
 *   OWNED      with no more failures, every run ends with an owner that has begun, and that the member follows
 * BREAK_… takes one rule away each. SPIN must refute every one of them.
 */
#ifndef EPOCHS
#define EPOCHS 3 /* ownerships in all */
#endif
#ifndef NUMBERS
#define NUMBERS 4
#endif
#ifndef RESTARTS
#define RESTARTS 1 /* of the member */
#endif

#define OTHER(n) (3 - (n))
#define HAS(set, n) (((set) >> (n)) & 1)
#define ADD(set, n) set = set | (1 << (n))

/* ---- the coupling facility: every step is one transaction ---- */
byte cf_owner;   /* who holds owner/ADDRESS; 0: nobody */
byte cf_epoch;   /* the revision at which that key was created, or the last one was */
byte cf_ceiling;
byte session = 6; /* nodes with a session */

/* ---- nodes ---- */
byte epoch[3];    /* under which it thinks that it owns; 0: it does not */
byte next[3];     /* number to be granted; 0: it has not begun to sequence */
byte ceiling[3];
byte begun;       /* nodes that forward */
byte early[3];    /* BREAK_EARLY: the ceiling as it was seen before the claim */

/* ---- the member ---- */
byte known;       /* ShadowRole::newest_epochs_, Lessee and Distribution */
byte lists;       /* epochs that were announced to it: VIPAList */
byte registered;  /* epochs whose owner may send to this life of it: the backup, or the facility, has said so */

/* ---- ghosts ---- */
byte granted;     /* numbers */
byte honoured;    /* highest epoch that the member has honoured in any of its lives */
byte newest_begun; /* highest epoch under which somebody has begun to forward */
byte restarts, failures;

/* ---- the rules, and what breaks them ---- */

#ifdef BREAK_FENCE /* a ceiling is raised without comparing the epoch */
#define FENCED(n) true
#else
#define FENCED(n) (cf_owner == n && cf_epoch == epoch[n])
#endif
#ifdef BREAK_EARLY /* the ceiling is read before the key is won */
#define CEILING_FOUND(n) early[n]
#define LOOK_EARLY(n) early[n] = cf_ceiling
#else
#define CEILING_FOUND(n) cf_ceiling
#define LOOK_EARLY(n) skip
#endif
#ifdef BREAK_OLDER /* a member believes whoever speaks last */
#define BELIEVES(e) (known != e)
#else
#define BELIEVES(e) (known < e)
#endif
#ifdef BREAK_BEGIN /* a new owner forwards before the members have its epoch */
#define MAY_BEGIN(n) true
#else
#define MAY_BEGIN(n) (known == epoch[n])
#endif
#ifdef BREAK_ROSTER /* a member that was started again is sent to by whoever it hears of first */
#define MAY_REGISTER(n) true
#else
#define MAY_REGISTER(n) (cf_epoch == epoch[n])
#endif
#ifdef BREAK_EPOCH /* what is forwarded carries no epoch */
#define MATCHES(n) (known != 0)
#else
#define MATCHES(n) (known == epoch[n])
#endif
#ifdef BREAK_CLAIM /* a node that has lost the key does not claim again */
#define CLAIMS(n) (next[n] == 0 && early[n] == 0 && cf_epoch == 0)
#else
#define CLAIMS(n) true
#endif

#ifdef OWNED
#define CALM (failures == 0)
#else
#define CALM false
#endif

proctype Node(byte me)
{
end:	do
	/* Ownership::claim(): compare-and-set, when nobody has the key. */
	:: d_step { cf_owner == 0 && HAS(session, me) && epoch[me] == 0 && CLAIMS(me) && cf_epoch < EPOCHS ->
		cf_owner = me; cf_epoch++ }
	/* A backup that misses the owner, with the others of its mind, replaces the key. */
	:: d_step { cf_owner == OTHER(me) && HAS(session, me) && epoch[me] == 0 && failures > 0 && cf_epoch < EPOCHS ->
		failures--; cf_owner = me; cf_epoch++ }
	/* hold(): the answer, or the watch. */
	:: d_step { cf_owner == me && epoch[me] != cf_epoch -> epoch[me] = cf_epoch; next[me] = 0; ceiling[me] = 0; begun = begun & ~(1 << me) }
	/* lose(): the watch, the session's end, or its own clock. */
	:: d_step { epoch[me] != 0 && (cf_owner != me || cf_epoch != epoch[me]) ->
		epoch[me] = 0; next[me] = 0; ceiling[me] = 0; begun = begun & ~(1 << me) }
	/* It lost its session, and opens another. */
	:: d_step { !HAS(session, me) && epoch[me] == 0 -> ADD(session, me) }
	/* The sequencer begins behind what is reserved. */
	:: d_step { epoch[me] != 0 && next[me] == 0 -> next[me] = CEILING_FOUND(me) + 1; ceiling[me] = CEILING_FOUND(me) }
#ifdef BREAK_EARLY
	:: d_step { epoch[me] == 0 && early[me] != cf_ceiling -> LOOK_EARLY(me) }
#endif
	/* Ceilings::write() */
	:: d_step { epoch[me] != 0 && next[me] > ceiling[me] && next[me] != 0 && ceiling[me] < NUMBERS && cf_ceiling < NUMBERS && FENCED(me) ->
		cf_ceiling++; ceiling[me] = cf_ceiling }
	/* A grant. */
	:: d_step { epoch[me] != 0 && next[me] != 0 && next[me] <= ceiling[me] ->
		assert(!HAS(granted, next[me]));
		ADD(granted, next[me]);
		next[me]++ }
	/* It says that it is the owner. */
	:: d_step { epoch[me] != 0 && !HAS(lists, epoch[me]) -> ADD(lists, epoch[me]) }
	/* It may send to the member, in this life of it: written down under its epoch. */
	:: d_step { epoch[me] != 0 && known == epoch[me] && !HAS(registered, epoch[me]) && MAY_REGISTER(me) -> ADD(registered, epoch[me]) }
	/* It begins to forward. */
	:: d_step { epoch[me] != 0 && !HAS(begun, me) && MAY_BEGIN(me) ->
		ADD(begun, me);
		newest_begun = (epoch[me] > newest_begun -> epoch[me] : newest_begun) }
	od
}

/* Of what an owner has forwarded; grants are taken by the same rule. */
#define HONOURS(n) \
	:: d_step { HAS(begun, n) && HAS(registered, epoch[n]) && MATCHES(n) && honoured != epoch[n] -> \
		assert(epoch[n] >= honoured); \
		assert(epoch[n] >= newest_begun); \
		honoured = epoch[n] } \
	:: d_step { HAS(begun, n) && HAS(registered, epoch[n]) && MATCHES(n) && epoch[n] < newest_begun -> assert(false) }

#define LEARNS(e) \
	:: d_step { HAS(lists, e) && BELIEVES(e) -> known = e }

proctype Member()
{
end:	do
	LEARNS(1)
	LEARNS(2)
#if EPOCHS > 2
	LEARNS(3)
#endif
#if EPOCHS > 3
	LEARNS(4)
#endif
	HONOURS(1)
	HONOURS(2)
#if RESTARTS > 0
	:: d_step { restarts < RESTARTS -> restarts++; known = 0; registered = 0 }
#endif
	od
}

/* The session of a node ends in the facility; whether it knows, runs, sleeps or is dead. */
proctype Sessions()
{
end:	do
	:: d_step { failures > 0 && HAS(session, 1) -> failures--; session = session & ~2; cf_owner = (cf_owner == 1 -> 0 : cf_owner) }
	:: d_step { failures > 0 && HAS(session, 2) -> failures--; session = session & ~4; cf_owner = (cf_owner == 2 -> 0 : cf_owner) }
	od
}

#ifdef OWNED
proctype Owned()
{
end:	do
	:: timeout ->
		assert(cf_owner != 0 && epoch[cf_owner] == cf_epoch && HAS(begun, cf_owner) && known == cf_epoch && HAS(registered, cf_epoch));
		assert(epoch[OTHER(cf_owner)] == 0);
		break
	od
}
#endif

init {
	atomic {
		failures = EPOCHS - 1;
		run Node(1);
		run Node(2);
		run Member();
		run Sessions()
#ifdef OWNED
		;
		run Owned()
#endif
	}
}
