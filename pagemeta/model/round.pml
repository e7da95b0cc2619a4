/*
 * round.pml - what a crash leaves, and what recovery makes of it.
 *
 * A store of two pages: page 0, the superblock, has the LSN of the cut, and page 1
 * has the contents. An operation changes page 1 and appends a record to the log,
 * inside the gate: one step here. Letters are those of package flusher; that the
 * images of a round are the pages of the cut is what mkwrite.pml shows.
 *
 * The log is logical, and to apply a record twice, or not, or in another order,
 * gives other contents: operations are numbered, and the contents are the numbers
 * of all operations applied, in order.
 *
 * The machine may crash between any two steps, CRASHES times in all, so also while
 * it recovers:
 *
 *	kill     the process dies; what it has written to files stays, not yet durable
 *	power    of what is not synced, every page, image, journal head and record is
 *	         on disk or is not, each on its own; so is what stood there before
 *
 * What must hold, when recovery has ended:
 *
 *	none_lost      no record that was acknowledged is missing: as durable after a
 *	               power cut, as written (Async) after a kill, and all that an
 *	               earlier recovery came to
 *	exact_prefix   page 1 is the replay of the first n accepted operations, for the
 *	               n at which the log goes on
 *	log_has_cut    no record between the trimmed ones and the cut is missing
 *	never_corrupt  no page is of a later round than the superblock
 *
 * -DEFFECTS leaves the last two out, so that what a broken variant shows is what it
 * does to the data. Each variant is one switch:
 *
 *	-DNOLOGSYNC       step A is left out
 *	-DNOJOURNAL       step B is left out
 *	-DNOJOURNALSYNC   the journal is written and not synced
 *	-DNOSUM           the head of the journal has no sum of the images
 *	-DNODATASYNC      the pages are written in place and not synced
 *	-DEARLYCLEAR      the journal is cleared before the pages are synced
 *	-DEARLYTRIM       the log is trimmed before the journal is durable
 *	-DTRIMAFTERB      the log is trimmed when the journal is, before step C
 *	-DEARLYACK        a record is acknowledged as durable when it is written
 *	-DREPLAYTWICE     replay begins one record before the cut
 *	-DSTALECUT        a round during replay notes the LSN where replay began
 *	-DUNSYNCEDLOG     replay does not sync what it reads
 *	-DUNSYNCEDJOURNAL recovery does not sync the journal before it writes in place
 *	-DNOCUT           the log is not cut behind its torn end
 *
 * TRIMAFTERB shows no error: a whole journal is a new cut, and the log below it is
 * not read again.
 *
 * NOLOGSYNC shows what step A is for. Without it a crash takes records back that a
 * journal, torn by the same crash, has in its images. Their LSNs are given to new
 * operations. The next round has the number of the torn one, and may write the very
 * image that the torn one lacks, page 0 with the same LSN: then the old journal is
 * whole, with operations that were never acknowledged in place of others that were.
 * With A the old journal may become whole in the same way, and is right.
 *
 * Not modelled: torn pages and records (they have a crc: torn is not there);
 * marks, segments and the tail file of the log; more than one page of contents, and
 * with it which pages a round has; a disk that loses what was synced; failed calls,
 * after which the store stops; the first round of a new store; ReadOnly.
 */
#ifndef OPS
#define OPS 4           /* operations, in all lives together */
#endif
#ifndef RECORDS
#define RECORDS 3       /* the most that the log has at once: 5^3 fits a byte */
#endif
#ifndef CRASHES
#define CRASHES 3
#endif

#define APPLY(v, op) (v * 5 + op)

/* A page, or an image of one, with the round in its header. */
typedef Page { byte v; byte round };

/* The head of the journal: round 0 is cleared, v0 and v1 are the sum of the images,
 * which tells these from all others. */
typedef Head { byte round; byte v0; byte v1 };

/* Files: as the kernel has them, and as the disk has them. */
Page data[2], datad[2];
Page slot[2], slotd[2];
Head jhead, jheadd;
byte log[RECORDS], logd[RECORDS];       /* operation at this LSN, 0: no record */

/* The process. */
mtype = { ReadJournal, SyncJournal, Write1, Sync1, Write0, Sync0, Clear,
	Load, Replay, Cut, CutSync, Check, Running,
	Idle, StepA, StepB0, StepB1, StepBHead, StepBSync,
	StepC1, StepC1Sync, StepC0, StepC0Sync, StepD, StepDTrim };
mtype at = Running;     /* Open, up to Running */
mtype fl = Idle;        /* the flusher's round */
byte mem = 0;           /* page 1 in the arena */
byte appended = 0;      /* Log.Appended, or during replay the LSN it has come to */
byte written = 0;
byte durable = 0;
byte super = 0;         /* LSN of DB.super */
byte round = 0;         /* Flusher.round */
byte cutlsn = 0, image = 0;     /* of the running round */

