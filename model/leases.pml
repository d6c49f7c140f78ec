/* SPDX-License-Identifier: Apache-2.0
 *
 * Sequence leases: src/sequence/{sequencer,lessee}, src/node/ceilings. What this proves, and how: docs/proof.md.
 *
 * One SA; one owner, or two (the first goes on after the second has begun, as one does that was paused); two hosts that
 * send, of which the first may crash and come back. A message that was sent lies in a set, and may be received at any
 * time, any number of times, or never: that is loss, delay, repetition and reordering in one. Only receipts that change
 * something are steps. Time is no number here. What deadlines are for is said as what does not come before what:
 *
 *   - A lease ends by its deadline at the sequencer only when its holder has stopped using it, or will find it too old on
 *     arrival: the holder counts from its request, the sequencer from the grant, so the holder's time ends first.
 *   - A lease leaves the span, returned or not, only when what was sent with it has arrived: the skew guard.
 *
 * Runs, of which tools/run_model.py knows all, with their constants:
 *   SAFETY_UNIQUE  two owners. No number is granted or sent twice, none is sent that the coupling facility does not hold
 *                  as reserved
 *   SAFETY_WINDOW  one owner. The numbers that may still be sent or are on their way are one host's, or span no more than
 *                  the window; none arrives that a receiver with that window refuses
 *   LIVENESS       one owner; messages are really lost, LOSSES of them. Every run ends, and at its end nobody waits: who
 *                  asked has numbers, or has heard that there are none
 * BREAK_… takes one rule away each. SPIN must refute every one of them.
 */
#ifndef NUMBERS
#define NUMBERS 5 /* 1 … NUMBERS, at most 6; after them the SA is exhausted */
#endif
#ifndef STEP
#define STEP 2 /* numbers reserved at a time */
#endif
#ifndef W
#define W 2 /* the peer's replay window, less the margin */
#endif
#ifndef IDS
#define IDS 2 /* requests that a lessee makes in one life, at most 4 */
#endif
#ifndef IDS_SECOND
#define IDS_SECOND IDS /* of the second host's */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef LOSSES
#define LOSSES 2
#endif

/* Sets of small numbers are bits. */
#define HAS(set, n) (((set) >> (n)) & 1)
#define ADD(set, n) set = set | (1 << (n))
#define DEL(set, n) set = set & ~(1 << (n))
#define BELOW(n) ((1 << (n)) - 1)

/* Lessees: 0 on the first host, 1 on the second, 2 on the first after its crash: another incarnation. */
#define HOST(i) ((i) & 1)
#define LEASE(i, id) ((i) * IDS + (id)) /* a lease, and its grant, by lessee and request; from 1 on */
#define AT(e, i) (((e) - 1) * 3 + (i))

/* ---- the coupling facility ---- */
byte cf_epoch = 1, cf_ceiling;

/* ---- what was granted and sent ---- */
byte numbers_of[3 * IDS + 1]; /* by lease: its numbers, as the grant says them */
byte own[3];                  /* by lessee: all of them */
byte granted, sent;
byte second_first; /* first number of the second owner; 0: there is none yet */
byte air, newest;  /* sent and not arrived; the highest that has arrived */
#define EPOCH_OF(numbers) (second_first != 0 && (numbers) >= (1 << second_first) -> 2 : 1)

/* ---- messages that were sent, by id ---- */
byte requests[6]; /* kLeaseRequest, by AT(epoch, lessee) */
byte grants[3];   /* kLeaseGrant with numbers */
byte nothing[3];  /* kLeaseGrant without: exhausted */
byte recalls[3];  /* kLeaseRecall */
byte returns[3];  /* kLeaseReturn, alone or on a request */

/* ---- the sequencers, by epoch ---- */
byte next[3], ceiling[3];
byte live[3];    /* numbers of leases that have not ended */
byte returned;   /* of these: given back, in their skew guard */
byte known[6];   /* newest request seen, by AT(epoch, lessee) */
byte waiting[3]; /* lessees */

/* ---- the lessees ---- */
byte alive = 3;      /* lessees */
byte epoch_of[3] = 1;
byte ids[3];         /* requests made */
byte request[3];     /* the one that is out; 0: none */
byte lease_a[3], lease_b[3];   /* the one in use and the next: id of its request; 0: none */
byte next_a[3], next_b[3];     /* number to be taken */
byte highest[3];     /* ever granted to it */
byte exhausted;      /* lessees */
byte needy;          /* lessees whose packets wait */

