package flusher

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"faultline/internal/disk"
	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

const rigDir = "/d"

// A state is what the pages hold: of each the stamp that was stored last.
type state = map[pagemeta.PageID]uint64

// A rig is a Flusher with the least owner that there can be: pages with a number
// in each, and a log that only counts. What all pages held at each cut is kept,
// so that what is found after a crash can be compared with the cut that page 0
// says it is.
type rig struct {
	t   testing.TB
	fs  *memdisk.FS
	f   *Flusher
	log *rigLog

	pages    int // page 0 is the superblock: it has the LSN of the cut
	end      int // pages of the data file, if there are more
	capacity int

	stamp *uint64                   // of the newest store; over all lives of a chain
	state state                     // the pages now
	hist  map[uint64]state          // by LSN of the cut
	cuts  []uint64                  // LSNs of all cuts, in order
	done  uint64                    // LSN of the newest cut that Checkpoint has returned for
	trace *strings.Builder          // one letter a call: see letter
	when  map[string]func()         // by letter: run before the next such call
	fail  func(letter string) error // for each call, by letter
}

// A rigLog is a Log of stamps.
type rigLog struct {
	r       *rig
	durable uint64
	trimmed uint64
}

func (l *rigLog) Sync(_ context.Context, lsn uint64) error {
	if err := l.r.step("L"); err != nil {
		return err
	}
	l.durable = max(l.durable, lsn)
	return nil
}

func (l *rigLog) Trim(lsn uint64) error {
	if err := l.r.step("T"); err != nil {
		return err
	}
	if l.r.fs.Lies == "" && (lsn > l.durable || lsn > l.r.onDisk()) {
		l.r.t.Errorf("log trimmed up to %d, %d is durable, the data file has %d", lsn, l.durable, l.r.onDisk())
	}
	l.trimmed = lsn
	return nil
}

// onDisk is the LSN in page 0 of the data file, as a power cut would leave it.
func (r *rig) onDisk() uint64 {
	return binary.LittleEndian.Uint64(r.fs.Durable(r.path("data"))[pagemeta.HeaderBytes:])
}

func (r *rig) path(name string) string { return filepath.Join(rigDir, name) }

func newRig(t testing.TB, m *memdisk.FS) *rig {
	return &rig{
		t: t, fs: m, pages: 7, capacity: 64,
		stamp: new(uint64), state: state{}, hist: map[uint64]state{},
		trace: &strings.Builder{}, when: map[string]func(){},
	}
}

// reopened is a rig for what a crash has left of r, with all that r knows.
func (r *rig) reopened(m *memdisk.FS) *rig {
	n := newRig(r.t, m)
	n.pages, n.end, n.capacity = r.pages, r.end, r.capacity
	n.stamp, n.hist, n.cuts, n.done = r.stamp, r.hist, r.cuts, r.done
	return n
}

// letter names a call of the file system: J and j for write and sync of the
// journal, R and r of the rounds, D and d of the data file, a for more room in
// these, and other names.
func letter(op, path string) string {
	name := filepath.Base(path)
	switch {
	case op == "write" && name == "journal":
		return "J"
	case op == "sync" && name == "journal":
		return "j"
	case op == "write" && name == "data":
		return "D"
	case op == "sync" && name == "data":
		return "d"
	case op == "write" && name == "rounds":
		return "R"
	case op == "sync" && name == "rounds":
		return "r"
	case op == "allocate" && name != "journal":
		return "a"
	}
	return op + " "
}

// step comes before every call: of the file system, and of the log (L, T).
func (r *rig) step(l string) error {
	if fn := r.when[l]; fn != nil {
		delete(r.when, l)
		fn()
	}
	if r.fail != nil {
		if err := r.fail(l); err != nil {
			return err
		}
	}
	r.trace.WriteString(l)
	return nil
}

// tryOpen opens the Flusher, and with it the pages of the cut that it finds.
func (r *rig) tryOpen(readOnly bool) error {
	r.fs.SetHook(func(op, path string) error { return r.step(letter(op, path)) })
	f, empty, err := Open(Config{FS: r.fs, Dir: rigDir, Capacity: r.capacity, Credits: 4000, ReadOnly: readOnly})
	if errors.Is(err, errors.ErrUnsupported) {
		r.t.Skip(err)
	}
	if err != nil {
		return err
	}
	r.f, r.log = f, &rigLog{r: r}
	if empty {
		for id := range pagemeta.PageID(r.pages) {
			f.Pages.Fresh(id)
		}
	}
	return nil
}

func (r *rig) open() {
	r.t.Helper()
	if err := r.tryOpen(false); err != nil {
		r.t.Fatal(err)
	}
	r.start()
}

func (r *rig) openReadOnly() {
	r.t.Helper()
	if err := r.tryOpen(true); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) start() { r.f.Start(r.log, r.cut, func() {}) }

