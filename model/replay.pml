/* SPDX-License-Identifier: Apache-2.0
 *
 * Replay across the cluster: src/distributor/replay_ledger, src/target/inbound, src/sequence/replay_commits. What this
 * proves, and how: docs/proof.md.
 *
 * One inbound SA; an owner and its backup, which takes over at any time while the owner goes on (so one that died is one that
 * takes no step any more); two targets, of which the first may crash and come back empty. The peer has sent every number
 * once, and an attacker has every packet: each may reach the owner at any time, any number of times, and beside it forged
 * ones with any number that look like any flow. What is under way inside the cluster lies in sets: it may arrive at any
 * time, again and again, or never. Odd numbers are of flow 0, even ones of flow 1. A flow is of one target at a time, or of
 * the owner itself, and moves.
 *
 * Runs, of which tools/run_model.py knows all, with their constants:
 *   ONCE       no number is accepted twice in the whole cluster, whatever happens
 *   UNBLOCKED  nothing dies and no flow moves, but the owner's role does: a genuine packet of which no copy has been let
 *              through is let through, unless the genuine ones have left it behind
 * BREAK_… takes one rule away each. SPIN must refute every one of them.
 */
#ifndef NUMBERS
#define NUMBERS 3
#endif
#ifndef W
#define W 2 /* a target's window */
#endif
#ifndef HALF
#define HALF 2 /* of the ledger: numbers behind its top, and ahead */
#endif
#ifndef MOVES
#define MOVES 1
#endif
#ifndef DOWNS
#define DOWNS 1 /* links to targets that an owner loses, rightly or not, beside those of a crash */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

/* Sets of small numbers are bits. */
#define HAS(set, n) (((set) >> (n)) & 1)
#define ADD(set, n) set = set | (1 << (n))
#define DEL(set, n) set = set & ~(1 << (n))
#define BELOW(n) ((1 << (n)) - 1)
#define OLDER(top, size) ((top) >= (size) -> BELOW((top) - (size) + 1) : 0) /* numbers behind a window */
#define OWNER 2
#define FLOW(n) (((n) + 1) & 1)
#define AT(e, t) ((e) * 2 + (t))
#define PEND(e, t, f) ((e) * 4 + (t) * 2 + (f))

/* ---- ghosts ---- */
byte accepted;     /* numbers */
#ifdef UNBLOCKED
byte let_through;  /* numbers of which a genuine copy was forwarded or accepted */
byte genuine_top;  /* highest number that was authenticated by anybody */
#define LET_THROUGH(n) ADD(let_through, n)
#define GENUINE_TOP(n) genuine_top = (n > genuine_top -> n : genuine_top)
#else
#define LET_THROUGH(n) skip
#define GENUINE_TOP(n) skip
#endif

/* ---- the coupling facility ---- */
bool taken;          /* the backup has the ownership: epoch 2 */
bool in_sync = true; /* the backup has all that it must have: who takes over without this closes the SA */

/* ---- ReplayLedger, by epoch ---- */
byte seen[3], ever[3], again[3], top[3];
byte pending[12];         /* by PEND(epoch, target, flow) */
byte member[6];           /* by AT(epoch, target): the incarnation to which the link is up; 0: down */
byte place[2];            /* by flow: target, or OWNER */

/* ---- the first owner and its backup ---- */
byte roster[2];           /* acknowledged: targets, by incarnation, that may get packets */
byte to_record;           /* accepted by the owner once the backup has recorded them */
byte recorded;            /* that the backup has recorded under epoch 1 */
mtype = { NONE, SENT, HELD };
mtype parcel = NONE;    /* on its way to the backup; stored there, and the acknowledgement on its way back */
byte s_seen, s_top, s_roster[2];
byte b_seen, b_top, b_roster[2]; /* what the backup has */
byte r_seen, r_top, reported[2]; /* what targets have reported to it; their incarnation */
bool opened;              /* it forwards and accepts under epoch 2 */

/* ---- targets ---- */
byte incarnation[2] = 1, epoch_of[2] = 1, t_seen[2], t_top[2];
byte arriving[2];         /* genuine packets that were forwarded to it */
byte taken_by_any;        /* that targets have accepted, in any of their lives: kReplayCommit */
byte refused_by[6];       /* that it has rejected, by AT(epoch, target): kReplayCommit */
#ifdef BREAK_OUTLIVE
byte forwarded[2];
#endif

byte moves, downs, crashes;

#if NUMBERS == 3
#define EACH_NUMBER(X) X(1) X(2) X(3)
#else
#define EACH_NUMBER(X) X(1) X(2) X(3) X(4)
#endif