/* For the checks. */
byte ops = 0;                   /* accepted, ever */
byte history[RECORDS];          /* accepted, in order, but for those lost by a crash */
byte accepted = 0;              /* length of history */
byte ackd = 0, ackw = 0;        /* acknowledged as durable, as written */
byte trimmed = 0;
byte crashes = 0;

hidden byte none_lost, exact_prefix, log_has_cut, never_corrupt;
hidden byte i, v;

#define CHECK(name, what) atomic { name = (what); assert(name) }

/* A write of what may have been written before and is not synced: that may have
 * reached the disk by now. */
#define ROLL(d, c) if :: d = c :: skip fi
inline writeByte(d, c, x) { if :: c != d -> ROLL(d, c) :: else fi; c = x }
inline writePage(d, c, x, r) {
	if
	:: c.v != d.v || c.round != d.round ->
		if
		:: d.v = c.v; d.round = c.round
		:: skip
		fi
	:: else
	fi;
	c.v = x;
	c.round = r
}
inline writeHead(r, x, y) {
	if
	:: jhead.round != jheadd.round || jhead.v0 != jheadd.v0 || jhead.v1 != jheadd.v1 ->
		if
		:: syncHead()
		:: skip
		fi
	:: else
	fi;
	jhead.round = r;
	jhead.v0 = x;
	jhead.v1 = y
}
inline syncPage(d, c) { d.v = c.v; d.round = c.round }
inline syncHead() { jheadd.round = jhead.round; jheadd.v0 = jhead.v0; jheadd.v1 = jhead.v1 }
inline syncJournal() { syncHead(); syncPage(slotd[0], slot[0]); syncPage(slotd[1], slot[1]) }

/* Log.Write: what is appended goes to the kernel. */
inline writeLog() {
	do
	:: written < appended ->
		writeByte(logd[written], log[written], history[written]);
		written++
	:: else -> break
	od;
#ifdef EARLYACK
	ackd = written;
#endif
	ackw = (ackw > written -> ackw : written)
}

/* Log.Sync. Who waits for it may acknowledge at once. */
inline syncLog() {
	writeLog();
	i = 0;
	do
	:: i < RECORDS -> logd[i] = log[i]; i++
	:: else -> break
	od;
	durable = written;
	ackd = (ackd > durable -> ackd : durable)
}

/* Log.Trim: what is trimmed may be gone at once. */
inline trimLog() {
	i = 0;
	do
	:: i < cutlsn && i < durable -> log[i] = 0; logd[i] = 0; i++
	:: else -> break
	od;
	trimmed = (trimmed > i -> trimmed : i)
}

/* journal not torn: every image is of the round that the head says, and is the one
 * that the head has summed up. */
#define OFROUND(s) (slot[s].round == jhead.round)
#ifdef NOSUM
#define WHOLE (jhead.round != 0 && OFROUND(0) && OFROUND(1))
#else
#define WHOLE (jhead.round != 0 && OFROUND(0) && OFROUND(1) && slot[0].v == jhead.v0 && slot[1].v == jhead.v1)
#endif

/* One of d and c, on the disk after the power was cut. */
inline losePage(d, c) {
	if
	:: c.v != d.v || c.round != d.round ->
		if
		:: syncPage(d, c)
		:: skip
		fi;
		syncPage(c, d)
	:: else
	fi
}

inline power() {
	losePage(datad[0], data[0]);
	losePage(datad[1], data[1]);
	losePage(slotd[0], slot[0]);
	losePage(slotd[1], slot[1]);
	if
	:: syncHead()
	:: jhead.round = jheadd.round; jhead.v0 = jheadd.v0; jhead.v1 = jheadd.v1
	fi;
	i = 0;
	do
	:: i < RECORDS ->
		if
		:: logd[i] = log[i]
		:: log[i] != logd[i] -> log[i] = logd[i]
		fi;
		i++
	:: else -> break
	od;
	ackw = ackd
}

/* The process is gone. */
inline restart() {
	at = ReadJournal; fl = Idle;
	mem = 0; appended = 0; written = 0; durable = 0;
	super = 0; round = 0; cutlsn = 0; image = 0;
	crashes++
}

