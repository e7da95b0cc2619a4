package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"faultline/internal/campaign"
	"faultline/internal/disk"
	"faultline/internal/memdisk"
)

// watchdog ends the process with the stacks of all goroutines if the test has
// not ended in time.
func watchdog(t testing.TB) {
	dog := time.AfterFunc(3*time.Minute, func() {
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
		panic("watchdog: " + t.Name() + " hangs")
	})
	t.Cleanup(func() { dog.Stop() })
}

// A writer makes writes that follow from their number, from 1 on, to keys that
// nobody else has. So what its keys must be after the first n of them is known.
type writer struct {
	name     int
	ways     []Durability // in turn
	noRanges bool         // deletes keys one by one only
	started  atomic.Uint64
	written  atomic.Uint64 // the kernel has it
	durable  atomic.Uint64
}

const writerKeys = 40

// write n is to one key in two cases of three, and to a pair of keys in one
// batch in the third. Now and then it deletes the keys from one to another.
func (w *writer) write(n uint64, put func(key string, n uint64), del func(key string), delRange func(lower, upper string)) {
	key := fmt.Sprintf("%d/key%02d", w.name, n*7%writerKeys)
	switch {
	case n%41 == 0 && !w.noRanges:
		delRange(key, fmt.Sprintf("%d/key%02d", w.name, n*7%writerKeys+n%23))
	case n%3 == 0:
		put(fmt.Sprintf("%d/left", w.name), n)
		put(fmt.Sprintf("%d/right", w.name), n)
	case n%11 == 0:
		del(key)
	default:
		put(key, n)
	}
}

// value is n with a tail that makes pages fill, and differs in length.
func value(n uint64) string {
	return strconv.FormatUint(n, 10) + " " + strings.Repeat("v", int(n*37%600))
}

// apply makes write n of the store.
func (w *writer) apply(db *DB, n uint64) error {
	var b Batch
	var err error
	var lower, upper string
	w.write(n, func(key string, n uint64) {
		err = errors.Join(err, b.Put([]byte(key), []byte(value(n))))
	}, func(key string) {
		err = errors.Join(err, b.Delete([]byte(key)))
	}, func(low, up string) { lower, upper = low, up })
	if err != nil {
		return err
	}
	w.started.Store(n)
	d := w.ways[n%uint64(len(w.ways))]
	switch {
	case upper != "":
		_, err = db.DeleteRange(context.Background(), []byte(lower), []byte(upper), d)
	case n%3 == 0:
		_, err = modifyBy(context.Background(), db, &b, d)
	default:
		_, err = db.Apply(&b, d)
	}
	if err != nil {
		return err
	}
	if d == Sync {
		w.durable.Store(n) // and all before it
	}
	if d != Deferred {
		w.written.Store(n)
	}
	return nil
}

// contents returns what the keys of w are after write n.
func (w *writer) contents(n uint64) map[string]string {
	m := map[string]string{}
	for i := uint64(1); i <= n; i++ {
		w.writeTo(m, i)
	}
	return m
}

// writeTo makes write n of the keys m.
func (w *writer) writeTo(m map[string]string, n uint64) {
	w.write(n, func(key string, n uint64) { m[key] = value(n) }, func(key string) { delete(m, key) },
		func(lower, upper string) {
			maps.DeleteFunc(m, func(key, _ string) bool { return lower <= key && key < upper })
		})
}

// isPartOf tells whether mine is what a step of write n, which deletes a range of keys, has
// made of m: some of them are left, behind those that are gone.
func (w *writer) isPartOf(mine, m map[string]string, n uint64) (part bool) {
	w.write(n, func(string, uint64) {}, func(string) {}, func(lower, upper string) {
		left := upper
		for key := range mine {
			if lower <= key {
				left = min(left, key)
			}
		}
		rest := maps.Clone(m)
		maps.DeleteFunc(rest, func(key, _ string) bool { return lower <= key && key < left })
		part = maps.Equal(mine, rest)
	})
	return part
}