/* ---- the rules, and what breaks them ---- */

#ifdef BREAK_TRUST /* what is pending at one target is forwarded to another one on trust */
#define TRUSTED(e, n, t, f) (FREE(e, n) || PENDING(e, n))
#else
#define TRUSTED(e, n, t, f) (FREE(e, n) || HAS(pending[PEND(e, t, f)], n))
#endif
#ifdef BREAK_SAME_FLOW /* what is genuine is new, though a copy of the same flow is pending */
#define SAME_FLOW_PENDING(e, n, f) false
#else
#define SAME_FLOW_PENDING(e, n, f) (HAS(pending[PEND(e, 0, f)], n) || HAS(pending[PEND(e, 1, f)], n))
#endif
#ifdef BREAK_AGAIN /* "rejected" frees a number though two copies were forwarded */
#define ONE_COPY(e, n) true
#define FORGET_REJECTED(e, n) skip
#else
#define ONE_COPY(e, n) !HAS(again[e], n)
#define FORGET_REJECTED(e, n) DEL(refused_by[AT(e, 0)], n); DEL(refused_by[AT(e, 1)], n) /* it changes nothing any more */
#endif
#ifdef BREAK_DEATH /* what was pending at a target that died is free */
#define COUNTS_AS_SEEN(set) 0
#else
#define COUNTS_AS_SEEN(set) (set)
#endif
#ifdef BREAK_FORGED_MOVES /* what was not authenticated moves the ledger */
#define FORGED_MOVES(e, n) move_to(e, n)
#else
#define FORGED_MOVES(e, n) skip
#endif
#ifdef BREAK_UNVERIFIED /* a target reports before it verifies */
#define FORGED_AT(n) ADD(taken_by_any, n)
#else
#define FORGED_AT(n) skip
#endif
#ifdef BREAK_ROSTER /* packets go to a target before the backup knows of it */
#define MAY_GET(e, t) (member[AT(e, t)] != 0)
#else
#define MAY_GET(e, t) (member[AT(e, t)] != 0 && (e == 2 || !in_sync || \
	(roster[t] == member[AT(e, t)] && (parcel == NONE || s_roster[t] == member[AT(e, t)]))))
#endif
#ifdef BREAK_SNAPSHOT /* a target that died leaves the roster without what it may have accepted */
#define SNAPSHOT_OF_LEDGER 0
#else
#define SNAPSHOT_OF_LEDGER seen[1]
#endif
#ifdef BREAK_RECORD /* the owner accepts before the backup has recorded it */
#define RECORD_FIRST false
#else
#define RECORD_FIRST in_sync
#endif
#ifdef BREAK_IN_SYNC /* the owner goes on without its backup and does not say so in the coupling facility */
#define IN_SYNC true
#define FORGET_BACKUP skip
#else
#define IN_SYNC in_sync
#define FORGET_BACKUP parcel = NONE; s_seen = 0; s_top = 0; s_roster[0] = 0; s_roster[1] = 0; recorded = 0; \
	b_seen = 0; b_top = 0; b_roster[0] = 0; b_roster[1] = 0; roster[0] = 0; roster[1] = 0
#endif
#ifdef BREAK_BOTH /* targets that do not answer are left out */
#define ANSWERED(t) true
#else
#define ANSWERED(t) (b_roster[t] == 0 || reported[t] == b_roster[t])
#endif
#ifdef BREAK_INCARNATION /* a target answers for its former life */
#define LIFE(t) 1
#else
#define LIFE(t) incarnation[t]
#endif
#ifdef BREAK_MERGE /* numbers behind a reported window are free */
#define BEHIND(top, size) 0
#else
#define BEHIND(top, size) OLDER(top, size)
#endif
#ifdef BREAK_CARRY /* rejections under the former epoch are reported under the new one: ReplayCommits::set_owner() */
#define CARRY(t) refused_by[AT(2, t)] = refused_by[AT(1, t)]
#else
#define CARRY(t) skip
#endif
#ifdef BREAK_EPOCH /* a target goes on taking what the former owner forwards after it has reported its window */
#define REFUSE_FORMER(t) skip
#else
#define REFUSE_FORMER(t) arriving[t] = 0
#endif
#ifdef BREAK_OUTLIVE /* a packet under way to a target arrives at its next life */
#define LOSE_ARRIVING(t) arriving[t] = forwarded[t]
#define REMEMBER(t, n) ADD(forwarded[t], n)
#else
#define LOSE_ARRIVING(t) arriving[t] = 0
#define REMEMBER(t, n) skip
#endif

/* ---- ReplayLedger ---- */