byte losses;
hidden byte k, m, low, high;

#define USES(i, id) (HAS(alive, i) && (lease_a[i] == id || lease_b[i] == id))

#if IDS == 2
#define EACH_REQUEST(X, i) X(i, 1) X(i, 2)
#elif IDS == 3
#define EACH_REQUEST(X, i) X(i, 1) X(i, 2) X(i, 3)
#else
#define EACH_REQUEST(X, i) X(i, 1) X(i, 2) X(i, 3) X(i, 4)
#endif
#define EACH_LEASE(X) EACH_REQUEST(X, 0) EACH_REQUEST(X, 1) EACH_REQUEST(X, 2)

/* ---- the rules, and what breaks them ---- */

#ifdef BREAK_CEILING /* grants run ahead of what is reserved */
#define WITHIN_CEILING(e, last) (last <= NUMBERS)
#else
#define WITHIN_CEILING(e, last) (last <= ceiling[e])
#endif
#ifdef BREAK_FENCE /* the coupling facility does not compare the epoch */
#define FENCED(e) true
#else
#define FENCED(e) (cf_epoch == e)
#endif
#ifdef BREAK_TAKEOVER /* "the last that is reserved will not have been granted" */
#define FIRST_OF_NEXT (cf_ceiling == 0 -> 1 : cf_ceiling)
#else
#define FIRST_OF_NEXT (cf_ceiling + 1)
#endif
#ifdef BREAK_INCARNATION /* a worker that was started again takes the grants to its former life */
#define TAKE_FORMER_GRANT(i) \
	:: d_step { i == 2 && HAS(alive, 2) && request[2] != 0 && lease_b[2] == 0 && HAS(grants[0], request[2]) && !HAS(grants[2], request[2]) && \
		EPOCH_OF(numbers_of[LEASE(0, request[2])]) == epoch_of[2] -> \
		numbers_of[LEASE(2, request[2])] = numbers_of[LEASE(0, request[2])]; take_grant(2, LEASE(2, request[2])) }
#else
#define TAKE_FORMER_GRANT(i)
#endif
#ifdef BREAK_SECOND_GRANT /* grants are taken that do not answer the request that is out */
#define ANSWERS(i, id) (request[i] == 0 && ids[i] >= id && lease_a[i] != id)
#define RISES(i) true
#define TOO_OLD(lease) false
#else
#define ANSWERS(i, id) (request[i] == id)
#define RISES(i) (low > highest[i])
#ifdef SAFETY_UNIQUE
#define TOO_OLD(lease) false
#else
#define TOO_OLD(lease) ((live[1] & numbers_of[lease]) == 0)
#endif
#endif
#ifdef BREAK_SPAN /* shared mode without a bound */
#define SPAN_ALLOWS(e, top) true
#elif defined(SAFETY_UNIQUE) /* uniqueness does not stand on the modes: any grant, at any time */
#define SPAN_ALLOWS(e, top) true
#else
#define SPAN_ALLOWS(e, top) (top <= W || (live[e] & BELOW(top <= W -> 0 : top - W + 1)) == 0)
#endif
#ifdef BREAK_EXCLUSIVE /* exclusive mode does not wait for others' leases */
#define EXCLUSIVE_ALLOWS(e, i) true
#elif defined(SAFETY_UNIQUE)
#define EXCLUSIVE_ALLOWS(e, i) true
#else
#define EXCLUSIVE_ALLOWS(e, i) ((live[e] & ~own[i]) == 0)
#endif
#ifdef BREAK_RECALL /* the holder answers a recall and goes on */
#define RECALLABLE(i, id) !HAS(returns[i], id)
#define STOP_A(i) skip
#define STOP_B(i) skip
#else
#define RECALLABLE(i, id) true
#define STOP_A(i) next_becomes_first(i)
#define STOP_B(i) lease_b[i] = 0; next_b[i] = 0
#endif
#ifdef BREAK_GUARD /* a lease that was returned leaves the span at once */
#define GUARD_IS_OVER(numbers) true
#else
#define GUARD_IS_OVER(numbers) ((air & numbers) == 0)
#endif
#ifdef BREAK_DEADLINE /* the sequencer's deadline comes before the holder's */
#define HOLDER_HAS_STOPPED(i, id) true
#else
#define HOLDER_HAS_STOPPED(i, id) !USES(i, id)
#endif
#ifdef BREAK_EXPIRY /* what is not returned never ends */
#define EXPIRY false
#else
#define EXPIRY true
#endif
#ifdef BREAK_REPETITION /* requests are sent once */
#define REPEATS false
#else
#define REPEATS true
#endif

