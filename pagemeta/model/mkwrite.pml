/*
 * mkwrite.pml - pages between stores and the flusher.
 *
 * Two pages, two writers, a reader, a flusher and an evictor, as pagemeta and
 * flusher have them. Letters are those of (*pagemeta.Table).mkwrite.
 *
 *	writer 0    changes A, then B, in one operation      tree.restructure
 *	writer 1    changes B                                tree.Put that fits its leaf
 *	reader      touches B, without the gate              tree.Get
 *	flusher     makes rounds; the last when all is done  (*Flusher).flush
 *	evictor     evicts EVICTS pages, whichever are Clean (*Table).evict
 *
 * A is Clean at first, B is Absent, and with -DFRESH fresh too. For each page a writer
 * takes the way of Prepare or that of the trap.
 *
 * What must hold, by the name of the assertion:
 *
 *	no_lost_update      after the last round the file has what memory has
 *	applied_once        every operation was applied, and once
 *	no_torn_cut         the images of a round are the pages as they were when the
 *	                    gate was closed, and no operation is half in them
 *	no_trap_in_phase_2  what phase 1 made writable is writable in phase 2
 *	writable_is_dirty   a page whose lock is free is writable only if it is Dirty
 *	dirty_has_head      a Dirty page has a head, of no round, and no other page has it
 *	heads_given_back    after the last round no head is in use
 *	absent_is_missing   a page whose lock is free is in memory unless it is Absent
 *	never_panics        where the code panics: a move that State does not draw; and a
 *	                    load finds the page missing, or the kernel would refuse it
 *
 * and there is no deadlock. -DEFFECTS leaves all but the first three out, so that
 * what a broken variant shows is what it does to the data. Each variant is one
 * switch:
 *
 *	-DDROPLOCK     the lock is let go after B and taken again before D
 *	-DSTEPLOCK     the lock is taken for A, B, C and D one by one
 *	-DNOCAPTURE    mkwrite does not capture the image of a Frozen page
 *	-DWRITTENBLIND Written makes a page Clean that is Dirty again
 *	-DOPENGATE     the gate stays open during Freeze
 *	-DLATEPROTECT  the gate opens before the protection of the cut is complete
 *	-DMARKFIRST    Freeze marks the pages before it protects them, gate closed
 *	-DPLAINLOAD    a load installs the page, then protects it
 *	-DHEADKEPT     the head of a page for which there is no memory is not given back
 *	-DRESTART      a trap after the first store begins the operation again
 *	-DREADERDIRTY  a reader's trap runs mkwrite, outside the gate
 *	-DBARELOAD     a load installs the page without protection
 *	-DREADFIRST    a load reads the data file, then takes the lock
 *	-DAHEADISCUT   what is frozen ahead counts as captured into a cut
 *	-DCUTISAHEAD   what is of the cut counts as frozen ahead
 *	-DEVICTUNLOCKED eviction looks at the state, and takes no lock
 *	-DEVICTDIRTY   eviction takes Dirty pages too
 *	-DEVICTFLIGHT  eviction takes pages in Flight too
 *	-DEVICTLATE    eviction lets go of the lock before it drops the memory
 *	-DDROPFIRST    eviction drops the memory before the page is Absent
 *
 * MARKFIRST does nothing to the data: with the gate closed nobody stores. What must
 * not be is a gate that opens before the protection is complete, LATEPROTECT.
 *
 * DROPFIRST does nothing either: who traps in between finds no reason, and tries
 * again until the page is Absent; who wants to load or to change it waits for the
 * lock. That the state goes first spares the tries.
 *
 * DROPLOCK and STEPLOCK need two writers of one page: when the first has made it
 * writable and not yet Dirty, the second stores, and the flusher captures the page
 * as one that is still Frozen. That the page is in nobody's set in the end is ruled
 * out by the gate, in which both writers are: Freeze finds it Dirty.
 *
 * Not modelled: more than two pages; weak memory (steps are seen by all in one
 * order; the code has locks and atomics between them); latches and versions (a
 * change of a page in phase 2 is one step); key locks; credits; the wait queues of
 * page lock and gate (who waits wakes when it may go on); batches of evictions, heat
 * and the account of memory; errors of Unprotect and of the disk, after
 * which the store stops; the disk, which is in round.pml.
 */
#define A 0
#define B 1
#define NP 2            /* pages */
#ifndef EFFECTS
#define NH 4            /* heads: a page has two at most, the other in the round */
#else
#define NH 8            /* a broken variant loses some */
#endif