#define PENDING_SET(e) (pending[PEND(e, 0, 0)] | pending[PEND(e, 0, 1)] | pending[PEND(e, 1, 0)] | pending[PEND(e, 1, 1)])
#define PENDING(e, n) HAS(PENDING_SET(e), n)
#define FREE(e, n) (!HAS(seen[e], n) && !PENDING(e, n))
#define TOO_OLD(e, n) (n <= top[e] && top[e] - n >= HALF)
#define FAR_AHEAD(e, n) (n > top[e] && n - top[e] > HALF)

/* check() says "forward"; check() and then authenticated() do. */
#define ON_TRUST(e, n, t, f) (!TOO_OLD(e, n) && !FAR_AHEAD(e, n) && !HAS(seen[e], n) && TRUSTED(e, n, t, f))
#define AUTHENTICATED(e, n, f) (!TOO_OLD(e, n) && !HAS(seen[e], n) && !SAME_FLOW_PENDING(e, n, f))

#define unpend(ue, gone) \
	pending[PEND(ue, 0, 0)] = pending[PEND(ue, 0, 0)] & ~(gone); \
	pending[PEND(ue, 0, 1)] = pending[PEND(ue, 0, 1)] & ~(gone); \
	pending[PEND(ue, 1, 0)] = pending[PEND(ue, 1, 0)] & ~(gone); \
	pending[PEND(ue, 1, 1)] = pending[PEND(ue, 1, 1)] & ~(gone)

/* What leaves the window is forgotten. */
#define move_to(ve, mn) \
	if \
	:: mn > top[ve] -> \
		top[ve] = mn; \
		seen[ve] = seen[ve] & ~OLDER(top[ve], HALF); \
		ever[ve] = ever[ve] & ~OLDER(top[ve], HALF); \
		again[ve] = again[ve] & ~OLDER(top[ve], HALF); \
		unpend(ve, OLDER(top[ve], HALF)) \
	:: else \
	fi

#define mark_forwarded(fe, fn, ft, ff) \
	if \
	:: HAS(ever[fe], fn) -> ADD(again[fe], fn); FORGET_REJECTED(fe, fn) \
	:: else \
	fi; \
	ADD(ever[fe], fn); \
	unpend(fe, 1 << (fn)); \
	ADD(pending[PEND(fe, ft, ff)], fn)

#define mark_seen(se, sn) \
	if \
	:: !TOO_OLD(se, sn) -> move_to(se, sn); unpend(se, 1 << (sn)); ADD(seen[se], sn); DEL(ever[se], sn); DEL(again[se], sn); \
		FORGET_REJECTED(se, sn) \
	:: else \
	fi

#define node_died(de, dt) \
	seen[de] = seen[de] | COUNTS_AS_SEEN(pending[PEND(de, dt, 0)] | pending[PEND(de, dt, 1)]); \
	pending[PEND(de, dt, 0)] = 0; \
	pending[PEND(de, dt, 1)] = 0

#define accept(an) \
	assert(!HAS(accepted, an)); \
	ADD(accepted, an); \
	LET_THROUGH(an); \
	GENUINE_TOP(an)

/* To a target that knows this epoch, whose window would take it: else it is as lost as on the network. */
#define send_to(te, tn, tt) \
	LET_THROUGH(tn); \
	REMEMBER(tt, tn); \
	if \
	:: epoch_of[tt] == te && incarnation[tt] == member[AT(te, tt)] && !HAS(t_seen[tt], tn) && !HAS(OLDER(t_top[tt], W), tn) -> ADD(arriving[tt], tn) \
	:: else \
	fi

/* ---- an owner ---- */

/* Once the next owner has begun, nobody takes what this one forwards: FORMER() asserts it. So it need not go on. */
#define ACTS(e) ((e == 2) == opened)
#define FORMER(t) \
	:: d_step { me == 1 && opened && member[AT(1, t)] != 0 && (MAY_GET(1, t)) && epoch_of[t] == 1 && member[AT(1, t)] == incarnation[t] -> assert(false) }
#define CAN_FORWARD(e, f) (place[f] != OWNER && MAY_GET(e, place[f]))

