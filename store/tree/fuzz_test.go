package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"faultline/pagemeta"
)

// fuzzPages is the capacity of the tables that hostile trees are opened in.
const fuzzPages = 64

// A hostileOwner reads pages that anybody may have written: their checksums are
// right, all else may be wrong.
type hostileOwner struct {
	testOwner
	images []pagemeta.Page
}

var errNoPage = errors.New("no such page")

func (o *hostileOwner) Stop(cause error) error { return cause }

func (o *hostileOwner) ReadPage(id pagemeta.PageID, image *pagemeta.Page) error {
	if int(id) >= len(o.images) || o.images[id].Kind() == 0 {
		return fmt.Errorf("page %d: %w", id, errNoPage)
	}
	*image = o.images[id]
	return nil
}

// A picture is a tree as it is in a data file.
type picture struct {
	state State
	pages []pagemeta.Page
	keys  [][]byte
}

// pictures are trees of one, two, three and four levels, one with an empty leaf,
// and two with long values.
func pictures(t testing.TB) []picture {
	make := func(n, keyBytes, valueBytes, long int, gone ...int) picture {
		tr, _ := newTree(t, fuzzPages, false)
		var p picture
		for i := range n {
			key := append(fmt.Appendf(nil, "%03d", i), bytes.Repeat([]byte{'k'}, keyBytes)...)
			if _, err := tr.Put(&Op{}, key, bytes.Repeat([]byte{'v'}, valueBytes)); err != nil {
				t.Fatal(err)
			}
			p.keys = append(p.keys, key)
		}
		for _, i := range gone {
			if _, err := tr.Delete(&Op{}, p.keys[i]); err != nil {
				t.Fatal(err)
			}
		}
		for i := range long {
			if err := putLong(tr, p.keys[3*i], 1+i%3, uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
		p.state = tr.State()
		for id := range p.state.Pages {
			p.pages = append(p.pages, image(tr, pagemeta.PageID(id)))
		}
		return p
	}
	return []picture{
		make(6, 2, 20, 0),
		make(40, 2, 700, 0),
		make(14, 1000, 2000, 0),
		make(40, 1000, 20, 0),
		make(7, 2, MaxEntryBytes-5, 0, 3),
		make(6, 2, 20, 2),
		make(40, 2, 300, 9),
	}
}

// image is page id in memory, or nothing if it is one of a value.
func image(tr *Tree, id pagemeta.PageID) (p pagemeta.Page) {
	if tr.pages.State(id) != pagemeta.Absent {
		p = pagemeta.Page(*tr.node(id))
	}
	return p
}

// spoil changes a picture as patches says, six bytes each: which page, or the
// state, at which offset, and the new bytes. An offset is in the header of the
// node or its slots, or in the place of a cell.
func (p *picture) spoil(patches []byte) {
	for ; len(patches) >= 6; patches = patches[6:] {
		at, value := int(le.Uint16(patches[1:])), patches[3:6]
		if patches[0] >= 0xf0 {
			var b [24]byte
			le.PutUint32(b[0:], p.state.Pages)
			le.PutUint32(b[4:], p.state.Used)
			le.PutUint32(b[8:], p.state.Inner)
			le.PutUint64(b[12:], p.state.Dead)
			le.PutUint32(b[20:], p.state.Values)
			copy(b[at%len(b):], value)
			p.state.Pages, p.state.Used, p.state.Inner = le.Uint32(b[0:]), le.Uint32(b[4:]), le.Uint32(b[8:])
			p.state.Dead, p.state.Values = le.Uint64(b[12:]), le.Uint32(b[20:])
			continue
		}
		page := &p.pages[int(patches[0])%len(p.pages)]
		copy(page[at%pagemeta.PageBytes:], value)
	}
}

// An action is one call of a Tree, of three bytes: what, which key, how large.
type action [3]byte

// key is one that the picture has, or near one.
func (a action) key(p *picture) []byte {
	key := p.keys[int(a[1])%len(p.keys)]
	switch a[0] / 8 % 4 {
	case 1:
		return append(bytes.Clone(key[:len(key)-1]), 0xff)
	case 2:
		return key[:1]
	case 3:
		return []byte{a[1]}
	}
	return key
}

func (a action) do(tr *Tree, p *picture) error {
	key := a.key(p)
	switch a[0] % 8 {
	case 0:
		_, _, err := tr.Get(nil, key)
		return err
	case 1:
		return putLong(tr, key, int(a[2])%12, uint64(a[2]))
	case 3:
		return putSome(tr, p, a)
	case 2:
		size := min(int(a[2])*16, MaxEntryBytes-len(key))
		_, err := tr.Put(&Op{}, key, make([]byte, size))
		return err
	case 4:
		_, err := tr.Delete(&Op{}, key)
		return err
	case 5:
		upper := append(bytes.Clone(key), 0)
		if a[2] > 0 {
			upper = p.keys[(int(a[1])+int(a[2]))%len(p.keys)]
		}
		_, _, err := tr.DeleteRange(&Op{}, key, upper, int(a[2])%4)
		return err
	case 6:
		return walk(tr, key, (*Cursor).SeekGE, (*Cursor).Next, +1)
	}
	return walk(tr, key, (*Cursor).SeekLT, (*Cursor).Prev, -1)
}

// putSome makes some writes by one call: of keys that the picture has, and of some behind
// the last of them.
func putSome(tr *Tree, p *picture, a action) error {
	var w Writes
	for i := range 1 + int(a[2])%32 {
		at := int(a[1]) + i
		c := Change{Key: append(bytes.Clone(p.keys[min(at, len(p.keys)-1)]), byte(at)), Value: make([]byte, int(a[2])*4)}
		if at < len(p.keys) {
			c.Key = p.keys[at]
		}
		if (at+int(a[2]))%5 == 0 {
			c.Value = nil
		}
		w.Add(c)
	}
	if a[2]%3 == 0 {
		w.Sort()
	}
	_, err := tr.PutMany(&Op{}, w.List)
	return err
}

// putLong puts a long value of so many pages, in as many extents as there must be.
func putLong(tr *Tree, key []byte, pages int, id uint64) error {
	ref := Ref{ID: id, Bytes: 4072 * pages}
	var err error
	for left := pages; left > 0 && err == nil && len(ref.Extents) < MaxExtents; {
		var e Extent
		if e, err = tr.Hold(left, true); err == nil {
			ref.Extents = append(ref.Extents, e)
			left -= int(e.Pages)
		}
	}
	if err == nil && pages > Pages(ref.Extents) {
		err = ErrFull // it has become too scattered
	}
	if err == nil && pages > 0 {
		_, err = tr.PutLong(&Op{}, key, ref, 0)
	}
	if err != nil {
		tr.Drop(ref.Extents...)
	}
	return err
}

// walk goes from key to the end. No key may come twice, or out of order.
func walk(tr *Tree, key []byte, seek func(*Cursor, []byte) bool, step func(*Cursor) bool, dir int) error {
	c := tr.NewCursor()
	var last []byte
	for ok := seek(c, key); ok; ok = step(c) {
		if c.Long() {
			_, _ = ParseRef(c.Value())
		}
		if last != nil && bytes.Compare(c.Key(), last) != dir {
			return fmt.Errorf("%.20q after %.20q", c.Key(), last)
		}
		last = append(last[:0], c.Key()...)
		_ = c.Value()
	}
	return c.Err()
}

// FuzzTree opens trees whose pages and counts are not what they should be, and
// works on them. Nothing may panic, hang, or reach a page that there is not; what
// fails must say that a page is damaged, or missing. A tree that passes its own
// check must work, and pass it again afterwards.
func FuzzTree(f *testing.F) {
	all := pictures(f)
	f.Add(byte(0), []byte{}, []byte("\x00\x01\x02"))
	f.Fuzz(func(t *testing.T, which byte, patches, actions []byte) {
		if len(patches) > 600 || len(actions) > 300 {
			t.Skip()
		}
		watchdog := time.AfterFunc(20*time.Second, func() { panic("the tree hangs") })
		defer watchdog.Stop()

		p := all[int(which)%len(all)]
		p.pages = append([]pagemeta.Page(nil), p.pages...)
		p.spoil(patches)
		pages, err := pagemeta.New(pagemeta.Config{
			Pages: fuzzPages, Owner: &hostileOwner{images: p.pages}, TrapOnly: which >= 128,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer pages.Close()
		tr, err := Open(pages, p.state)
		if err != nil {
			allowed(t, err)
			return
		}
		_, damage := tr.Check(context.Background(), nil)
		for ; len(actions) >= 3; actions = actions[3:] {
			err := action(actions[:3]).do(tr, &p)
			if err != nil {
				allowed(t, err)
			}
			if err != nil && damage == nil && !errors.Is(err, ErrFull) {
				t.Fatalf("the tree has passed its check: %v", err)
			}
		}
		if _, err := tr.Check(context.Background(), nil); damage == nil && err != nil {
			t.Fatalf("the tree had passed its check before: %v", err)
		}
	})
}

// allowed fails the test if err is not one that a damaged tree may give.
func allowed(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFull) && !errors.Is(err, errNoPage) {
		t.Fatal(err)
	}
}