// check finds the number of writes of w after which the store is as it is, from
// least to most; all other numbers are an error.
func (w *writer) check(found map[string]string, least, most uint64) (uint64, error) {
	mine := map[string]string{}
	for key, v := range found {
		if strings.HasPrefix(key, fmt.Sprintf("%d/", w.name)) {
			mine[key] = v
		}
	}
	want := w.contents(least)
	for n := least; ; n++ {
		if n > least {
			if w.isPartOf(mine, want, n) {
				return n - 1, nil
			}
			w.writeTo(want, n)
		}
		if maps.Equal(mine, want) {
			return n, nil
		}
		if n >= most {
			return 0, fmt.Errorf("writer %d: what is found is not its writes up to any of %d to %d: left %.20q, right %.20q",
				w.name, least, most, mine[fmt.Sprintf("%d/left", w.name)], mine[fmt.Sprintf("%d/right", w.name)])
		}
	}
}

// A crowd is writers on one store, whose writes are known afterwards.
type crowd []*writer

// newCrowd has n writers: one that waits for the disk each time, one now and then,
// others that do not.
func newCrowd(n int) (c crowd) {
	ways := [][]Durability{{Sync}, {Async, Async, Async, Sync}, {Deferred, Async}, {Async}}
	for i := range n {
		c = append(c, &writer{name: i, ways: ways[i%len(ways)]})
	}
	return c
}

// A moment is how far each writer was.
type moment []uint64

func (c crowd) now(how func(w *writer) uint64) (m moment) {
	for _, w := range c {
		m = append(m, how(w))
	}
	return m
}

func (m moment) sum() (n uint64) {
	for _, k := range m {
		n += k
	}
	return n
}

func startedBy(w *writer) uint64 { return w.started.Load() }
func writtenBy(w *writer) uint64 { return w.written.Load() }
func durableBy(w *writer) uint64 { return w.durable.Load() }

// writes is how many all have begun.
func (c crowd) writes() (n uint64) {
	for _, w := range c {
		n += w.started.Load()
	}
	return n
}

// check compares what is in db with what the writers wrote: each must be found to
// have made its writes up to some number from least to most. Where they go on from
// is that number.
func (c crowd) check(db *DB, least, most moment) error {
	found := map[string]string{}
	for item, err := range db.All() {
		if err != nil {
			return err
		}
		found[string(item.Key)] = string(item.Value)
	}
	for i, w := range c {
		n, err := w.check(found, least[i], most[i])
		if err != nil {
			return err
		}
		w.started.Store(n)
		w.written.Store(n)
		w.durable.Store(n)
	}
	return nil
}

