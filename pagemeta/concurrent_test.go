package pagemeta

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"faultline/internal/campaign"
)

// TestOneMkwrite has many goroutines store to one page at the same moment, by
// traps and by Prepare, when it is Clean, Frozen and in Flight in turn. In each
// round exactly one head must be attached, and all stores must be there.
func TestOneMkwrite(t *testing.T) {
	watchdog(t)
	const writers, rounds = 32, 100
	bothWays(t, func(t *testing.T, trapOnly bool) {
		o := newOwner()
		table := newTable(t, Config{Pages: 8, Owner: o, TrapOnly: trapOnly})
		var want Page
		for round := range rounds {
			heads := o.attached()
			var wg sync.WaitGroup
			start := make(chan struct{})
			for w := range writers {
				at := HeaderBytes + w
				want[at] = byte(round + w)
				wg.Go(func() {
					<-start
					if err := table.Prepare(3); err != nil {
						t.Error(err)
					}
					_, err := operate(table, ToWrite, func(tr *Trap) {
						table.Page(3).Touch()
						tr.Commit()
						table.Page(3)[at] = byte(round + w)
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			close(start)
			wg.Wait()
			if n := o.attached() - heads; n != 1 {
				t.Fatalf("round %d: %d heads, want 1", round, n)
			}
			var got Page
			if _, err := operate(table, ToRead, func(*Trap) { got = *table.Page(3) }); err != nil || got != want {
				t.Fatalf("round %d: a store is lost (%v)", round, err)
			}
			if _, err := table.Freeze(nil); err != nil {
				t.Fatal(err)
			}
			if round%3 > 0 {
				table.Capture(3, &got)
			}
			if round%3 > 1 {
				table.Written(3)
			}
		}
		audit(t, table)
	})
}

// TestClose closes a table while goroutines read it, page after page. Each must
// end with ErrClosed, with no other error and no crash; a table of the same size
// must then get the same addresses, and work.
func TestClose(t *testing.T) {
	watchdog(t)
	const pages = 611 // no other test has that many: the addresses are known
	base := uintptr(0)
	for round := range 20 {
		table := newTable(t, Config{Pages: pages, Owner: newOwner(), TrapOnly: round%2 == 0})
		if base != 0 && table.arena.base() != base {
			t.Fatalf("arena at %#x, the closed one was at %#x", table.arena.base(), base)
		}
		base = table.arena.base()
		if b, _, err := read(table, 1); err != nil || b != 0 {
			t.Fatalf("first byte %d, %v", b, err)
		}
		var readers, begun sync.WaitGroup
		for g := range 8 {
			begun.Add(1)
			readers.Go(func() {
				for i := 0; ; i++ {
					id := PageID((i*(g+1) + g) % pages)
					err := table.Ask(id, Warm)
					if err == nil {
						_, _, err = read(table, id)
					}
					if i == 10 {
						begun.Done()
					}
					if i%64 == 0 {
						runtime.Gosched()
					}
					if err == nil {
						continue
					}
					if !errors.Is(err, ErrClosed) {
						t.Errorf("reader: %v", err)
					}
					return
				}
			})
		}
		begun.Wait()
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
		readers.Wait()
		for what, err := range map[string]error{
			"ask": table.Ask(1, Warm), "audit": table.Audit(), "second close": table.Close(),
		} {
			if what == "second close" && err != nil || what == "audit" && err != ErrClosed {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := table.Prepare(1); table.TrapOnly == (err != nil) {
			t.Errorf("prepare: %v", err)
		}
	}
}

// A storm is writers, a flusher, an auditor and a collector on one table. The
// model is the content that each page must have, in the heap; a page's words
// have one writer each.
type storm struct {
	table *Table
	owner *testOwner
	gate  sync.RWMutex // writers shared, freeze alone
	model [stormPages][stormWriters]uint64
	disk  [stormPages]Page // as last written

	rounds int
	enough int // rounds, and captures by writers, until it is over
	over   atomic.Bool

	// touch makes a page writable, in the first phase of a write.
	touch func(p *Page)
	// sabotage is called after each freeze; a control breaks the rules here.
	sabotage func(cut []FrozenPage)
}

const (
	stormPages   = 24
	stormWriters = 16
	stormRounds  = 100
)

// write makes the stores of writer w.
func (s *storm) write(ctx context.Context, w int) error {
	r := rand.New(rand.NewPCG(1, uint64(w)))
	for i := uint64(0); !s.over.Load() && ctx.Err() == nil; i++ {
		if i%16 == 0 {
			runtime.Gosched() // on one processor, too, all take part
		}
		id := PageID(r.IntN(stormPages))
		s.gate.RLock()
		_, err := operate(s.table, ToWrite, func(tr *Trap) {
			p := s.table.Page(id)
			s.touch(p)
			tr.Commit()
			binary.LittleEndian.PutUint64(p[HeaderBytes+8*w:], i+1)
		})
		s.model[id][w] = i + 1
		s.gate.RUnlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// round takes the Dirty pages to disk. Each image must be the model's page at
// the freeze, whoever captured it.
func (s *storm) round() error {
	if s.rounds%2 == 1 {
		s.gate.Lock()
		_, _, err := s.table.FreezeAhead(0, 1)
		s.gate.Unlock()
		if err != nil {
			return err
		}
		runtime.Gosched() // writers may change again what is frozen
	}
	s.gate.Lock()
	cut, err := s.table.Freeze(nil)
	want := make([][stormWriters]uint64, len(cut))
	for i, p := range cut {
		want[i] = s.model[p.ID]
	}
	s.gate.Unlock()
	if err != nil {
		return err
	}
	if s.sabotage != nil {
		s.sabotage(cut)
	}
	for i, p := range cut {
		runtime.Gosched() // a writer may be faster than the capture
		var image Page
		if !s.table.Capture(p.ID, &image) {
			s.owner.mu.Lock()
			image = s.owner.mu.images[p.ID]
			s.owner.mu.Unlock()
		}
		if err := sameWords(&image, &want[i]); err != nil {
			return fmt.Errorf("image of page %d: %w", p.ID, err)
		}
		s.disk[p.ID] = image
		s.table.Written(p.ID)
	}
	s.rounds++
	if s.rounds >= s.enough && (s.sabotage != nil || s.table.Metrics().Captured >= uint64(s.enough)) {
		s.over.Store(true)
	}
	return nil
}

func sameWords(p *Page, want *[stormWriters]uint64) error {
	for w, n := range want {
		if got := binary.LittleEndian.Uint64(p[HeaderBytes+8*w:]); got != n {
			return fmt.Errorf("word %d is %d, want %d", w, got, n)
		}
	}
	return nil
}

// run lets the storm blow, and compares at the end: with all pages Clean, the
// disk must be the memory, and both the model.
func (s *storm) run() error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var writers, others sync.WaitGroup
	loop := func(fn func() error) {
		others.Go(func() {
			for !s.over.Load() && ctx.Err() == nil {
				if err := fn(); err != nil {
					cancel(err)
				}
				runtime.Gosched()
			}
		})
	}
	for w := range stormWriters {
		writers.Go(func() {
			if err := s.write(ctx, w); err != nil {
				cancel(err)
			}
		})
	}
	loop(s.round)
	loop(func() error { runtime.GC(); return nil })
	if s.sabotage == nil {
		loop(func() error {
			if err := s.table.Audit(); !errors.Is(err, errors.ErrUnsupported) {
				return err
			}
			return nil
		})
	}
	writers.Wait()
	others.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return s.compare()
}

func (s *storm) compare() error {
	if err := s.round(); err != nil {
		return err
	}
	for id := range PageID(stormPages) {
		if state := s.table.State(id); state != Clean {
			return fmt.Errorf("page %d is %v", id, state)
		}
		if err := sameWords(&s.disk[id], &s.model[id]); err != nil {
			return fmt.Errorf("page %d on disk: %w", id, err)
		}
		var now Page
		if _, err := operate(s.table, ToRead, func(*Trap) { now = *s.table.Page(id) }); err != nil {
			return err
		}
		if now != s.disk[id] {
			return fmt.Errorf("page %d is clean, and its memory is not what is on disk", id)
		}
	}
	return nil
}

func newStorm(t *testing.T, trapOnly bool) *storm {
	o := newOwner()
	s := &storm{owner: o, enough: stormRounds, touch: (*Page).Touch, table: newTable(t, Config{Pages: stormPages, Owner: o, TrapOnly: trapOnly})}
	audit(t, s.table)
	return s
}

// TestStorm has 16 goroutines store by traps alone, beside one that freezes,
// captures and writes without pause, one that audits, and a loop of collections,
// on one, two and four processors: where a goroutine that traps needed another
// one to go on, the world would stop for good, and the watchdog would bark.
// Every image must be the page of its cut exactly, and at the end no store may be
// missing from the disk. TestStormControl shows that this would be noticed.
func TestStorm(t *testing.T) {
	watchdog(t)
	for _, procs := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			s := newStorm(t, true)
			s.enough = campaign.Scale(t, stormRounds)
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			m := s.table.Metrics()
			if m.MkwritePrepared != 0 || m.MkwriteTraps < uint64(s.enough) {
				t.Errorf("the storm was none: %+v", m)
			}
			t.Logf("%d traps", m.MkwriteTraps)
		})
	}
}

// TestStormControl makes frozen pages writable again behind the table's back, as
// a freeze would that marked them before they were protected. The same storm
// must then end with a complaint.
func TestStormControl(t *testing.T) {
	watchdog(t)
	s := newStorm(t, true)
	s.sabotage = func(cut []FrozenPage) {
		for _, p := range cut {
			if err := s.table.arena.fd.Unprotect(s.table.arena.addr(p.ID), PageBytes); err != nil {
				t.Error(err)
			}
		}
	}
	if err := s.run(); err == nil {
		t.Fatal("stores without a trap were not noticed")
	} else {
		t.Log(err)
	}
}

// TestAudit shows that the audit can fail: a Clean page, a Frozen one and one in
// Flight are each made writable behind the table's back. The audit must name the
// page and its state; and the store that then needs no trap is lost: the page is
// Clean, and its memory not what the disk has.
func TestAudit(t *testing.T) {
	for _, state := range []State{Clean, Frozen, Flight} {
		o := newOwner()
		table := newTable(t, Config{Pages: 200, Owner: o})
		for id := range PageID(200) { // much that is Dirty, and rightly so
			if id != 77 {
				reach(t, table, id, Dirty)
			}
		}
		if state == Clean {
			reach(t, table, 77, Clean)
		} else {
			cycle(t, table, o)
			reach(t, table, 77, state)
		}
		if err := table.Audit(); errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		if err := table.arena.fd.Unprotect(table.arena.addr(77), PageBytes); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("audit: page 77 is %v, and writable", state)
		if err := table.Audit(); err == nil || err.Error() != want {
			t.Errorf("%v: audit: %v, want %q", state, err, want)
		}
		if traps, err := store(table, 77, 9); err != nil || traps != 0 || table.State(77) != state {
			t.Errorf("%v: %d traps, %v, %v", state, traps, err, table.State(77))
		}
		if err := table.arena.fd.Protect(table.arena.addr(77), PageBytes); err != nil {
			t.Fatal(err)
		}
		audit(t, table)
	}
}