#ifndef OPS
#define OPS 2           /* operations of each writer, at most 3 */
#endif
#ifndef ROUNDS
#define ROUNDS 2        /* rounds beside the writers; one more is the last */
#endif
#ifndef EVICTS
#define EVICTS 0        /* pages that are evicted */
#endif
#ifndef AHEAD
#define AHEAD 0         /* pages that are frozen ahead of a cut */
#endif
#ifndef FAILS
#define FAILS 0         /* how often the owner's Mkwrite may fail */
#endif

/* States, as in word.go. */
#define ABSENT 0
#define CLEAN  1
#define DIRTY  2
#define FROZEN 3
#define FLIGHT 4

/* What the page table entry says. */
#define MISSING   0
#define PROTECTED 1
#define WRITABLE  2

#define NONE 7          /* no slot: the head is in no round */

/* A page's bytes are how many operations of each writer they have. */
#define PART(w, v) (w == 0 -> v & 3 : v >> 2)
#define STEP(w)    (w == 0 -> 1 : 4)

byte state[NP];         /* the Word: state, head and lock */
byte head[NP];
bool locked[NP];
bool dirty[NP];         /* Table.dirty: the bit by which Freeze finds the page */
byte pte[NP];           /* the kernel's */
byte mem[NP];           /* the page in the arena */
byte file[NP];          /* the page in the data file */

bool used[NH];          /* heads: attached */
byte slot[NH];          /* heads: place of the image in the running round */

byte inside = 0;        /* gate */
bool shut = false;

#ifdef FRESH
bool fresh[NP];         /* the Word: fresh */
#define ISFRESH(p) fresh[p]
#define AGED(p) fresh[p] = false
#else
#define ISFRESH(p) false
#define AGED(p) skip
#endif

bool frozen[NP];        /* Table.frozen: the page is of the next cut */
bool cutmade = false;   /* Table.cut: pages that are Frozen are of a cut */
byte aheads = AHEAD;

byte cut[NP], cuthead[NP], ncut = 0;    /* Flusher.frozen; a part of a freeze: its pages */
byte image[NP];                         /* journal.mem, by slot */

byte done[2];           /* operations of each writer that changed something */
byte ended = 0;         /* writers that have ended */
byte fails = FAILS;
byte was[NP];           /* for the check alone: the pages at the cut */

/* A page as whoever comes next sees it. */
#define PAGE(p) (state[p] == ABSENT -> file[p] : mem[p])

/* The names of the assertions. Hidden: they are no part of a state. */
hidden byte no_lost_update, applied_once, no_torn_cut, no_trap_in_phase_2;
hidden byte writable_is_dirty, dirty_has_head, heads_given_back, never_panics;
hidden byte absent_is_missing;
hidden byte q;

#define CHECK(name, what) atomic { name = (what); assert(name) }
#ifdef EFFECTS
#define PANIC_UNLESS(what) skip
#else
#define PANIC_UNLESS(what) CHECK(never_panics, what)
#endif

/* Table.lock and unlock. */
#define LOCK(p)   atomic { !locked[p] -> locked[p] = true }
#define UNLOCK(p) locked[p] = false

#ifdef STEPLOCK
#define BETWEEN(p) UNLOCK(p); LOCK(p)
#else
#define BETWEEN(p) skip
#endif

/* Whether a Frozen page is of a cut. */
#if defined(AHEADISCUT)
#define CUTMADE true
#elif defined(CUTISAHEAD)
#define CUTMADE false
#else
#define CUTMADE cutmade
#endif

/* heads.attach: any free head will do, so the first one. */
inline attach(h) {
	h = 0;
	do
	:: used[h] -> h++
	:: else -> break
	od;
	used[h] = true;
	slot[h] = NONE
}

/* What a load takes for the page in the data file. */
#ifdef READFIRST
#define IMAGE(p) was_read
#else
#define IMAGE(p) file[p]
#endif

/* Table.fetch: the locked, Absent page p comes into memory, protected by the call
 * that installs it (UFFDIO_COPY with MODE_WP). The kernel refuses one that is there. */
inline fetch(p) {
	PANIC_UNLESS(pte[p] == MISSING);
#if defined(BARELOAD)
	atomic { if :: pte[p] == MISSING -> mem[p] = IMAGE(p); pte[p] = WRITABLE :: else fi };
#elif defined(PLAINLOAD)
	atomic { mem[p] = IMAGE(p); pte[p] = WRITABLE };
	pte[p] = PROTECTED;
#else
	atomic { if :: pte[p] == MISSING -> mem[p] = IMAGE(p); pte[p] = PROTECTED :: else fi };
#endif
	state[p] = CLEAN
}