#ifdef LIVENESS
#define NEED(i) ADD(needy, i)
/* Each host has packets once in each life; who got numbers too late, or none, asks again. */
#define ASKS(i) (ids[i] == 0 || (HAS(needy, i) && lease_a[i] == 0))
#define SENDS(i) HAS(needy, i)
/* Who has packets sends one before its deadline, and before it obeys a recall: both come a millisecond or more later. */
#define STOPS(i) !HAS(needy, i)
/* The answer will not come: the lease is over that it would speak of. */
#define GIVES_UP(i) (known[AT(1, i)] == request[i] && !HAS(waiting[1], i) && !HAS(nothing[i], request[i]) && \
	(live[1] & ~returned & numbers_of[LEASE(i, request[i])]) == 0)
#define ID_LEFT(i) true
#define CHECK_ID_LEFT(i) assert(ids[i] < IDS);
/* Nothing is late: a grant that is on its way arrives before its deadline. One that was lost does not. */
#define ON_TIME(i, id) !(HAS(alive, i) && request[i] == id && HAS(grants[i], id))
#else
#define NEED(i) skip
#define ASKS(i) true
#define SENDS(i) true
#define STOPS(i) true
#define GIVES_UP(i) true
#define ID_LEFT(i) (ids[i] < (i == 1 -> IDS_SECOND : IDS))
#define CHECK_ID_LEFT(i)
#define ON_TIME(i, id) true
#endif

/* low, high: the lowest and highest of a set that is not empty. */
inline bounds(set)
{
	low = 1;
	do
	:: !HAS(set, low) -> low++
	:: else -> break
	od;
	high = NUMBERS;
	do
	:: !HAS(set, high) -> high--
	:: else -> break
	od
}

/* ---- a lessee ---- */

inline forget_leases(i)
{
	request[i] = 0; lease_a[i] = 0; lease_b[i] = 0; next_a[i] = 0; next_b[i] = 0; DEL(exhausted, i)
}

/* What cannot matter any more is forgotten, so that states are the same that do not differ in what may follow. A number
 * that is skipped counts as sent: it must not come again either. */
inline over(i, id)
{
#if defined(SAFETY_UNIQUE) && !defined(BREAK_SECOND_GRANT) && !defined(BREAK_INCARNATION)
	if
	:: id != 0 -> sent = sent | numbers_of[LEASE(i, id)]; DEL(grants[i], id); numbers_of[LEASE(i, id)] = 0
	:: else
	fi
#elif defined(SAFETY_UNIQUE)
	skip
#else
	ADD(returns[i], id)
#endif
}

inline next_becomes_first(i)
{
	lease_a[i] = lease_b[i]; next_a[i] = next_b[i]; lease_b[i] = 0; next_b[i] = 0
}

inline new_request(i)
{
#ifdef SAFETY_UNIQUE
	over(i, request[i]);
#endif
	ids[i]++;
	request[i] = ids[i];
	ADD(requests[AT(epoch_of[i], i)], ids[i]);
	NEED(i)
}

/* A grant that comes too late is not used: it is given back at once. */
inline take_grant(i, lease)
{
	bounds(numbers_of[lease]);
	if
	:: !RISES(i)
	:: else ->
		highest[i] = high;
		if
		:: TOO_OLD(lease) -> over(i, lease - i * IDS)
		:: else ->
			if
			:: lease_a[i] == 0 -> lease_a[i] = lease - i * IDS; next_a[i] = low
			:: else -> lease_b[i] = lease - i * IDS; next_b[i] = low
			fi
		fi
	fi;
	request[i] = 0 /* the last step: it names the lease */
}

/* With its last number, a lease is given back. */
inline send(i)
{
	low = next_a[i];
	assert(!HAS(sent, low));
	assert(low <= cf_ceiling);
#ifdef SAFETY_WINDOW
	ADD(air, low);
#else
	ADD(sent, low);
#endif
	DEL(needy, i);
	next_a[i]++;
	if
	:: (numbers_of[LEASE(i, lease_a[i])] & ~BELOW(next_a[i])) == 0 -> over(i, lease_a[i]); next_becomes_first(i)
	:: else
	fi
}