/* A genuine packet: forwarded on trust, or after the owner has authenticated it (it must, or it is a SYN, or its peer has moved). */
#define GENUINE(n) \
	:: d_step { ACTS(me) && CAN_FORWARD(me, FLOW(n)) && ON_TRUST(me, n, place[FLOW(n)], FLOW(n)) -> \
		mark_forwarded(me, n, place[FLOW(n)], FLOW(n)); send_to(me, n, place[FLOW(n)]) } \
	:: d_step { ACTS(me) && CAN_FORWARD(me, FLOW(n)) && AUTHENTICATED(me, n, FLOW(n)) -> \
		move_to(me, n); GENUINE_TOP(n); \
		mark_forwarded(me, n, place[FLOW(n)], FLOW(n)); send_to(me, n, place[FLOW(n)]) } \
	:: d_step { ACTS(me) && place[FLOW(n)] == OWNER && AUTHENTICATED(me, n, FLOW(n)) -> own(n) }

#define own(on) \
	mark_seen(me, on); \
	LET_THROUGH(on); \
	GENUINE_TOP(on); \
	if \
	:: me == 1 && RECORD_FIRST -> ADD(to_record, on) \
	:: else -> accept(on) \
	fi

/* A forged one, that looks like flow f. What the owner would authenticate first goes no further. */
#define FORGED(n, f) \
	:: d_step { ACTS(me) && CAN_FORWARD(me, f) && ON_TRUST(me, n, place[f], f) && (FREE(me, n) || !HAS(again[me], n)) -> \
		ADD(refused_by[AT(me, place[f])], n); mark_forwarded(me, n, place[f], f); FORGED_AT(n); FORGED_MOVES(me, n) }
#define FORGED_EITHER(n) FORGED(n, 0) FORGED(n, 1)

/* commit() */
#define REPORTED(n) \
	:: d_step { ACTS(me) && HAS(taken_by_any, n) && !HAS(seen[me], n) && !TOO_OLD(me, n) -> mark_seen(me, n) } \
	REJECTED(n, 0) REJECTED(n, 1)
#define REJECTED(n, t) \
	:: d_step { ACTS(me) && HAS(refused_by[AT(me, t)], n) && ONE_COPY(me, n) && \
		HAS(pending[PEND(me, t, 0)] | pending[PEND(me, t, 1)], n) -> unpend(me, 1 << (n)) }

/* The backup has recorded it, or is said to be none. */
#define RECORDED(n) \
	:: d_step { me == 1 && HAS(to_record, n) && (HAS(recorded, n) || !in_sync) -> DEL(to_record, n); accept(n) }

/* Node::link_down() and link_up(), path::ForgetNode. A new life has a new link. */
#define LINK(t) \
	:: d_step { ACTS(me) && member[AT(me, t)] != 0 && member[AT(me, t)] != incarnation[t] -> member[AT(me, t)] = 0; node_died(me, t) } \
	:: d_step { ACTS(me) && member[AT(me, t)] != 0 && member[AT(me, t)] == incarnation[t] && downs < DOWNS -> \
		downs++; member[AT(me, t)] = 0; node_died(me, t) } \
	:: d_step { ACTS(me) && member[AT(me, t)] == 0 && (epoch_of[t] == me || (epoch_of[t] == 0 && me == 1)) -> \
		member[AT(me, t)] = incarnation[t]; epoch_of[t] = me } \
	:: d_step { me == 1 && opened && member[AT(1, t)] == 0 && epoch_of[t] == 0 -> member[AT(1, t)] = incarnation[t]; epoch_of[t] = 1 }

#ifdef UNBLOCKED
/* The property: never so. */
#define BLOCKED(n) \
	:: d_step { ACTS(me) && !HAS(let_through, n) && !HAS(OLDER(genuine_top, HALF), n) && \
		!AUTHENTICATED(me, n, FLOW(n)) && (place[FLOW(n)] == OWNER || !ON_TRUST(me, n, place[FLOW(n)], FLOW(n))) -> assert(false) }
#endif

proctype Owner(byte me)
{
end:	do
	EACH_NUMBER(GENUINE)
	EACH_NUMBER(FORGED_EITHER)
	EACH_NUMBER(REPORTED)
	EACH_NUMBER(RECORDED)
#ifdef ONCE
	LINK(0) LINK(1)
	FORMER(0) FORMER(1)
	/* The roster of targets has changed: a snapshot of the ledger goes with it. One at a time, on the ordered control stream. */
	:: d_step { me == 1 && in_sync && parcel == NONE && (roster[0] != member[AT(1, 0)] || roster[1] != member[AT(1, 1)]) ->
		s_seen = SNAPSHOT_OF_LEDGER; s_top = top[1]; s_roster[0] = member[AT(1, 0)]; s_roster[1] = member[AT(1, 1)]; parcel = SENT }
	:: d_step { me == 1 && in_sync && parcel == HELD ->
		roster[0] = s_roster[0]; roster[1] = s_roster[1]; s_seen = 0; s_top = 0; s_roster[0] = 0; s_roster[1] = 0; parcel = NONE }
	/* The backup is away: go on without it, once the coupling facility says so. Fenced by the epoch. */
	:: d_step { me == 1 && in_sync && !taken -> in_sync = false; FORGET_BACKUP }
#else
	EACH_NUMBER(BLOCKED)
#endif
	od
}