func (r *rig) close() {
	r.t.Helper()
	if err := r.f.Close(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

// abandon closes a Flusher that has met its crash.
func (r *rig) abandon() { _ = r.f.Close(context.Background()) }

// cut completes page 0, with the gate closed.
func (r *rig) cut() (Cut, error) {
	at := Cut{From: *r.stamp, Through: *r.stamp, Pages: max(r.pages, r.end)}
	if r.f.Pages.Dirty() == 0 {
		return at, nil
	}
	if err := r.store(0, at.Through); err != nil {
		return at, err
	}
	r.hist[at.Through] = maps.Clone(r.state)
	r.cuts = append(r.cuts, at.Through)
	return at, nil
}

// store sets the stamp of page id, in two phases.
func (r *rig) store(id pagemeta.PageID, stamp uint64) error {
	pages := r.f.Pages
	attempt := func() (trap pagemeta.Trap) {
		defer pages.Catch(&trap, pagemeta.Arm())
		p := pages.Page(id)
		p.Touch()
		trap.Commit()
		p.SetKind(1)
		binary.LittleEndian.PutUint64(p[pagemeta.HeaderBytes:], stamp)
		binary.LittleEndian.PutUint64(p[roundsCountAt-8:], stamp)
		return trap
	}
	for {
		trap := attempt()
		if !trap.Hit() {
			r.state[id] = stamp
			return nil
		}
		if err := pages.Resolve(&trap, pagemeta.ToWrite); err != nil {
			return err
		}
	}
}

// load returns the stamp of page id; one that is not the same at both ends of
// the page is an error.
func (r *rig) load(id pagemeta.PageID) (uint64, error) {
	pages := r.f.Pages
	attempt := func() (stamps [2]uint64, trap pagemeta.Trap) {
		defer pages.Catch(&trap, pagemeta.Arm())
		p := pages.Page(id)
		stamps[0] = binary.LittleEndian.Uint64(p[pagemeta.HeaderBytes:])
		stamps[1] = binary.LittleEndian.Uint64(p[roundsCountAt-8:])
		return stamps, trap
	}
	for {
		stamps, trap := attempt()
		if !trap.Hit() {
			if stamps[0] != stamps[1] {
				return 0, fmt.Errorf("page %d: %d at its begin, %d at its end", id, stamps[0], stamps[1])
			}
			return stamps[0], nil
		}
		if err := pages.Resolve(&trap, pagemeta.ToRead); err != nil {
			return 0, err
		}
	}
}

// tryWrite is one operation: it stores a new stamp to each of ids.
func (r *rig) tryWrite(ids ...pagemeta.PageID) error {
	n, err := r.f.Begin(context.Background(), len(ids), 0)
	if err != nil {
		return err
	}
	defer r.f.End(n, 0)
	*r.stamp++
	for _, id := range ids {
		if err := r.store(id, *r.stamp); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) write(ids ...pagemeta.PageID) {
	r.t.Helper()
	if err := r.tryWrite(ids...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) writeAll() {
	r.t.Helper()
	for id := range pagemeta.PageID(r.pages - 1) {
		r.write(id + 1)
	}
}

// tryCheckpoint notes which cut is durable when it returns.
func (r *rig) tryCheckpoint() error {
	err := r.f.Checkpoint(context.Background())
	if err == nil {
		r.done = r.cuts[len(r.cuts)-1]
	}
	return err
}

func (r *rig) checkpoint() {
	r.t.Helper()
	if err := r.tryCheckpoint(); err != nil {
		r.t.Fatal(err)
	}
}

// crashAt makes a round that ends before the call of the file system op on name,
// and returns what a crash then leaves.
func (r *rig) crashAt(op, name string, how memdisk.Loss) (left *memdisk.FS) {
	r.t.Helper()
	want := letter(op, name)
	r.fail = func(l string) error {
		if left == nil && l == want {
			left = r.fs.Crash(how, rand.New(rand.NewPCG(1, 1)))
		}
		if left != nil {
			return memdisk.ErrCut
		}
		return nil
	}
	if err := r.tryCheckpoint(); !errors.Is(err, memdisk.ErrCut) || left == nil {
		r.t.Fatalf("round that should not end: %v", err)
	}
	r.abandon()
	return left
}

// wholeJournal is a rig, and what a kill leaves of it between B and C of a round of
// few pages.
func wholeJournal(t testing.TB) (*rig, *memdisk.FS) {
	t.Helper()
	r := newRig(t, memdisk.New())
	r.open()
	r.writeAll()
	r.checkpoint()
	r.write(1)
	r.write(4)
	return r, r.crashAt("write", "data", memdisk.Kill)
}

// check compares the pages with the cut that page 0 says they are, and returns
// its LSN: 0 if there is no page yet. It must not be older than the newest that
// is known to be durable. The rig goes on from there.
func (r *rig) check(when string) (lsn uint64) {
	r.t.Helper()
	lsn, err := r.tryCheck()
	if err != nil {
		r.t.Fatalf("%s: %v", when, err)
	}
	return lsn
}

func (r *rig) tryCheck() (lsn uint64, err error) {
	if lsn, err = r.load(0); err != nil {
		return 0, err
	}
	if lsn < r.done {
		return 0, fmt.Errorf("cut %d, that of %d was durable", lsn, r.done)
	}
	want, ok := r.hist[lsn]
	if !ok && lsn != 0 {
		return 0, fmt.Errorf("cut %d, there was none", lsn)
	}
	for id := range pagemeta.PageID(r.pages) {
		got, err := r.load(id)
		if err != nil {
			return 0, err
		}
		if got != want[id] {
			return 0, fmt.Errorf("page %d has %d, at cut %d it had %d", id, got, lsn, want[id])
		}
	}
	r.state = maps.Clone(want)
	if r.state == nil {
		r.state = state{}
	}
	return lsn, nil
}

var _ disk.FS = (*memdisk.FS)(nil)