#ifdef BREAK_SECOND_GRANT
#define TAKE_OTHER_GRANT(i, id) \
	:: d_step { HAS(alive, i) && HAS(grants[i], id) && lease_b[i] == 0 && epoch_of[i] == EPOCH_OF(numbers_of[LEASE(i, id)]) && \
		ANSWERS(i, id) -> take_grant(i, LEASE(i, id)) }
#else
#define TAKE_OTHER_GRANT(i, id)
#endif

/* on_recall(): of what was never taken, for the request that is out or a former one. */
#define RECALL_OF_NOTHING(i, id) \
	:: d_step { HAS(alive, i) && HAS(recalls[i], id) && lease_a[i] != id && lease_b[i] != id && !HAS(returns[i], id) -> \
		ADD(returns[i], id); request[i] = (request[i] == id -> 0 : request[i]) }

inline crash()
{
#ifdef SAFETY_UNIQUE
	over(0, lease_a[0]); over(0, lease_b[0]); over(0, request[0]);
#endif
	DEL(alive, 0); ADD(alive, 2); DEL(needy, 0); highest[0] = 0;
	forget_leases(0)
}

proctype Lessee(byte me)
{
end:	do
	/* request_due(): packets wait, or will soon. */
	:: d_step { HAS(alive, me) && request[me] == 0 && lease_b[me] == 0 && !HAS(exhausted, me) && ASKS(me) && ID_LEFT(me) ->
		CHECK_ID_LEFT(me) new_request(me) }
	/* It has grown too old: a new one in its place. */
	:: d_step { HAS(alive, me) && request[me] != 0 && GIVES_UP(me) && ID_LEFT(me) -> CHECK_ID_LEFT(me) new_request(me) }
#ifdef LIVENESS
	/* The same again. */
	:: d_step { HAS(alive, me) && request[me] != 0 && !HAS(requests[AT(1, me)], request[me]) && REPEATS ->
		ADD(requests[AT(1, me)], request[me]) }
#endif
	/* on_grant() */
	:: d_step { HAS(alive, me) && request[me] != 0 && lease_b[me] == 0 && HAS(grants[me], request[me]) &&
		EPOCH_OF(numbers_of[LEASE(me, request[me])]) == epoch_of[me] -> take_grant(me, LEASE(me, request[me])) }
	TAKE_FORMER_GRANT(me)
	EACH_REQUEST(TAKE_OTHER_GRANT, me)
	:: d_step { HAS(alive, me) && request[me] != 0 && HAS(nothing[me], request[me]) ->
		request[me] = 0; ADD(exhausted, me); DEL(needy, me) }
#ifndef SAFETY_UNIQUE
	/* on_recall() */
	:: d_step { HAS(alive, me) && lease_a[me] != 0 && HAS(recalls[me], lease_a[me]) && RECALLABLE(me, lease_a[me]) && STOPS(me) ->
		over(me, lease_a[me]); STOP_A(me) }
	:: d_step { HAS(alive, me) && lease_b[me] != 0 && HAS(recalls[me], lease_b[me]) && RECALLABLE(me, lease_b[me]) && STOPS(me) ->
		over(me, lease_b[me]); STOP_B(me) }
	EACH_REQUEST(RECALL_OF_NOTHING, me)
#endif
	/* take(), still_valid(), the send call, sent(): one turn of the worker. */
	:: d_step { HAS(alive, me) && lease_a[me] != 0 && SENDS(me) -> send(me) }
	/* settle(): its deadline has passed here, or it is shared and not needed. */
	:: d_step { HAS(alive, me) && lease_a[me] != 0 && STOPS(me) -> over(me, lease_a[me]); next_becomes_first(me) }
	:: d_step { HAS(alive, me) && lease_b[me] != 0 && STOPS(me) -> over(me, lease_b[me]); lease_b[me] = 0; next_b[me] = 0 }
#ifdef SAFETY_UNIQUE
	/* set_owner() */
	:: d_step { HAS(alive, me) && cf_epoch == 2 && epoch_of[me] == 1 -> epoch_of[me] = 2; forget_leases(me) }
#endif
#if CRASHES > 0
	/* It crashes, and comes back as another one. */
	:: d_step { me == 0 && HAS(alive, 0) -> crash() }
#endif
	od
}

