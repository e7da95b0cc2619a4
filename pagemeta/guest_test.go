package pagemeta

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"faultline/internal/campaign"
)

// stamped is a page that is full of one number.
func stamped(n uint64) (p Page) {
	for at := 0; at < PageBytes; at += 8 {
		binary.LittleEndian.PutUint64(p[at:], n)
	}
	return p
}

// guest returns the number that page id is full of, if it is a guest.
func guest(t *testing.T, table *Table, id PageID) (n uint64, ok bool) {
	t.Helper()
	trap := attempt(table, func(*Trap) {
		version, is := table.Guest(id)
		if ok = is; !is {
			return
		}
		image := *table.Page(id)
		n = binary.LittleEndian.Uint64(image[:])
		if image != stamped(n) || !table.StillGuest(id, version) {
			t.Errorf("page %d is not whole", id)
		}
	})
	if trap.Hit() {
		t.Errorf("page %d is a guest and not there", id)
	}
	return n, ok
}

// TestGuests brings some, and refreshes pages of every kind.
func TestGuests(t *testing.T) {
	const pages, absent = 12, 0 // absent: no guest
	table := newTable(t, Config{Pages: pages, Owner: newOwner()})
	bring := func(id PageID, most, good int) int {
		return table.Bring(id, most, func(n int) []Page {
			images := NewPages(n)
			for i := range images {
				images[i] = stamped(uint64(id) + uint64(i))
			}
			return images[:min(good, n)]
		})
	}
	want := func(when string, numbers ...uint64) {
		t.Helper()
		guests := 0
		for id, want := range numbers {
			got, ok := guest(t, table, PageID(id))
			if got != want || ok != (want != absent) {
				t.Errorf("%s: page %d has %d (%t), want %d", when, id, got, ok, want)
			}
			if ok {
				guests++
			}
		}
		if n := table.Metrics().GuestPages; n != guests {
			t.Errorf("%s: %d guests counted, there are %d", when, n, guests)
		}
	}
	reach(t, table, 7, Dirty)
	table.Fresh(9)
	for _, b := range []struct{ id, most, good, n int }{
		{1, 4, 3, 4},             // one of them is bad
		{1, 4, 4, 0},             // the first is there
		{4, 9, 9, 3},             // 7 is Dirty
		{9, 1, 1, 0},             // the file does not have it
		{10, 100, 100, 2},        // to the end
		{pages, 1, 1, 0},         // no page
		{pages + 1<<20, 1, 1, 0}, // neither
	} {
		if n := bring(PageID(b.id), b.most, b.good); n != b.n {
			t.Errorf("%d pages from %d on: %d brought, want %d", b.most, b.id, n, b.n)
		}
	}
	want("brought", absent, 1, 2, 3, 4, 5, 6, absent, absent, absent, 10, 11)
	if n := table.Resident(); n != 1 {
		t.Errorf("%d pages in memory beside guests, want that which is Dirty", n)
	}

	version, _ := table.Guest(6)
	if err := table.Prepare(5); err != nil { // a page as others
		t.Fatal(err)
	}
	images := NewPages(8)
	for i := range images {
		images[i] = stamped(uint64(100 + i))
	}
	table.Refresh(3, images) // 3 to 10: guests, two Dirty pages, and pages that are not there
	want("refreshed", absent, 1, 2, 100, 101, absent, 103, absent, 105, 106, 107, 11)
	if table.StillGuest(6, version) {
		t.Error("page 6 has another image and no other version")
	}
	for _, id := range []PageID{5, 7} {
		if s := table.State(id); s != Dirty {
			t.Errorf("page %d is %v", id, s)
		}
	}

	version, _ = table.Guest(6)
	table.clock.mu.Lock()
	for table.evict(pages) > 0 {
	}
	table.clock.mu.Unlock()
	if err := table.Ask(6, Cold); err != nil { // it comes back as a page as others
		t.Fatal(err)
	}
	if table.StillGuest(6, version) {
		t.Error("page 6 was a guest, and is still said to be")
	}
	want("evicted", make([]uint64, pages)...)
	if n := table.Resident(); n != 3 {
		t.Errorf("%d pages in memory after all guests are gone", n)
	}
}

// TestGuestsWithoutRoom refreshes more pages than there is room for: they do not come, and
// push nothing out.
func TestGuestsWithoutRoom(t *testing.T) {
	const pages, room = 200, 100
	table := newTable(t, Config{Pages: pages, Memory: memoryFor(room, pages), Owner: newOwner()})
	reach(t, table, pages-1, Clean) // the tables have what is theirs
	table.Refresh(1, NewPages(60))
	table.Refresh(61, NewPages(60))
	if m := table.Metrics(); m.GuestPages != 60 || m.Evicted != 0 {
		t.Errorf("%+v", m)
	}
	table.Refresh(1, NewPages(120)) // none is what it was
	if m := table.Metrics(); m.GuestPages != 0 {
		t.Errorf("%+v", m)
	}
}