/* ---- a target ---- */

/* open() and finish(): its own window, then the ICV. */
#define ARRIVES(n) \
	:: d_step { HAS(arriving[me], n) && !HAS(t_seen[me], n) && !HAS(OLDER(t_top[me], W), n) -> \
		accept(n); \
		ADD(taken_by_any, n); ADD(t_seen[me], n); \
		t_top[me] = (n > t_top[me] -> n : t_top[me]); \
		t_seen[me] = t_seen[me] & ~OLDER(t_top[me], W); \
		arriving[me] = arriving[me] & ~(t_seen[me] | OLDER(t_top[me], W)) }

proctype Target(byte me)
{
end:	do
	EACH_NUMBER(ARRIVES)
	/* It hears of the new owner, and tells it its window. From then on it takes nothing of the former one. */
	:: d_step { taken && epoch_of[me] != 2 ->
		epoch_of[me] = 2;
		REFUSE_FORMER(me);
		CARRY(me);
		if
		:: !opened ->
			reported[me] = LIFE(me);
			r_seen = r_seen | t_seen[me] | BEHIND(t_top[me], W);
			r_top = (t_top[me] > r_top -> t_top[me] : r_top)
		:: else
		fi }
#if CRASHES > 0
	/* It crashes and comes back empty. What was under way to it is gone: a restart takes longer. */
	:: d_step { me == 0 && crashes < CRASHES ->
		crashes++;
		incarnation[me] = 2; epoch_of[me] = 0; t_seen[me] = 0; t_top[me] = 0; LOSE_ARRIVING(me) }
#endif
	od
}

/* ---- the backup, until it is the owner ---- */

#define RECORDS(n) \
	:: d_step { !taken && IN_SYNC && HAS(to_record, n) && !HAS(recorded, n) -> \
		ADD(recorded, n); ADD(b_seen, n); b_top = (n > b_top -> n : b_top) }

proctype Backup()
{
end:	do
	EACH_NUMBER(RECORDS)
#ifdef ONCE
	:: d_step { !taken && IN_SYNC && parcel == SENT ->
		b_seen = b_seen | s_seen;
		b_top = (s_top > b_top -> s_top : b_top);
		b_roster[0] = s_roster[0]; b_roster[1] = s_roster[1];
		parcel = HELD }
#endif
	:: d_step { !taken && IN_SYNC -> taken = true } /* else it closes the SA, and nothing more is accepted under epoch 2 */
	/* It knows all that was accepted. If it never does, the SA stays closed, and is replaced. */
	:: d_step { taken && !opened && ANSWERED(0) && ANSWERED(1) ->
		opened = true;
		top[2] = (b_top > r_top -> b_top : r_top);
		seen[2] = (b_seen | BEHIND(b_top, HALF) | r_seen) & ~OLDER(top[2], HALF);
		member[AT(2, 0)] = (epoch_of[0] == 2 -> incarnation[0] : 0);
		member[AT(2, 1)] = (epoch_of[1] == 2 -> incarnation[1] : 0);
		b_seen = 0; b_top = 0; b_roster[0] = 0; b_roster[1] = 0; r_seen = 0; r_top = 0; reported[0] = 0; reported[1] = 0;
		seen[1] = 0; ever[1] = 0; again[1] = 0; top[1] = 0; unpend(1, 255); refused_by[AT(1, 0)] = 0; refused_by[AT(1, 1)] = 0;
		parcel = (parcel == HELD -> HELD : NONE) }
	od
}

#if MOVES > 0
/* A connection ends, and another one takes its ports: at another target, or at the owner. */
proctype Flows()
{
end:	do
	:: d_step { moves < MOVES -> moves++; place[0] = 1 - place[0] }
	:: d_step { moves < MOVES && place[1] == 1 -> moves++; place[1] = OWNER }
	od
}
#endif

init {
	atomic {
		member[AT(1, 0)] = 1; member[AT(1, 1)] = 1;
		roster[0] = 1; roster[1] = 1;
		b_roster[0] = 1; b_roster[1] = 1;
		if
		:: place[1] = 1
		:: place[1] = OWNER
		fi;
		run Owner(1);
		run Owner(2);
		run Target(0);
		run Target(1);
		run Backup();
#if MOVES > 0
		run Flows()
#endif
	}
}
