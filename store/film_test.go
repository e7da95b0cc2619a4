package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing/iotest"
	"time"

	"faultline/flusher"
	"faultline/internal/disk"
	"faultline/internal/memdisk"
	"faultline/store/tree"
)

const filmDir = "/d"

// A film is a run of a store, as a row of frames: one for each call that changes
// the file system, as it was before the call, and one after the last.
type film []frame

type frame struct {
	fs   *memdisk.FS
	led  *ledger
	at   progress
	call string // the one that comes next
}

// A manner is how stores are opened for films and after their crashes.
type manner struct {
	mapped   bool // the tail of the log is mapped
	trapOnly bool
	// alone: one goroutine runs at a time. Calls come in the same order in every
	// run, and nobody stores to what is mapped while a frame is made. Without it the
	// log's helper and the flusher run in the background, and rounds start by
	// themselves.
	alone bool
	drops string // memdisk.FS.Drops
	tight bool   // there is memory for a few pages only: the others come and go

	// For controls:
	lies string                   // memdisk.FS.Lies
	wrap func(fs disk.FS) disk.FS // or nil: what the store sees of the file system
}

func (w manner) String() string {
	s := "pwrite"
	if w.mapped {
		s = "mapped"
	}
	if w.trapOnly {
		s += ", traps only"
	}
	if !w.alone {
		s += ", in the background"
	}
	if w.tight {
		s += ", tight memory"
	}
	return s
}

// manners are all that there are for films. With mappings, only one goroutine may
// run: a mapping is stored to without a call, so without a moment for a frame.
var manners = []manner{
	{mapped: true, alone: true, tight: true},
	{mapped: true, alone: true, trapOnly: true, tight: true},
	{alone: true},
	{tight: true},
}

// tightRoom is how many pages there is memory for: a film has twenty or more.
const tightRoom = 7

// sizes of values.
func (w manner) sizes() [4]int {
	if w.tight {
		return [4]int{40, 400, 1000, 1600}
	}
	return [4]int{8, 40, 200, 800}
}

// segment is the size of a file of the log, in bytes.
func (w manner) segment() int64 {
	if w.tight {
		return 16 << 10
	}
	return 4 << 10
}

// maxLog is how much log there is before a round that the director asks for.
func (w manner) maxLog() int64 { return w.segment() * 5 / 4 }

func (w manner) room() int {
	if w.tight {
		return tightRoom
	}
	return 0
}

// options make the store small: a film must have rounds, new segments and trims,
// and each of its crashes must be cheap.
func (w manner) options(m *memdisk.FS) *Options {
	m.Maps, m.Lies = w.mapped, w.lies
	var fs disk.FS = m
	if w.wrap != nil {
		fs = w.wrap(m)
	}
	return &Options{
		MemoryBudget:    MinMemoryBudget,
		DirtyBudget:     1 << 20,
		LogBytes:        2 * w.maxLog(),
		SegmentBytes:    w.segment(),
		CheckpointEvery: -1,
		TrapOnly:        w.trapOnly,
		fs:              fs,
		room:            w.room(),
		logBuffer:       4 << 10,
		noHelper:        w.alone,
		pieceBytes:      2 * flusher.ValuePageBytes,
		Clock:           func() time.Time { return timeOf(filmNow) },
	}
}

// filmNow is the time in films, in milliseconds. It stands still, so that what a store
// must have does not depend on when it is looked at: keys expire long after it, or have
// expired when they are put.
const filmNow = 1 << 40

// A director has a store do what makes a film.
type director struct {
	manner
	rng   *rand.Rand
	fs    *memdisk.FS
	over  *atomic.Bool // what fs does is not filmed any more
	db    *DB
	fault *fault // or nil

	evicted uint64 // pages, by stores that are closed or dead

	turn   sync.Mutex // who writes: the director, or alone, in a round, the flusher for it
	failed error      // of a write in a round

	mu struct { // the background comes to the hook, too
		sync.Mutex
		film film
		led  *ledger
		at   progress // without begun
	}
}

func newDirector(w manner, seed uint64) *director {
	d := &director{manner: w, rng: rand.New(rand.NewPCG(seed, 7)), over: new(atomic.Bool)}
	d.mu.led = newLedger()
	d.turn.Lock()
	d.use(memdisk.New())
	return d
}