// A guestStorm has a file of pages that are written beside the table, each full of one
// number that no page has twice, and turned into a page as others now and then.
type guestStorm struct {
	table *Table
	gate  sync.RWMutex // as of the flusher
	disk  [guestPages]struct {
		sync.Mutex
		Page
	}
	newest   [guestPages]atomic.Uint64
	believed atomic.Int64
	over     atomic.Bool
}

const (
	guestPages   = 6
	guestWriters = 2 // each has every second page
	guestReaders = 3
)

// write gives page id another image.
func (s *guestStorm) write(id PageID) {
	n := s.newest[id].Load() + 1
	images := []Page{stamped(n)}
	s.disk[id].Lock()
	s.disk[id].Page = images[0]
	s.disk[id].Unlock()
	s.table.Refresh(id, images)
	s.newest[id].Store(n)
}

// change makes page id one as others, changes it, and has it written, so that it can be a
// guest again.
func (s *guestStorm) change(id PageID) error {
	s.gate.RLock()
	for {
		var trap Trap
		if err := s.table.Prepare(id); err != nil {
			return errors.Join(err, errors.New("prepare"))
		}
		trap = attempt(s.table, func(trap *Trap) {
			p := s.table.Page(id)
			p.Touch()
			for v := s.table.Version(id); !s.table.Latch(id, v); v = s.table.Version(id) {
			}
			trap.Commit()
			*s.table.Writing(id) = stamped(^uint64(0))
			s.table.Unlatch(id, true)
		})
		if !trap.Hit() {
			break
		}
		if err := s.table.Resolve(&trap, ToWrite); err != nil {
			return err
		}
	}
	s.gate.RUnlock()
	s.gate.Lock()
	cut, err := s.table.Freeze(nil)
	s.gate.Unlock()
	var image Page
	for _, p := range cut {
		s.table.Capture(p.ID, &image)
		s.table.Written(p.ID)
	}
	return err
}

// read reads page id, from memory if it is a guest, and makes it one if not.
func (s *guestStorm) read(id PageID) (torn bool) {
	newest := s.newest[id].Load()
	var image Page
	believed := false
	trap := attempt(s.table, func(*Trap) {
		version, ok := s.table.Guest(id)
		if !ok || binary.LittleEndian.Uint64(s.table.Page(id)[:]) < newest {
			return
		}
		copy(image[:PageBytes/2], s.table.Page(id)[:])
		runtime.Gosched()
		copy(image[PageBytes/2:], s.table.Page(id)[PageBytes/2:])
		believed = s.table.StillGuest(id, version)
	})
	if !trap.Hit() && believed {
		s.believed.Add(1)
		return image != stamped(binary.LittleEndian.Uint64(image[:]))
	}
	s.table.Bring(id, 3, func(n int) []Page {
		images := NewPages(n)
		for i := range images {
			d := &s.disk[id+PageID(i)]
			d.Lock()
			images[i] = d.Page
			d.Unlock()
		}
		return images
	})
	return false
}

// TestGuestStorm writes pages beside the table, turns them into others and back, reads them
// without locks and evicts them, all at once: what is believed must be whole.
func TestGuestStorm(t *testing.T) {
	watchdog(t)
	s := &guestStorm{table: newTable(t, Config{Pages: guestPages, Owner: newOwner()})}
	var writers, others sync.WaitGroup
	var changing sync.Mutex
	seed, enough := campaign.Seed(t), campaign.Scale(t, 20_000)
	loop := func(fn func(r *rand.Rand)) {
		others.Go(func() {
			for r := rand.New(rand.NewPCG(seed, 1)); !s.over.Load(); {
				fn(r)
				runtime.Gosched()
			}
		})
	}
	for w := range guestWriters {
		r := rand.New(rand.NewPCG(seed, uint64(w)))
		writers.Go(func() {
			for i := 0; !s.over.Load() && (i < enough || s.believed.Load() < 1000); i++ {
				id := PageID(r.IntN(guestPages/guestWriters)*guestWriters + w)
				if i%16 == 0 {
					changing.Lock()
					err := s.change(id)
					changing.Unlock()
					if err != nil {
						t.Error(err)
					}
				}
				s.write(id)
			}
		})
	}
	for range guestReaders {
		loop(func(r *rand.Rand) {
			if id := PageID(r.IntN(guestPages)); s.read(id) {
				t.Errorf("page %d is torn", id)
				s.over.Store(true)
			}
		})
	}
	loop(func(*rand.Rand) {
		s.table.clock.mu.Lock()
		s.table.evict(2)
		s.table.clock.mu.Unlock()
	})
	writers.Wait()
	s.over.Store(true)
	others.Wait()
	t.Logf("%d reads of guests, %+v", s.believed.Load(), s.table.Metrics())
}
