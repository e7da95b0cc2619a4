package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
)

// TestGroups checks, for limits around the borders of groups, that every page
// that may be taken has its bitmap below the limit.
func TestGroups(t *testing.T) {
	for _, limit := range []int{3, 100, groupPages - 1, groupPages, groupPages + 1, groupPages + 2, 2*groupPages + 1, 3 * groupPages} {
		var s space
		s.init(limit, State{})
		if s.limit > limit || limit-s.limit > bitmapPage {
			t.Errorf("limit %d becomes %d", limit, s.limit)
		}
		if last := (s.limit - 1) / groupPages; last*groupPages+bitmapPage >= s.limit {
			t.Errorf("limit %d: group %d has no bitmap", s.limit, last)
		}
		if want := s.limit - groupsOf(s.limit); s.free() != want {
			t.Errorf("limit %d: %d free, want %d", s.limit, s.free(), want)
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
