package store

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	"faultline/flusher"
	"faultline/kv"
	"faultline/store/tree"
	"faultline/store/wal"
)

// An LSN is a place in the log: the number of bytes before it. What has a
// smaller LSN was written earlier.
type LSN = wal.LSN

// Durability says what a write waits for.
type Durability = kv.Durability

const (
	// Sync returns when the write is on disk: it survives a power cut.
	Sync = kv.Sync
	// Async returns when the kernel has the write: it survives the process, not
	// the power. A later Sync write or WaitDurable makes it durable too.
	Async = kv.Async
	// Deferred returns at once. The caller tells nobody before WaitDurable or
	// WaitWritten has returned for the LSN: it is for who has several writes to
	// answer for together.
	Deferred = kv.Deferred
)

var batches = sync.Pool{New: func() any { return new(Batch) }}

// Apply makes the writes of b, all or none, and returns the LSN after them.
// Errors as for Put; with one of ErrStopped the writes may or may not be found
// after the next Open, all or none.
func (db *DB) Apply(b *Batch, d Durability) (LSN, error) {
	return db.ApplyContext(context.Background(), b, d)
}

// ApplyContext is Apply that waits no longer than ctx allows. If ctx ends while
// it waits for room among the dirty pages, nothing has changed; if it ends while
// it waits for the disk, the writes are made, and their LSN is returned with the
// error.
func (db *DB) ApplyContext(ctx context.Context, b *Batch, d Durability) (LSN, error) {
	if b.n == 0 {
		return db.LSN(), db.usable()
	}
	if err := db.paceMerge(ctx, len(b.data)); err != nil {
		return 0, err
	}
	lsn, err := db.commit(ctx, b)
	if err != nil {
		return 0, err
	}
	return lsn, db.wait(ctx, lsn, d) // 8
}

// wait returns when the log is as durable up to lsn as asked for.
func (db *DB) wait(ctx context.Context, lsn LSN, d Durability) (err error) {
	db.kickFor(lsn)
	db.deferred()
	switch d {
	case Sync:
		err = db.WaitDurable(ctx, lsn)
	case Async:
		err = db.WaitWritten(lsn)
	}
	return err
}

// kickFor asks for a round if the log has grown enough.
func (db *DB) kickFor(lsn LSN) {
	if db.overdue(uint64(lsn)) {
		db.trimSoon()
	}
}

// overdue tells whether a log that stands at lsn has grown enough for a round. A cut may
// be beyond lsn by now.
func (db *DB) overdue(lsn uint64) bool { return lsn > db.cutLSN.Load()+uint64(db.opts.LogBytes) }

// commit is the way of a write into the tree and the log. The numbers are those
// of the package comment.
func (db *DB) commit(ctx context.Context, b *Batch) (lsn LSN, err error) {
	if err := db.writable(); err != nil { // 1
		return 0, err
	}
	if err := b.collect(db); err != nil {
		return 0, err
	}
	if err := db.reserveLog(ctx, len(b.data), b.puts == 0); err != nil { // 2
		return 0, err
	}
	defer db.log.Release(len(b.data))
	defer db.unstage(b)
	if err := db.stage(ctx, b); err != nil {
		return 0, err
	}
	dirty, grow := db.tree.Credits(b.steps, b.inTree)
	for {
		lsn, err := db.tryCommit(ctx, b, dirty, grow)
		if err == nil {
			return lsn, nil
		}
		if !errors.Is(err, tree.ErrNoRoom) {
			return lsn, db.orFull(err, grow)
		}
		if err := db.makeRoom(grow); err != nil {
			return 0, db.orFull(err, grow)
		}
	}
}

// tryCommit is commit for a data file that has room for b. If it has not, the error is
// tree.ErrNoRoom, and nothing has changed.
func (db *DB) tryCommit(ctx context.Context, b *Batch, dirty, grow int) (lsn LSN, err error) {
	if b.steps > 1 && b.puts > 0 { // deletes take no pages
		if err := db.tree.Promise(&b.op, grow); err != nil {
			return 0, fmt.Errorf("batch of %d writes: %w", b.n, err)
		}
		defer db.tree.Release(&b.op)
	}
	shard := uint64(b.stripes[0])             // see SeenLSN
	grant, err := db.begin(ctx, dirty, shard) // 2, 3
	if err != nil {
		return 0, err
	}
	if err := b.claimAgain(db); err != nil {
		db.flusher.End(grant, shard)
		return 0, err
	}
	db.lock(b.stripes) // 4
	if err = b.settle(db); err == nil {
		err = db.reach(b)
	}
	if err == nil {
		b.found, err = db.applyWhole(b) // 5
	}
	if err == nil {
		lsn, err = db.append(b.data) // 6
	}
	db.unlock(b.stripes) // 7
	db.flusher.End(grant, shard)
	return lsn, err
}

// begin reserves credits and enters the gate, as flusher.Begin.
func (db *DB) begin(ctx context.Context, dirty int, shard uint64) (grant flusher.Grant, err error) {
	if grant, err = db.flusher.Begin(ctx, dirty, shard); err != nil {
		return grant, db.orClosed(err)
	}
	if err := db.usable(); err != nil { // Close waits for those only who were inside before
		db.flusher.End(grant, shard)
		return grant, err
	}
	return grant, nil
}

