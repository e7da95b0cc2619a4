package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"faultline/pagemeta"
)

// TestGroups checks, for limits around the borders of groups, that every page
// that may be taken has its bitmap below the limit.
func TestGroups(t *testing.T) {
	for _, limit := range []int{3, 100, groupPages - 1, groupPages, groupPages + 1, groupPages + 2, 2*groupPages + 1, 3 * groupPages} {
		var s space
		s.init(limit, State{})
		end := s.end()
		if end > limit || limit-end > bitmapPage {
			t.Errorf("limit %d becomes %d", limit, end)
		}
		if last := (end - 1) / groupPages; last*groupPages+bitmapPage >= end {
			t.Errorf("limit %d: group %d has no bitmap", end, last)
		}
		if want := end - groupsOf(end); s.free(end) != want {
			t.Errorf("limit %d: %d free, want %d", end, s.free(end), want)
		}
	}
}

// TestSecondGroup fills a file that ends a page behind the border of its first
// group, and one that ends in its second: puts fail only with ErrFull, deletes
// give everything back, and the check agrees throughout.
func TestSecondGroup(t *testing.T) {
	for _, limit := range []int{groupPages + 1, groupPages + 40} {
		tr, _ := newTree(t, limit, false)
		var key []byte
		value := make([]byte, MaxEntryBytes-8)
		n := 0
		for ; ; n++ {
			key = fmt.Appendf(key[:0], "%08d", n)
			_, err := tr.Put(&Op{}, key, value)
			if errors.Is(err, ErrFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		r, err := tr.Check(context.Background(), nil)
		if err != nil || r.Keys != uint64(n) {
			t.Fatalf("%d pages: %+v, %v, want %d keys", limit, r, err, n)
		}
		if room := limit - int(tr.State().Used); room > 3 {
			t.Errorf("%d pages: full with %d left", limit, room)
		}
		for i := range n {
			if _, err := tr.Delete(&Op{}, fmt.Appendf(key[:0], "%08d", i)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := tr.Check(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		if s := tr.State(); int(s.Used) != 2+groupsOf(int(s.Pages)) || s.Inner != 0 {
			t.Errorf("%d pages: emptied: %+v", limit, s)
		}
		if err := tr.Trim(); err != nil {
			t.Fatal(err)
		}
		if s := tr.State(); s.Pages != 3 || s.Used != 3 {
			t.Errorf("%d pages: trimmed: %+v", limit, s)
		}
		if limit%groupPages <= bitmapPage {
			continue // there is no second group
		}
		for i := range n { // it begins anew
			if _, err := tr.Put(&Op{}, fmt.Appendf(key[:0], "%08d", i), value); err != nil {
				t.Fatalf("%d pages: put %d of %d again: %v", limit, i, n, err)
			}
		}
		if r, err := tr.Check(context.Background(), nil); err != nil || r.Keys != uint64(n) {
			t.Fatalf("%d pages: filled again: %+v, %v, want %d keys", limit, r, err, n)
		}
	}
}

// TestRoom lets a tree have fewer pages than there can be. It must take no other, say so
// in time, and say truly how many would do; and it may lose room, but not what is in use
// or promised.
func TestRoom(t *testing.T) {
	tr, _ := newTree(t, 3*groupPages, false)
	tr.KeepSpare()
	const least = 20
	if !tr.SetRoom(least) {
		t.Fatal("there is room for the first pages")
	}
	value := make([]byte, 3000)
	for i, room := 0, least; i < 2000; {
		_, err := tr.Put(&Op{}, fmt.Appendf(nil, "%08d", i), value)
		if int(tr.State().Pages) > room {
			t.Fatalf("%d pages, room for %d", tr.State().Pages, room)
		}
		if err == nil {
			i++
			continue
		}
		want, e := tr.RoomFor(3)
		if !errors.Is(err, ErrNoRoom) || e != nil || want <= room {
			t.Fatalf("room for %d: %v; want room for %d, %v", room, err, want, e)
		}
		if room = want; !tr.SetRoom(room) {
			t.Fatalf("no more room taken: %d", room)
		}
	}
	var op Op
	pages := int(tr.State().Pages)
	if tr.SetRoom(pages - 1) {
		t.Error("gave up a page in use")
	}
	room, err := tr.RoomFor(50)
	if err != nil || !tr.SetRoom(room) {
		t.Fatal(room, err)
	}
	if err := tr.Promise(&op, 50); err != nil {
		t.Error(err)
	}
	if tr.SetRoom(pages) {
		t.Error("gave up what was promised")
	}
	tr.Release(&op)
	if !tr.SetRoom(pages) {
		t.Error("keeps what was given back")
	}
}

// TestMover fills a tree of three levels over two groups of pages, deletes most of it, so
// that what is left lies far behind, and has a Mover bring it down: the file must end
// where the pages in use do, and the tree must be as it was.
func TestMover(t *testing.T) {
	tr, _ := newTree(t, 2*groupPages, false)
	value := make([]byte, 3900)
	n := groupPages + 100
	for i := range n {
		if _, err := tr.Put(&Op{}, fmt.Appendf(nil, "%08d", i), value); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n - 300 {
		if i%100 != 0 {
			if _, err := tr.Delete(&Op{}, fmt.Appendf(nil, "%08d", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	before, err := tr.Check(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := tr.NewMover()
	for more := true; more; {
		if more, err = m.Step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Trim(); err != nil {
		t.Fatal(err)
	}
	after, err := tr.Check(context.Background(), nil)
	s := tr.State()
	if err != nil || after.Keys != before.Keys || after.Leaves != before.Leaves || after.Height != before.Height || m.Moved() < 200 {
		t.Errorf("%+v, %v, was %+v; %d moved", after, err, before, m.Moved())
	}
	if s.Pages > s.Used+1 || before.Height < 3 { // the bitmap of the second group is gone
		t.Errorf("%+v, height %d", s, before.Height)
	}
}

// TestPromise puts batches of small entries into a tree whose leaves are all
// full, where each splits a leaf. What Credits says must be enough: a batch that
// was promised its pages may not find the file full.
func TestPromise(t *testing.T) {
	tr, owner := newTree(t, 4000, false)
	full := 0
	for ; full < 30000; full++ { // ascending: every leaf but the last is full
		if _, err := tr.Put(&Op{}, fmt.Appendf(nil, "%06d", full), bytes.Repeat([]byte("v"), 60)); err != nil {
			t.Fatal(err)
		}
	}
	freeze(t, tr.pages)
	for _, n := range []int{1, 10, 100, 400, 3000} {
		var op Op
		entry := len("000000/0000") + 4
		dirty, grow := tr.Credits(n, n*entry)
		if err := tr.Promise(&op, grow); err != nil {
			t.Fatalf("promise %d pages for %d writes: %v", grow, n, err)
		}
		before, heads := tr.State(), owner.heads.Load()
		for i := range n {
			key := fmt.Appendf(nil, "%06d/%04d", i*full/n, n)
			if _, err := tr.Put(&op, key, []byte("more")); err != nil {
				t.Fatalf("batch of %d, write %d: %v", n, i, err)
			}
		}
		after := tr.State()
		if used := int(after.Used - before.Used); used > grow {
			t.Errorf("batch of %d: took %d pages, promised %d", n, used, grow)
		}
		if d := int(owner.heads.Load() - heads); d > dirty {
			t.Errorf("batch of %d: made %d pages dirty, credits for %d", n, d, dirty)
		}
		tr.Release(&op)
		freeze(t, tr.pages)
	}
	if p := tr.mu.space.promised; p != 0 {
		t.Errorf("%d pages promised at the end", p)
	}
	if _, err := tr.Check(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

// TestPromiseLasts has the file get shorter, and more changes come beside leaves, while an
// op uses what it was promised: it must get all of it.
func TestPromiseLasts(t *testing.T) {
	tr, _ := newTree(t, 3*groupPages, false)
	tr.KeepSpare()
	if err := tr.Defer(1<<20, 0); err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	value := make([]byte, 3000)
	put := func(op *Op, n int) error {
		_, err := tr.Put(op, fmt.Appendf(nil, "%08d", n), value)
		return err
	}
	n := 0
	for ; n < 500; n++ {
		if err := put(&Op{}, n); err != nil {
			t.Fatal(err)
		}
	}
	const promised, owing = 50, 40
	if !tr.SetRoom(int(tr.State().Pages)) {
		t.Fatal("free pages are not given up")
	}
	room, err := tr.RoomFor(promised + owing)
	if err != nil || !tr.SetRoom(room) {
		t.Fatal(room, err)
	}
	var op Op
	if err := tr.Promise(&op, promised); err != nil {
		t.Fatal(err)
	}
	for i := range owing { // the leaves need not be there
		if !tr.changes.add(pagemeta.PageID(groupPages+i), Change{Key: []byte("k"), Value: []byte("v")}) {
			t.Fatal("no room beside a leaf")
		}
	}
	if !tr.SetRoom(room - 8) {
		t.Fatal("no page is given up, though some are kept for recovery")
	}
	for op.pages > 0 {
		if err := put(&op, n); err != nil {
			t.Fatalf("put %d, %d pages promised: %v", n, op.pages, err)
		}
		n++
	}
}

// TestMovedMeanwhile puts to a leaf when a Mover has copied it and not yet moved it. The put
// must not be lost, and the leaf must be moved all the same.
func TestMovedMeanwhile(t *testing.T) {
	tr, _ := newTree(t, 1000, false)
	for i := range 400 {
		if _, err := tr.Put(&Op{}, fmt.Appendf(nil, "%08d", i), bytes.Repeat([]byte("o"), 1000)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 200 {
		if _, err := tr.Delete(&Op{}, fmt.Appendf(nil, "%08d", i)); err != nil {
			t.Fatal(err)
		}
	}
	m := tr.NewMover()
	puts := 0
	for found := movedOne; found == movedOne; {
		var key []byte
		err := tr.restructure(&Op{}, func(c *change) (s step) {
			if found, s = m.plan(c); s != done || found != movedOne || key != nil {
				return s
			}
			suffix, _ := c.copied.suffix(0, leafCellBytes)
			key = append(append([]byte{}, c.copied.prefix()...), suffix...)
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := tr.Put(&Op{}, key, bytes.Repeat([]byte("n"), 1000)); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			puts++
			return s
		})
		if err != nil {
			t.Fatal(err)
		}
		if key == nil {
			break
		}
		if v, _, err := tr.Get(nil, key); err != nil || len(v) != 1000 || v[0] != 'n' {
			t.Fatalf("%s: %.10q, %v: the put was lost", key, v, err)
		}
	}
	if _, err := tr.Check(context.Background(), nil); err != nil {
		t.Error(err)
	}
	if puts < 20 {
		t.Errorf("%d leaves were moved", puts)
	}
}