/* Table.loadPage. */
inline loadPage(p) {
#ifdef READFIRST
	was_read = file[p];
#endif
	LOCK(p);
	if
	:: state[p] == ABSENT -> fetch(p)
	:: else
	fi;
#ifdef READFIRST
	was_read = 0;
#endif
	UNLOCK(p)
}

/* Table.mkwrite. seen is the state at the look, h the new head; failed tells that
 * the owner had an error, or there was no memory for a fresh page: the page is as it
 * was. */
inline mkwrite(p) {
	LOCK(p);                                                /* A */
	if
	:: state[p] == DIRTY                                    /*   already */
	:: else ->
		if
		:: state[p] == ABSENT && !ISFRESH(p) ->
#ifdef READFIRST
			was_read = file[p];
#endif
			fetch(p)
		:: else
		fi;
		seen = state[p];
		BETWEEN(p);
		if
		:: atomic { fails > 0 -> fails--; failed = true } /* B fails */
		:: atomic {                                     /* B  Flusher.Mkwrite */
			true ->
#ifndef NOCAPTURE
			if
			:: seen == FROZEN && CUTMADE ->
				PANIC_UNLESS(slot[head[p]] < ncut);
				if
				:: slot[head[p]] < NP -> image[slot[head[p]]] = mem[p]
				:: else
				fi
			:: else
			fi;
#endif
			if
			:: seen == FROZEN && !CUTMADE -> h = head[p]
			:: else -> attach(h)
			fi
		   };
#ifdef DROPLOCK
		   UNLOCK(p);
#endif
		   BETWEEN(p);
		   if
		   :: seen != ABSENT -> pte[p] = WRITABLE       /* C  Unprotect */
		   :: else ->                                   /* C  install */
			if
			:: atomic { fails > 0 -> fails--; failed = true };
#ifndef HEADKEPT
			   used[h] = false                      /*    Flusher.Forget */
#endif
			:: atomic {
				PANIC_UNLESS(pte[p] == MISSING);
				mem[p] = 0;
				pte[p] = WRITABLE
			   }
			fi
		   fi;
#ifdef DROPLOCK
		   LOCK(p);
#endif
		   BETWEEN(p);
		   if
		   :: failed
		   :: else -> atomic {                          /* D  setDirty, move */
			PANIC_UNLESS(state[p] != DIRTY);
			dirty[p] = true;
			state[p] = DIRTY;
			AGED(p);
			head[p] = h
		      }
		   fi
		fi
	fi;
	atomic { seen = 0; h = 0; UNLOCK(p) }                   /* E */
}

/* Phase 1 for page p: Prepare or not, then Touch. trapped tells that there was a
 * trap, which is resolved: the operation begins again. */
inline ready(p) {
	trapped = false;
	if
	:: state[p] != DIRTY -> mkwrite(p)                      /* Prepare */
	:: skip                                                 /* Dirty, or TrapOnly */
	fi;
	if
	:: failed
	:: !failed && pte[p] == WRITABLE                        /* Touch */
	:: !failed && pte[p] != WRITABLE ->                     /* a trap: Resolve(ToWrite) */
		trapped = true;
		if
		:: state[p] == ABSENT -> loadPage(p)
		:: else -> mkwrite(p)
		fi
	fi
}

/* Phase 2 for page p. */
inline store(p) {
	atomic {
#ifdef EFFECTS
		pte[p] == WRITABLE;     /* or the process panics, and that is its end */
#else
		CHECK(no_trap_in_phase_2, pte[p] == WRITABLE);
#endif
		mem[p] = mem[p] + STEP(w)
	}
}

/* gate.enter: counts itself, then looks. */
inline enter() {
	do
	:: inside++;
	   if
	   :: !shut -> break
	   :: else -> inside--; !shut
	   fi
	od
}

proctype writer(byte w) {
	byte ops = 0, seen = 0, h = 0;
#ifdef READFIRST
	byte was_read = 0;
#endif
	bool trapped = false, failed = false;

	do
	:: ops < OPS ->
		enter();                                        /* Flusher.Begin */
		do                                              /* the boundary: tryChange */
#ifdef RESTART
		:: ready(A);                                    /* only for writer 0 */
		   if
		   :: trapped || failed
		   :: else ->
			store(A);
			ready(B);
			if
			:: trapped || failed
			:: else -> store(B); break
			fi
		   fi;
		   if
		   :: failed -> break
		   :: else
		   fi
#else
		:: if
		   :: w == 0 -> ready(A)
		   :: else -> trapped = false
		   fi;
		   if
		   :: trapped || failed
		   :: else -> ready(B)
		   fi;
		   if
		   :: failed -> break
		   :: trapped && !failed                        /* again */
		   :: else ->
			if
			:: w == 0 -> store(A)                   /* Commit: phase 2 */
			:: else
			fi;
			store(B);
			break
		   fi
#endif
		od;
		atomic {                                        /* Flusher.End */
			if
			:: failed
			:: else -> done[w]++
			fi;
			trapped = false;
			failed = false;
			ops++;
			inside--
		}
	:: else -> break
	od;
	ended++
}