// apply makes the writes of b in the tree, and returns how many met a key that
// was there. Long values are staged, and not open any more afterwards. Commit and
// recovery both call it. An error before anything has changed is an ordinary one; a
// later one stops the store, whose memory is then neither as before nor as after.
func (db *DB) apply(b *Batch) (found int, err error) {
	staged := b.staged
	if b.n == 1 {
		return db.applyOne(b, &b.one, &staged)
	}
	for rest := b.data; len(rest) > 0; {
		more, err := b.gather(rest)
		n := 0
		switch {
		case err != nil:
		case len(b.many.List) > 1:
			n, err = db.applyMany(b)
		default:
			n, more, err = db.applyNext(b, rest, &staged)
		}
		if err != nil && len(rest) < len(b.data) {
			return 0, db.flusher.Stop(fmt.Errorf("in the middle of a batch: %w", err))
		}
		if err != nil {
			return 0, err
		}
		found += n
		rest = more
	}
	return found, nil
}

// applyNext is applyOne of the first write of data, which is of b.
func (db *DB) applyNext(b *Batch, data []byte, staged *[]*longValue) (found int, rest []byte, err error) {
	w, rest, err := nextWrite(data)
	if err == nil {
		found, err = db.applyOne(b, &w, staged)
	}
	return found, rest, err
}

// applyOne makes w, a write of b, whose value is the first of staged if it is a long one.
// found is 1 if it met a key that was there.
func (db *DB) applyOne(b *Batch, w *write, staged *[]*longValue) (found int, err error) {
	var v *longValue
	if w.isLong() {
		v, *staged = (*staged)[0], (*staged)[1:]
	}
	existed, err := db.applyWrite(b, w, v)
	if existed {
		found = 1
	}
	return found, db.readError(err)
}

// applyWrite makes one write of b, v being its value if that is a long one. existed
// tells that it met a key that was there.
func (db *DB) applyWrite(b *Batch, w *write, v *longValue) (existed bool, err error) {
	switch {
	case w.isLong():
		v.ref.LSN = db.reached() // with the key locked: all before it are below
		if existed, err = db.tree.PutLong(&b.op, w.key, v.ref, w.expiry); err == nil {
			v.taken = true
			db.open.remove(v)
		}
	case w.op == opPut:
		b.hint(w.key)
		existed, err = db.tree.Put(&b.op, w.key, w.value)
	case w.op == opPutExpiring:
		b.hint(w.key)
		existed, err = db.tree.PutExpiring(&b.op, w.key, w.cell)
	case w.op == opSetExpiry:
		existed, err = db.tree.SetExpiry(&b.op, w.key, w.expiry, le.Uint64(w.stamp))
		if !existed && !db.recovering() { // the pages may have it already, but not its entry
			return false, err
		}
	default:
		b.hint(w.key)
		existed, err = db.tree.Delete(&b.op, w.key)
	}
	if err != nil {
		return false, err
	}
	was := b.op.Was
	if w.expiry != 0 {
		if err := db.enterDue(b, w.key, w.expiry, was); err != nil {
			return false, db.flusher.Stop(fmt.Errorf("in the middle of a write: %w", err))
		}
	}
	return existed && !db.expired(was), nil
}

// append puts a batch into the log, in memory. The tree has it already, so a
// log that does not take it stops the store.
func (db *DB) append(data []byte) (LSN, error) {
	lsn, err := db.log.Append(data)
	if err != nil {
		return 0, db.flusher.Stop(fmt.Errorf("append to the log: %w", err))
	}
	return lsn, nil
}

// LSN returns the place after the newest write.
func (db *DB) LSN() LSN { return db.log.Appended() }

// SeenLSN returns an LSN that covers every write that a reader can have seen
// before the call: who has waited for it with WaitDurable may tell what was read.
// LSN alone would not do, for a write is visible a moment before it has one.
func (db *DB) SeenLSN() LSN {
	for shard := range flusher.Shards {
		if db.flusher.Busy(uint64(shard)) {
			for i := shard; i < stripes; i += flusher.Shards { // the first of each batch is among them
				db.pass(uint16(i)) // held from the first change to the LSN
			}
		}
	}
	return db.LSN()
}

// WaitDurable returns when every write below lsn is on disk.
func (db *DB) WaitDurable(ctx context.Context, lsn LSN) error {
	return db.waited(db.log.Sync(ctx, lsn))
}

// WaitWritten returns when the kernel has every write below lsn.
func (db *DB) WaitWritten(lsn LSN) error {
	return db.waited(db.log.Write(lsn))
}

// waited stops the store if the log has failed.
func (db *DB) waited(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wal.ErrClosed):
		return ErrClosed
	case errors.Is(err, wal.ErrStopped):
		return db.flusher.Stop(err)
	}
	return err // of the context
}

// stripes is the number of locks that keys share.
const stripes = 1024

// hash is that of a user's key, for its lock: the same in all keyspaces.
func (db *DB) hash(key []byte) uint64 { return maphash.Bytes(db.seed, key) }

// stripeOf returns the lock of a key with this hash.
func stripeOf(hash uint64) uint16 { return uint16(hash % stripes) }

// stripe returns the lock of key, a key of the tree.
func (db *DB) stripe(key []byte) uint16 { return stripeOf(db.hash(key[tree.OwnerBytes:])) }

// lock takes the locks of keys, which are sorted: two batches never wait for
// each other. While it is held nobody else writes these keys, so that their
// order in the log is that in the tree.
func (db *DB) lock(sorted []uint16) {
	for _, s := range sorted {
		db.stripes[s].Lock()
	}
}

func (db *DB) unlock(sorted []uint16) {
	for _, s := range sorted {
		db.stripes[s].Unlock()
	}
}