/* ---- an owner's sequencer ---- */

/* on_request(). The return that may ride on it is a step of its own. */
#define REQUESTED(i, id) \
	:: d_step { HAS(requests[AT(me, i)], id) && id > known[AT(me, i)] -> known[AT(me, i)] = id; ADD(waiting[me], i) }

/* grant(). Who waits longest, which mode it is and how many it gets the code finds out by time: here it may be any. */
#define GRANT(i, count) \
	:: d_step { HAS(waiting[me], i) && WITHIN_CEILING(me, next[me] + count - 1) && next[me] + count - 1 <= NUMBERS && \
		(SPAN_ALLOWS(me, next[me] + count - 1) || EXCLUSIVE_ALLOWS(me, i)) -> grant(i, known[AT(me, i)], count) }

/* serve(): no number is left. */
#define EXHAUSTED(i) \
	:: d_step { HAS(waiting[me], i) && next[me] > NUMBERS -> DEL(waiting[me], i); ADD(nothing[i], known[AT(me, i)]) }

/* recall_blocking() */
#define RECALL(i, id) \
	:: d_step { waiting[me] != 0 && next[me] <= ceiling[me] && !HAS(recalls[i], id) && \
		(live[me] & ~returned & numbers_of[LEASE(i, id)]) != 0 -> ADD(recalls[i], id) }

/* on_return() */
#define RETURNED(i, id) \
	:: d_step { HAS(returns[i], id) && (live[me] & ~returned & numbers_of[LEASE(i, id)]) != 0 -> \
		returned = returned | numbers_of[LEASE(i, id)] }

/* forget_ended(): after its return and the skew guard, or by its deadline. */
#define ENDED(i, id) \
	:: d_step { (live[me] & returned & numbers_of[LEASE(i, id)]) != 0 && GUARD_IS_OVER(numbers_of[LEASE(i, id)]) -> \
		end_lease(i, id, LEASE(i, id)) } \
	:: d_step { (live[me] & ~returned & numbers_of[LEASE(i, id)]) != 0 && HOLDER_HAS_STOPPED(i, id) && EXPIRY && ON_TIME(i, id) && \
		(air & numbers_of[LEASE(i, id)]) == 0 -> end_lease(i, id, LEASE(i, id)) }

inline end_lease(i, id, lease)
{
	live[me] = live[me] & ~numbers_of[lease];
	returned = returned & ~numbers_of[lease];
#ifdef SAFETY_WINDOW
	own[0] = own[0] & (live[me] | air); own[1] = own[1] & (live[me] | air); own[2] = own[2] & (live[me] | air);
	DEL(returns[i], id); DEL(recalls[i], id);
	numbers_of[lease] = (request[i] == id -> numbers_of[lease] : 0)
#endif
}

inline grant(i, id, count)
{
	m = BELOW(next[me] + count) & ~BELOW(next[me]);
	assert((granted & m) == 0);
	granted = granted | m;
	own[i] = own[i] | m;
	numbers_of[LEASE(i, id)] = m;
#ifndef SAFETY_UNIQUE
	live[me] = live[me] | m;
#endif
	ADD(grants[i], id);
	DEL(waiting[me], i);
	next[me] = next[me] + count;
#ifdef SAFETY_WINDOW
	check_span();
#endif
#ifdef SAFETY_UNIQUE
	if
	:: request[i] != id -> over(i, id) /* it waits for another one by now */
	:: else
	fi;
#endif
	m = 0
}

/* Numbers that may still be sent: in use, or granted and not too old when the grant arrives. */
#define MAY_SEND(i, id) \
	if \
	:: HAS(alive, i) && request[i] == id && (live[1] & numbers_of[LEASE(i, id)]) != 0 -> \
		m = m | numbers_of[LEASE(i, id)]; ADD(k, HOST(i)) \
	:: HAS(alive, i) && lease_a[i] == id -> m = m | (numbers_of[LEASE(i, id)] & ~BELOW(next_a[i])); ADD(k, HOST(i)) \
	:: HAS(alive, i) && lease_b[i] == id -> m = m | (numbers_of[LEASE(i, id)] & ~BELOW(next_b[i])); ADD(k, HOST(i)) \
	:: else \
	fi;