// use goes on with another file system.
func (d *director) use(m *memdisk.FS) {
	d.over.Store(true)
	d.fs, d.over = m, new(atomic.Bool)
	over := d.over
	m.Drops = d.drops
	m.SetHook(func(op, path string) error {
		if over.Load() {
			return nil
		}
		d.frame(m, op+" "+path)
		d.meanwhile(op, path)
		return d.fault.hit()
	})
}

// frame adds a frame.
func (d *director) frame(m *memdisk.FS, call string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := frame{at: d.mu.at, led: d.mu.led, call: call, fs: m.Crash(memdisk.Kill, nil)}
	f.at.begun = d.mu.led.begun()
	d.mu.film = append(d.mu.film, f)
}

// meanwhile makes a write before a call, now and then, as others do during a round:
// before the calls of the flusher itself, and before the log syncs.
func (d *director) meanwhile(op, path string) {
	if !d.alone || !d.turn.TryLock() { // not in a round, or in the middle of such a write
		return
	}
	defer d.turn.Unlock()
	ofFlusher := filepath.Dir(path) == filmDir && (op == "write" || op == "sync")
	ofLog := filepath.Ext(path) == ".log" && op == "sync"
	if d.failed != nil || !ofFlusher && !ofLog || d.rng.IntN(3) > 0 {
		return
	}
	if ofLog {
		d.failed = d.write(hurried, Deferred) // another would wait for the sync that waits for it
	} else {
		d.failed = d.write(hurried, Durability(d.rng.IntN(3)))
	}
}

// acked says that the first n batches are known to be in the kernel, or durable.
func (d *director) acked(n int, durable bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.at.written = max(d.mu.at.written, n)
	if durable {
		d.mu.at.durable = max(d.mu.at.durable, n)
	}
}

func (d *director) begun() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.led.begun()
}

// shoot makes a film of n steps, or of less if one fails. The store is open
// afterwards, if it could be opened: end ends it.
func (d *director) shoot(n int) error {
	err := d.open()
	for i := 0; i < n && err == nil; i++ {
		err = errors.Join(d.step(), d.failed)
	}
	return err
}

// end returns the film.
func (d *director) end() film {
	d.frame(d.fs, "the end")
	d.over.Store(true)
	if d.db != nil {
		d.leave(d.db)
	}
	return d.mu.film
}

// open opens the store, which must have what was written.
func (d *director) open() error {
	db, err := Open(filmDir, d.options(d.fs))
	if err != nil {
		return err
	}
	if d.db = db; d.alone {
		db.opts.LogBytes = math.MaxInt64 / 2 // no round by itself; spares were few
	}
	found, err := digestOf(db)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.mu.led.find(found, d.mu.at.written, d.mu.led.begun())
	if err == nil && n < d.mu.led.begun() {
		d.mu.led, err = d.mu.led.cut(n, db) // frames keep the one before
	}
	d.mu.at.written, d.mu.at.durable = n, n
	return err
}

// step does one thing.
func (d *director) step() error {
	if d.alone && uint64(d.db.LSN()) > d.db.cutLSN.Load()+uint64(d.maxLog()) {
		return d.checkpoint()
	}
	switch n := d.rng.IntN(64); {
	case n < 3:
		return d.checkpoint()
	case n < 6:
		durable := d.begun()
		err := d.db.WaitDurable(context.Background(), d.db.LSN())
		if err == nil {
			d.acked(durable, true)
		}
		return err
	case n < 8:
		if err := d.db.Close(); err != nil {
			return err
		}
		d.evicted += evicted(d.db)
		d.acked(d.begun(), true)
		return d.open()
	case n < 9:
		return d.crash()
	case n < 12:
		return d.stream(Durability(d.rng.IntN(3)))
	case n < 15:
		return d.round(d.db.Compact)
	case n < 18:
		return d.deleteRange(Durability(d.rng.IntN(3)))
	case n < 19:
		return d.clear()
	case n < 21:
		return d.tidy()
	case n < 37:
		return d.write(context.Background(), Sync)
	case n < 50:
		return d.write(context.Background(), Async)
	}
	return d.write(context.Background(), Deferred)
}

func (d *director) checkpoint() error { return d.round(d.db.Checkpoint) }

// round calls what makes a round.
func (d *director) round(call func(context.Context) error) error {
	durable := d.begun()
	d.turn.Unlock()
	err := call(context.Background())
	d.turn.Lock()
	if err == nil {
		d.acked(durable, true)
	}
	return err
}