/* One step of Open, then one of the store. */
inline open() {
	/* Flusher.recover */
	if
	:: at == ReadJournal && !WHOLE ->                       /* readRound */
		round = data[0].round;
		at = Load
	:: at == ReadJournal && WHOLE ->
		round = jhead.round;
		at = SyncJournal
	:: at == SyncJournal ->                                 /* after a kill it is in the kernel only */
#ifndef UNSYNCEDJOURNAL
		syncJournal();
#endif
		at = Write1
	:: at == Write1 -> writePage(datad[1], data[1], slot[1].v, round); at = Sync1
	:: at == Sync1  -> syncPage(datad[1], data[1]); at = Write0
	:: at == Write0 -> writePage(datad[0], data[0], slot[0].v, round); at = Sync0
	:: at == Sync0  -> syncPage(datad[0], data[0]); at = Clear
	:: at == Clear  -> writeHead(0, 0, 0); at = Load

	/* DB.load, DB.recover */
	:: at == Load ->
#ifndef EFFECTS
		CHECK(never_corrupt, data[1].round <= round && data[0].round == round);
		i = trimmed;
		do
		:: i < data[0].v -> CHECK(log_has_cut, log[i] != 0); i++
		:: else -> break
		od;
#endif
		super = data[0].v;
		mem = data[1].v;
		appended = super;
#ifdef REPLAYTWICE
		appended = (super > 0 -> super - 1 : 0);
#endif
#ifndef UNSYNCEDLOG
		i = 0;                                          /* reader.segment */
		do
		:: i < RECORDS -> logd[i] = log[i]; i++
		:: else -> break
		od;
#endif
		durable = appended;
		written = appended;
		at = Replay
	:: at == Replay ->                                      /* DB.replay, a record */
		if
		:: appended < RECORDS && log[appended] != 0 ->
			mem = APPLY(mem, log[appended]);
			appended++;
			written = appended;
			durable = appended
		:: else -> at = Cut
		fi
	:: at == Cut ->                                         /* segments.cut */
#ifndef NOCUT
		i = appended;
		do
		:: i < RECORDS -> writeByte(logd[i], log[i], 0); i++
		:: else -> break
		od;
#endif
		at = CutSync
	:: at == CutSync ->
#ifndef NOCUT
		i = 0;
		do
		:: i < RECORDS -> logd[i] = log[i]; i++
		:: else -> break
		od;
#endif
		at = Check
	:: at == Check ->                                       /* Open returns */
		CHECK(none_lost, appended >= ackw);
		CHECK(exact_prefix, appended <= accepted);
		v = 0;
		i = 0;
		do
		:: i < appended -> v = APPLY(v, history[i]); i++
		:: else -> break
		od;
		CHECK(exact_prefix, mem == v);
		do
		:: i < RECORDS -> history[i] = 0; i++
		:: else -> break
		od;
		accepted = appended;
		ackd = appended;
		ackw = appended;
		at = Running;
		i = 0;
		v = 0
	fi
}

/* One step of a round, Flusher.flush. */
inline flush() {
	if
	:: fl == Idle && (at == Running || at == Replay) && appended != super ->
		cutlsn = appended;                              /* freeze, DB.cut */
#ifdef STALECUT
		if
		:: at == Replay -> cutlsn = super
		:: else
		fi;
#endif
		image = mem;
		super = appended;
		fl = StepA
	:: fl == StepA ->
#ifndef NOLOGSYNC
		if
		:: durable < cutlsn -> syncLog()
		:: else
		fi;
#endif
#ifdef EARLYTRIM
		trimLog();
#endif
#ifdef NOJOURNAL
		fl = StepC1
#else
		fl = StepB0
#endif
	:: fl == StepB0    -> writePage(slotd[0], slot[0], cutlsn, round + 1); fl = StepB1
	:: fl == StepB1    -> writePage(slotd[1], slot[1], image, round + 1); fl = StepBHead
	:: fl == StepBHead -> writeHead(round + 1, cutlsn, image); fl = StepBSync
	:: fl == StepBSync ->
#ifndef NOJOURNALSYNC
		syncJournal();
#endif
#ifdef TRIMAFTERB
		trimLog();
#endif
		fl = StepC1
	:: fl == StepC1 ->                                      /* writeBack: page 0 is last */
		writePage(datad[1], data[1], image, round + 1);
#ifdef EARLYCLEAR
		writeHead(0, 0, 0);
#endif
		fl = StepC1Sync
	:: fl == StepC1Sync ->
#ifndef NODATASYNC
		syncPage(datad[1], data[1]);
#endif
		fl = StepC0
	:: fl == StepC0     -> writePage(datad[0], data[0], cutlsn, round + 1); fl = StepC0Sync
	:: fl == StepC0Sync ->
#ifndef NODATASYNC
		syncPage(datad[0], data[0]);
#endif
		round++;
		fl = StepD
	:: fl == StepD      -> writeHead(0, 0, 0); fl = StepDTrim
	:: fl == StepDTrim  -> trimLog(); cutlsn = 0; image = 0; i = 0; fl = Idle
	fi
}

active proctype machine() {
end:	do
	:: atomic { at == Running && ops < OPS && appended < RECORDS ->  /* DB.commit */
		ops++;
		mem = APPLY(mem, ops);
		history[appended] = ops;
		appended++;
		accepted = appended }
	:: atomic { at == Running && written < appended -> writeLog() }  /* WaitWritten */
	:: atomic { at == Running && durable < appended -> syncLog() }   /* WaitDurable */
	:: atomic { at != Running -> open() }
	:: atomic { fl != Idle || (at == Running || at == Replay) && appended != super -> flush() }
	:: atomic { crashes < CRASHES -> restart() }                     /* kill */
	:: atomic { crashes < CRASHES -> power(); restart() }
	od
}