inline check_span()
{
	m = air;
	k = ((air & own[1]) != 0 -> 2 : 0) | ((air & ~own[1]) != 0 -> 1 : 0); /* hosts */
	EACH_LEASE(MAY_SEND)
	if
	:: m != 0 -> bounds(m); assert(k != 3 || high - low < W)
	:: else
	fi
}

#ifdef LIVENESS
/* on_repetition(): the same answer again, while the lease lives. */
#define REPEATED(i, id) \
	:: d_step { HAS(requests[AT(me, i)], id) && id == known[AT(me, i)] && !HAS(waiting[me], i) && request[i] == id && !HAS(grants[i], id) && \
		(live[me] & ~returned & numbers_of[LEASE(i, id)]) != 0 -> ADD(grants[i], id) } \
	:: d_step { HAS(requests[AT(me, i)], id) && id == known[AT(me, i)] && !HAS(waiting[me], i) && request[i] == id && !HAS(nothing[i], id) && \
		next[me] > NUMBERS -> ADD(nothing[i], id) }
#endif

proctype Sequencer(byte me)
{
	cf_epoch == me;
	d_step {
		next[me] = FIRST_OF_NEXT;
		ceiling[me] = cf_ceiling;
		second_first = (me == 2 -> next[me] : 0)
	}
end:	do
	EACH_LEASE(REQUESTED)
#ifdef LIVENESS
	EACH_LEASE(REPEATED)
#endif
	GRANT(0, 1) GRANT(0, 2) GRANT(1, 1) GRANT(1, 2) GRANT(2, 1) GRANT(2, 2)
	EXHAUSTED(0) EXHAUSTED(1) EXHAUSTED(2)
#ifndef SAFETY_UNIQUE
	EACH_LEASE(RECALL)
	EACH_LEASE(RETURNED)
	EACH_LEASE(ENDED)
#endif
	/* Ceilings::write() */
	:: d_step { ceiling[me] < NUMBERS && next[me] > ceiling[me] && FENCED(me) ->
		cf_ceiling = (cf_ceiling + STEP < NUMBERS -> cf_ceiling + STEP : NUMBERS); ceiling[me] = cf_ceiling }
	od
}

/* ---- around them ---- */

#ifdef SAFETY_UNIQUE
proctype Takeover()
{
	d_step { next[1] != 0 -> cf_epoch = 2 }
}
#endif

#ifdef SAFETY_WINDOW
/* Packets arrive at the receiver in any order, except that one host's stay in theirs. */
#define ARRIVES(n) \
	:: d_step { HAS(air, n) && (air & BELOW(n) & (HAS(own[1], n) -> own[1] : ~own[1])) == 0 -> \
		assert(n + W > newest); \
		DEL(air, n); \
		newest = (n > newest -> n : newest) }

proctype Path()
{
end:	do
	ARRIVES(1) ARRIVES(2) ARRIVES(3) ARRIVES(4)
#if NUMBERS > 4
	ARRIVES(5)
#endif
#if NUMBERS > 5
	ARRIVES(6)
#endif
	od
}
#endif

#ifdef LIVENESS
#define LOST(i, id) \
	:: d_step { losses < LOSSES && HAS(requests[AT(1, i)], id) -> DEL(requests[AT(1, i)], id); losses++ } \
	:: d_step { losses < LOSSES && HAS(grants[i], id) && request[i] == id -> DEL(grants[i], id); losses++ } \
	:: d_step { losses < LOSSES && HAS(nothing[i], id) && request[i] == id -> DEL(nothing[i], id); losses++ } \
	:: d_step { losses < LOSSES && HAS(returns[i], id) && (live[1] & numbers_of[LEASE(i, id)]) != 0 -> DEL(returns[i], id); losses++ }

proctype Losses()
{
end:	do
	EACH_LEASE(LOST)
	od
}

/* The run is at its end. */
proctype Answered()
{
end:	do
	:: timeout -> assert((needy & alive) == 0); break
	od
}
#endif

init {
	atomic {
		run Lessee(0);
		run Lessee(1);
#if CRASHES > 0
		run Lessee(2);
#endif
		run Sequencer(1);
#ifdef SAFETY_UNIQUE
		run Sequencer(2);
		run Takeover()
#endif
#ifdef SAFETY_WINDOW
		run Path()
#endif
#ifdef LIVENESS
		run Losses();
		run Answered()
#endif
	}
}