// crash kills the process and goes on with what it has left.
func (d *director) crash() error {
	left, dead := d.fs.Crash(memdisk.Kill, nil), d.db
	d.use(left)
	d.leave(dead)
	return d.open()
}

// leave kills a store that the film is done with.
func (d *director) leave(db *DB) {
	kill(db)
	d.evicted += evicted(db)
}

func evicted(db *DB) uint64 { return db.Metrics().Pages.Evicted }

// filmKeys are all keys that there may be.
const filmKeys = 150

// write makes a batch: most are of one key, some write keys here and there, some
// delete a row of neighbours, so that leaves come and go. Each has its number in
// it, so that no two contents are the same.
func (d *director) write(ctx context.Context, durability Durability) error {
	var b Batch
	var err error
	put := func(key int) {
		size := d.sizes()[d.rng.IntN(4)]
		if d.rng.IntN(24) == 0 {
			size = 4050 + d.rng.IntN(12_000) // most are long
		}
		value := binary.LittleEndian.AppendUint64(make([]byte, size), uint64(d.begun()+1))
		err = errors.Join(err, b.PutExpiring(fmt.Appendf(nil, "key%03d", key), value, d.expiry()))
	}
	key := d.rng.IntN(filmKeys)
	put(key)
	switch d.rng.IntN(9) {
	case 8:
		for i := range 1 + d.rng.IntN(6) {
			err = errors.Join(err, b.SetExpiry(fmt.Appendf(nil, "key%03d", (key+i)%filmKeys), d.expiry()))
		}
	case 0, 1:
		for range 1 + d.rng.IntN(6) {
			put(d.rng.IntN(filmKeys))
		}
	case 2:
		for i := range 20 {
			err = errors.Join(err, b.Delete(fmt.Appendf(nil, "key%03d", (key+1+i)%filmKeys)))
		}
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	err = d.mu.led.add(&b)
	n := d.mu.led.begun()
	d.mu.Unlock()
	if err != nil {
		return err
	}
	var lsn LSN
	if ctx.Err() == nil && d.rng.IntN(2) == 0 {
		lsn, err = modifyBy(ctx, d.db, &b, durability)
	} else {
		lsn, err = d.db.ApplyContext(ctx, &b, durability)
	}
	if lsn == 0 && (errors.Is(err, ErrNoSpace) || errors.Is(err, context.Canceled)) {
		return d.refused()
	}
	if err != nil || durability == Deferred {
		return err
	}
	d.acked(n, durability == Sync)
	return nil
}

// expiry is when a key is to expire: most never do.
func (d *director) expiry() time.Time {
	switch d.rng.IntN(8) {
	case 0, 1:
		return timeOf(filmNow + 1 + d.rng.Uint64N(1000))
	case 2:
		return timeOf(filmNow - d.rng.Uint64N(1000))
	}
	return time.Time{}
}

// modifyBy makes the writes of b by a Modify that asks for every other key before.
func modifyBy(ctx context.Context, db *DB, b *Batch, durability Durability) (LSN, error) {
	return db.Modify(ctx, nil, durability, func(tx *Tx) error {
		var err error
		for rest, n := b.data, 0; len(rest) > 0 && err == nil; n++ {
			var w write
			if w, rest, err = nextWrite(rest); err != nil {
				break
			}
			if w.key = w.key[tree.OwnerBytes:]; n%2 == 0 {
				_, err = tx.Has(w.key)
			}
			switch {
			case err != nil:
			case w.op == opPut || w.op == opPutExpiring:
				err = tx.PutExpiring(w.key, w.value, timeOf(w.expiry))
			case w.op == opSetExpiry:
				err = tx.SetExpiry(w.key, timeOf(w.expiry))
			default:
				err = tx.Delete(w.key)
			}
		}
		return err
	})
}

// stream puts a value that is not in one record of the log: by Put or by a reader,
// which sometimes fails.
func (d *director) stream(durability Durability) error {
	key := fmt.Appendf(nil, "key%03d", d.rng.IntN(filmKeys))
	value := make([]byte, 2*flusher.ValuePageBytes+1+d.rng.IntN(30_000))
	for i := range value {
		value[i] = byte(i / 100)
	}
	value = binary.LittleEndian.AppendUint64(value, uint64(d.begun()+1))
	size := []int64{-1, int64(len(value))}[d.rng.IntN(2)]
	if d.rng.IntN(4) == 0 {
		r := io.MultiReader(bytes.NewReader(value[:d.rng.IntN(len(value))]), iotest.ErrReader(errReader))
		if err := d.db.PutReader(context.Background(), key, r, size, durability); !errors.Is(err, errReader) {
			return fmt.Errorf("a reader failed: %w", err)
		}
		return nil
	}
	var b Batch
	if err := b.Put(key, value); err != nil {
		return err
	}
	d.mu.Lock()
	err := d.mu.led.add(&b)
	n := d.mu.led.begun()
	d.mu.Unlock()
	if err != nil {
		return err
	}
	if d.rng.IntN(2) == 0 {
		err = d.db.Put(key, value, durability)
	} else {
		err = d.db.PutReader(context.Background(), key, bytes.NewReader(value), size, durability)
	}
	if err != nil || durability == Deferred {
		return err
	}
	d.acked(n, durability == Sync)
	return nil
}

// deleteRange deletes a row of keys, a batch for each: a crash may come after any of them.
func (d *director) deleteRange(durability Durability) error {
	from := d.rng.IntN(filmKeys)
	lower, upper := fmt.Appendf(nil, "key%03d", from), fmt.Appendf(nil, "key%03d", from+1+d.rng.IntN(filmKeys/2))
	d.mu.Lock()
	before := d.mu.led.begun()
	err := d.mu.led.addRange(string(lower), string(upper))
	n := d.mu.led.begun()
	d.mu.Unlock()
	if err != nil {
		return err
	}
	deleted, err := d.db.DeleteRange(context.Background(), lower, upper, durability)
	if errors.Is(err, ErrNoSpace) {
		found, err := digestOf(d.db)
		if err != nil {
			return err
		}
		if n, err = d.mu.led.find(found, before, n); err != nil {
			return err
		}
		return d.refusedFrom(n)
	}
	if err == nil && int(deleted) < n-before { // it counts those that have expired, too
		err = fmt.Errorf("%d keys of %d are deleted from %s to %s", deleted, n-before, lower, upper)
	}
	if err != nil || durability == Deferred {
		return err
	}
	d.acked(n, durability == Sync)
	return nil
}

// clear clears the store, which counts as a batch.
func (d *director) clear() error {
	if d.rng.IntN(3) > 0 {
		return nil // few clears: leaves must come to be
	}
	d.mu.Lock()
	d.mu.led.addClear()
	n := d.mu.led.begun()
	d.mu.Unlock()
	err := d.db.spaces.main.Clear(context.Background())
	if errors.Is(err, ErrNoSpace) {
		return d.refused()
	}
	if err == nil {
		d.acked(n, true)
	}
	return err
}

// tidy makes what nobody sees: it reaps keys that have expired, sweeps cleared ones, and
// makes and drops a keyspace.
func (d *director) tidy() error {
	var err error
	switch d.rng.IntN(3) {
	case 0:
		if d.alone { // else the reaper does it
			_, err = d.db.reap(context.Background())
		}
	case 1:
		if d.alone {
			err = d.db.sweep(context.Background())
		}
	default:
		var ks *Keyspace
		if ks, err = d.db.Keyspace("other"); err == nil {
			err = ks.PutExpiring([]byte("key"), make([]byte, 5000), d.expiry(), Async)
		}
		if err == nil && d.rng.IntN(2) == 0 {
			err = d.db.DropKeyspace("other")
		}
	}
	if errors.Is(err, ErrNoSpace) {
		return nil
	}
	return err
}

var errReader = errors.New("reader fails")

// hurried is the context of writes in a round, which cannot wait for the round.
var hurried = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// refused takes the newest batch back: it was not made, and none may find it.
func (d *director) refused() error {
	return d.refusedFrom(d.begun() - 1)
}

// refusedFrom takes all but the first n batches back.
func (d *director) refusedFrom(n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	led, err := d.mu.led.cut(n, d.db) // frames keep the one before
	if err != nil {
		return err
	}
	if found, err := digestOf(d.db); err != nil || found != led.after[n] {
		return fmt.Errorf("after a write that was refused for want of space: %d keys, want %d: %w", found.keys, led.after[n].keys, err)
	}
	d.mu.led = led
	return nil
}

var errKilled = errors.New("killed")

// kill ends a store as the end of its process would: nothing more is written.
func kill(db *DB) {
	_ = db.flusher.Stop(errKilled)
	_ = db.Close() // says that no checkpoint was made
}