// run lets all writers write until one of them, or until, says that it is over.
func (c crowd) run(db *DB, until func() bool) error {
	var wg sync.WaitGroup
	errs := make([]error, len(c))
	for i, w := range c {
		wg.Go(func() {
			for n := w.started.Load() + 1; !until(); n++ {
				if errs[i] = w.apply(db, n); errs[i] != nil {
					return
				}
				if n%8 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// crowdOptions make rounds, segments and evictions come often: four writers have some
// twenty pages.
func crowdOptions(fsys disk.FS, trapOnly bool) *Options {
	return &Options{
		MemoryBudget:    8 << 20,
		DirtyBudget:     1 << 20,
		LogBytes:        128 << 10,
		SegmentBytes:    64 << 10,
		CheckpointEvery: -1,
		TrapOnly:        trapOnly,
		fs:              fsys,
		room:            12,
	}
}

// reopenCheck opens what a crash has left and checks it, then writes, closes and
// checks again.
func (c crowd) reopenCheck(dir string, o *Options, least, most moment) error {
	db, err := Open(dir, o)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := c.check(db, least, most); err != nil {
		return err
	}
	if _, err := db.Verify(context.Background()); err != nil {
		return err
	}
	for _, w := range c {
		for range 5 {
			if err := w.apply(db, w.started.Load()+1); err != nil {
				return err
			}
		}
	}
	if err := db.Close(); err != nil {
		return err
	}
	if db, err = Open(dir, o); err != nil {
		return fmt.Errorf("once more: %w", err)
	}
	defer db.Close()
	if err := c.check(db, c.now(startedBy), c.now(startedBy)); err != nil {
		return fmt.Errorf("once more: %w", err)
	}
	return nil
}

// powerCut runs writers, checkpoints and audits on a store in memory until call
// number at, cuts the power before it, and checks what each loss leaves.
func powerCut(t *testing.T, seed uint64, at int64, lies string) (checked int, err error) {
	dir := t.TempDir()
	m := memdisk.New()
	if lies != "" {
		m.Lies = filepath.Join(dir, lies)
	}
	c := newCrowd(4)
	rng := rand.New(rand.NewPCG(seed, 1))
	type image struct {
		fs   *memdisk.FS
		loss memdisk.Loss
	}
	var mu sync.Mutex
	var calls int64
	var images []image
	var written, durable, most moment
	var cut atomic.Bool
	m.SetHook(func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls == at {
			written, durable = c.now(writtenBy), c.now(durableBy)
			for how := range memdisk.NumLoss {
				images = append(images, image{m.Crash(how, rng), how})
			}
			most = c.now(startedBy)
			cut.Store(true)
		}
		if cut.Load() {
			return memdisk.ErrCut
		}
		return nil
	})
	o := crowdOptions(m, seed%2 == 0)
	db, err := Open(dir, o)
	if err == nil {
		var others sync.WaitGroup
		others.Go(func() {
			for !cut.Load() {
				if err := db.Checkpoint(context.Background()); err != nil && !errors.Is(err, ErrStopped) {
					t.Errorf("checkpoint: %v", err)
				}
				runtime.Gosched()
			}
		})
		others.Go(func() {
			for !cut.Load() {
				if err := db.Audit(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
					t.Error(err)
					return
				}
				runtime.Gosched()
			}
		})
		err = c.run(db, cut.Load)
		if err != nil && !errors.Is(err, memdisk.ErrCut) {
			t.Fatal(err)
		}
		others.Wait()
		_ = db.Close()
	} else if !errors.Is(err, memdisk.ErrCut) {
		t.Fatal(err)
	}
	for _, im := range images {
		when := fmt.Sprintf("cut before call %d, seed %d, %v", at, seed, im.loss)
		least := durable
		if im.loss == memdisk.Kill || im.loss == memdisk.Keep {
			least = written
		}
		again := im.fs.Crash(memdisk.Kill, nil)
		if err := c.reopenCheck(dir, crowdOptions(im.fs, seed%2 == 1), least, most); err != nil {
			return checked, fmt.Errorf("%s: %w", when, err)
		}
		if im.loss != memdisk.Keep { // it is on disk then
			least = durable
		}
		again.CutAt(rng.Int64N(30))
		if db, err := Open(dir, crowdOptions(again, false)); err == nil {
			_ = db.Close()
		}
		how := memdisk.Keep + memdisk.Loss(rng.IntN(int(memdisk.NumLoss-memdisk.Keep)))
		if err := c.reopenCheck(dir, crowdOptions(again.Crash(how, rng), false), least, most); err != nil {
			return checked, fmt.Errorf("%s, then in recovery, %v: %w", when, how, err)
		}
		checked++
	}
	return checked, nil
}

// TestPowerCut has four writers on a store, each writing numbers to keys of its
// own, singly and in batches of two, some waiting for the disk and some not, with
// checkpoints and audits all the time. The power is cut before some call to the
// file system, and what is left is opened; and once more after a second power cut
// somewhere in that recovery. Of each writer there must be its writes up to some
// number and none after, no batch may be there by half, and
// nothing that was acknowledged as durable may be missing; after a kill, nothing
// that the kernel had. TestPowerCutControl shows that a loss is noticed.
func TestPowerCut(t *testing.T) {
	watchdog(t)
	checked := 0
	base := campaign.Seed(t)
	rng := rand.New(rand.NewPCG(base, 3))
	runs := uint64(campaign.Scale(t, 40))
	for i := range runs {
		n, err := powerCut(t, base+i, 1+rng.Int64N(10+int64(i%40)*25), "")
		if err != nil {
			t.Fatal(err)
		}
		checked += n
	}
	if checked != int(runs)*int(memdisk.NumLoss) {
		t.Errorf("%d images checked", checked)
	}
	t.Logf("%d states", checked)
}

// TestPowerCutControl is TestPowerCut on a disk that lies about the syncs of the
// journal, of the data file, or of a segment of the log. Each must be noticed at
// least once.
func TestPowerCutControl(t *testing.T) {
	watchdog(t)
	for _, lies := range []string{"journal", "data", "wal/0000000000000000.log"} {
		noticed := error(nil)
		for seed := uint64(0); noticed == nil && seed < 60; seed++ {
			_, noticed = powerCut(t, seed, 60+int64(seed)*10, lies)
		}
		if noticed == nil {
			t.Errorf("syncs of %s do nothing, and nobody notices", lies)
		}
		t.Logf("syncs of %s do nothing: %v", lies, noticed)
	}
}

// A stillFS is a real file system that can be made to stand still, so that a copy
// of a directory is what a kill at that moment would leave.
type stillFS struct {
	disk.FS
	moving sync.RWMutex
}

func (s *stillFS) Open(name string, create bool) (disk.File, error) {
	s.moving.RLock()
	defer s.moving.RUnlock()
	f, err := s.FS.Open(name, create)
	if err != nil {
		return nil, err
	}
	return stillFile{f, f.(disk.Mapper), s}, nil
}

func (s *stillFS) Rename(old, new string) error {
	s.moving.RLock()
	defer s.moving.RUnlock()
	return s.FS.Rename(old, new)
}

func (s *stillFS) Remove(name string) error {
	s.moving.RLock()
	defer s.moving.RUnlock()
	return s.FS.Remove(name)
}

// A stillFile can be mapped, too: stores to the mapping go on while the rest
// stands still. Such a copy holds of each record all, a part or nothing, as a kill
// would leave it.
type stillFile struct {
	disk.File
	disk.Mapper
	fs *stillFS
}

func (f stillFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.moving.RLock()
	defer f.fs.moving.RUnlock()
	return f.File.WriteAt(p, off)
}

func (f stillFile) Allocate(size int64) error {
	f.fs.moving.RLock()
	defer f.fs.moving.RUnlock()
	return f.File.Allocate(size)
}

func (f stillFile) Truncate(size int64) error {
	f.fs.moving.RLock()
	defer f.fs.moving.RUnlock()
	return f.File.Truncate(size)
}

// TestKill is TestPowerCut with real files, and kills in place of power cuts: the
// directory is copied while the files stand still and the writers try to go on.
// Whatever the kernel had before the copy must be in it. The control is a copy
// that is said to hold one write more than there was.
func TestKill(t *testing.T) {
	watchdog(t)
	bothWays(t, func(t *testing.T, trapOnly bool) {
		still := &stillFS{FS: disk.OS}
		dir, copies := t.TempDir(), t.TempDir()
		db := open(t, dir, crowdOptions(still, trapOnly))
		c := newCrowd(4)
		var over atomic.Bool
		var others sync.WaitGroup
		loop := func(fn func() error) {
			others.Go(func() {
				for !over.Load() {
					if err := fn(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
						t.Error(err)
						return
					}
					runtime.Gosched()
				}
			})
		}
		loop(db.Audit)
		loop(func() error { return db.Checkpoint(context.Background()) })
		type image struct {
			dir         string
			least, most moment
		}
		var images []image
		others.Go(func() {
			defer over.Store(true)
			for i := range 6 {
				for goal := c.writes() + 100; c.writes() < goal && !over.Load(); {
					runtime.Gosched()
				}
				im := image{dir: filepath.Join(copies, strconv.Itoa(i))}
				still.moving.Lock()
				im.least = c.now(writtenBy)
				err := os.CopyFS(im.dir, os.DirFS(dir))
				im.most = c.now(startedBy)
				still.moving.Unlock()
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
				images = append(images, im)
			}
		})
		if err := c.run(db, over.Load); err != nil {
			t.Error(err)
		}
		over.Store(true)
		others.Wait()
		for i, im := range images {
			if err := c.reopenCheck(im.dir, crowdOptions(nil, !trapOnly), im.least, im.most); err != nil {
				t.Fatalf("copy %d: %v", i, err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d pages evicted", evicted(db))
		wrong := c.now(startedBy)
		for i := range wrong {
			wrong[i] += 10
		}
		if err := c.reopenCheck(images[0].dir, crowdOptions(nil, trapOnly), wrong, wrong); err == nil {
			t.Error("a copy is said to hold writes that were never made")
		}
	})
}