proctype reader() {
	byte seen = 0, h = 0;
#ifdef READFIRST
	byte was_read = 0;
#endif
	bool failed = false;
	do
	:: pte[B] != MISSING -> break                           /* it reads */
	:: else ->                                              /* a trap: Resolve(ToRead) */
		if
		:: state[B] == ABSENT -> loadPage(B)
#ifdef READERDIRTY
		:: state[B] != ABSENT -> mkwrite(B)
#else
		:: state[B] != ABSENT                           /* somebody loaded it */
#endif
		fi
	od
}

#if EVICTS > 0
/* Table.choose takes a page and its lock in one step, or passes it by. */
#if defined(EVICTDIRTY)
#define EVICTABLE(p) (state[p] == CLEAN || state[p] == DIRTY)
#elif defined(EVICTFLIGHT)
#define EVICTABLE(p) (state[p] == CLEAN || state[p] == FLIGHT)
#else
#define EVICTABLE(p) (state[p] == CLEAN)
#endif
#ifdef EVICTUNLOCKED
#define CHOOSE(p) atomic { EVICTABLE(p) -> v = p }
#define RELEASE(p) skip
#else
#define CHOOSE(p) atomic { !locked[p] && EVICTABLE(p) -> v = p; locked[p] = true }
#define RELEASE(p) UNLOCK(p)
#endif

proctype evictor() {
	byte v = 0, n = 0;
end:	do
	:: n < EVICTS ->
		if
		:: CHOOSE(A)
		:: CHOOSE(B)
		fi;
#ifdef DROPFIRST
		pte[v] = MISSING;
		state[v] = ABSENT;
#else
		atomic { state[v] = ABSENT; head[v] = 0 };
#ifdef EVICTLATE
		RELEASE(v);
#endif
		atomic { pte[v] = MISSING; mem[v] = 0 };
#endif
#ifndef EVICTLATE
		RELEASE(v);
#endif
		atomic { n++; v = 0 }
	:: else -> break
	od
}
#endif

/* Table.Freeze, in three loops. */
inline collect() {
	atomic {
		ncut = 0;
		q = 0;
		do
		:: q < NP ->
			if
			:: dirty[q] -> cut[ncut] = q; ncut++
			:: else
			fi;
			q++
		:: else -> break
		od
	}
}
inline protect() {      /* a range is protected page by page */
	i = 0;
	do
	:: i < ncut -> atomic { pte[cut[i]] = PROTECTED; i++ }
	:: else -> break
	od
}
inline mark() {         /* Table.freeze, then the dirty bits */
	i = 0;
	do
	:: i < ncut ->
		atomic {
			!locked[cut[i]] ->
			PANIC_UNLESS(state[cut[i]] == DIRTY);
			state[cut[i]] = FROZEN;
			i++
		}
	:: else -> break
	od;
	atomic {
		q = 0;
		do
		:: q < ncut -> dirty[cut[q]] = false; frozen[cut[q]] = true; q++
		:: else -> break
		od
	}
}
inline makeCut() {      /* of all that are frozen; then heads.enlist */
	atomic {
		ncut = 0;
		q = 0;
		do
		:: q < NP ->
			if
			:: frozen[q] ->
				cut[ncut] = q;
				cuthead[ncut] = head[q];
				slot[head[q]] = ncut;
				ncut++;
				frozen[q] = false
			:: else
			fi;
			q++
		:: else -> break
		od;
		cutmade = true
	}
}

#if AHEAD > 0
/* Table.FreezeAhead of one page. */
inline freezeAhead(p) {
	shut = true;
	inside == 0;
	atomic { cutmade = false; ncut = 0 };
	if
	:: atomic { dirty[p] -> cut[0] = p; ncut = 1 }
	:: else
	fi;
	protect();
	mark();
	atomic { shut = false; ncut = 0; cut[0] = 0; i = 0 }
}
#endif

/* Flusher.freeze: the gate is closed, the cut is made, the gate is opened. */
inline freeze() {
#ifndef OPENGATE
	shut = true;                                            /* gate.close */
	inside == 0;
#endif
	atomic {
		q = 0;
		do
		:: q < NP -> was[q] = PAGE(q); q++
		:: else -> break
		od
	};
	cutmade = false;
	collect();
#if defined(MARKFIRST)
	mark();
	protect();
#elif defined(LATEPROTECT)
	mark();
#else
	protect();
	mark();
#endif
	makeCut();
	shut = false;                                           /* gate.open */
#ifdef LATEPROTECT
	protect();
#endif
	i = 0
}

/* Flusher.flush. The log, and what a crash leaves, are in round.pml. */
inline round() {
	freeze();
	do                                                      /* writeJournal: Capture */
	:: i < ncut ->
		LOCK(cut[i]);
		if
		:: state[cut[i]] == FROZEN ->
			atomic { image[i] = mem[cut[i]]; state[cut[i]] = FLIGHT }
		:: else                                         /* mkwrite has captured */
		fi;
		atomic { UNLOCK(cut[i]); i++ }
	:: else -> break
	od;
	atomic {
		q = 0;
		do
		:: q < ncut ->
			CHECK(no_torn_cut, image[q] == was[cut[q]]);
			file[cut[q]] = image[q];                /* writeBack */
			q++
		:: else -> break
		od;
		CHECK(no_lost_update, file[A] == was[A] && file[B] == was[B]);
		CHECK(no_torn_cut, PART(0, file[A]) == PART(0, file[B]));
		i = 0
	};
	do                                                      /* Written */
	:: i < ncut ->
		LOCK(cut[i]);
		atomic {
#ifndef WRITTENBLIND
			if
			:: state[cut[i]] == DIRTY
			:: else ->
				PANIC_UNLESS(state[cut[i]] == FLIGHT);
#endif
				state[cut[i]] = CLEAN;
				head[cut[i]] = 0;
#ifndef WRITTENBLIND
			fi;
#endif
			UNLOCK(cut[i]);
			i++
		}
	:: else -> break
	od;
	atomic {                                                /* heads.release */
		q = 0;
		do
		:: q < ncut -> used[cuthead[q]] = false; slot[cuthead[q]] = 0; q++
		:: else -> break
		od;
		/* what follows changes nothing: old values would make more states */
		cut[0] = 0; cut[1] = 0;
		cuthead[0] = 0; cuthead[1] = 0;
		image[0] = 0; image[1] = 0;
		was[0] = 0; was[1] = 0;
		ncut = 0;
		i = 0
	}
}

proctype flusher() {
	byte i = 0, rounds = 0;
	do
	:: rounds < ROUNDS -> round(); rounds++
#if AHEAD > 0
	:: atomic { aheads > 0 -> aheads-- }; freezeAhead(A)
	:: atomic { aheads > 0 -> aheads-- }; freezeAhead(B)
#endif
	:: ended == 2 -> break
	od;
	rounds = 0;
	round();
	atomic {
		applied_once = (PAGE(A) == done[0] && PAGE(B) == done[0] + 4 * done[1]);
		assert(applied_once);
		no_lost_update = (state[A] == ABSENT || file[A] == mem[A]) &&
			(state[B] == ABSENT || file[B] == mem[B]);
		assert(no_lost_update);
#ifndef EFFECTS
		heads_given_back = !used[0] && !used[1] && !used[2] && !used[3];
		assert(heads_given_back)
#endif
	}
}

#ifndef EFFECTS
/* The invariants. The process waits, everywhere, for one to be broken. */
#define ASTRAY(p)   (!locked[p] && (pte[p] == MISSING) != (state[p] == ABSENT))
#define STRAY(p)    (!locked[p] && pte[p] == WRITABLE && state[p] != DIRTY)
#define HEADLESS(p) (!locked[p] && state[p] == DIRTY && (!used[head[p]] || !shut && slot[head[p]] != NONE))
active proctype invariants() {
end:	if
	:: atomic { STRAY(A) || STRAY(B) -> CHECK(writable_is_dirty, false) }
	:: atomic { HEADLESS(A) || HEADLESS(B) || (state[A] == DIRTY && state[B] == DIRTY && head[A] == head[B]) ->
		CHECK(dirty_has_head, false) }
	:: atomic { ASTRAY(A) || ASTRAY(B) -> CHECK(absent_is_missing, false) }
	fi
}
#endif

init {
	atomic {
		state[A] = CLEAN;
		pte[A] = PROTECTED;
#ifdef FRESH
		fresh[B] = true;
#endif
		run writer(0);
		run writer(1);
		run reader();
#if EVICTS > 0
		run evictor();
#endif
		run flusher()
	}
}
