package tree

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"faultline/pagemeta"
)

// A fileOwner has the pages of a tree in a map, and writes down who reads what.
type fileOwner struct {
	testOwner
	mu      sync.Mutex
	file    map[pagemeta.PageID]pagemeta.Page
	alone   []pagemeta.PageID // by ReadPage
	ahead   []pagemeta.PageID // by ReadPages
	largest int               // call of ReadPages
}

func (o *fileOwner) ReadPage(id pagemeta.PageID, image *pagemeta.Page) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.alone = append(o.alone, id)
	*image = o.file[id]
	return nil
}

func (o *fileOwner) ReadPages(ids []pagemeta.PageID, take func(int, *pagemeta.Page, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ahead, o.largest = append(o.ahead, ids...), max(o.largest, len(ids))
	for i, id := range ids {
		image := o.file[id]
		take(i, &image, nil)
	}
}

// keep takes what is Dirty into the file.
func (o *fileOwner) keep(t testing.TB, pages *pagemeta.Table) {
	cut, err := pages.Freeze(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range cut {
		var image pagemeta.Page
		pages.Capture(p.ID, &image)
		o.file[p.ID] = image
		pages.Written(p.ID)
	}
}

// leaves returns which of ids are leaves.
func (o *fileOwner) leaves(ids []pagemeta.PageID) []pagemeta.PageID {
	return slices.DeleteFunc(slices.Clone(ids), func(id pagemeta.PageID) bool {
		image := o.file[id]
		return image.Kind() != KindLeaf
	})
}

const aheadKeys = 30_000

func aheadKey(i int) []byte { return fmt.Appendf(nil, "key %06d", i) }

// farTree returns a tree of aheadKeys keys, none of which is in memory, and a table with
// memory for so many pages.
func farTree(t testing.TB, inMemory int) (*Tree, *fileOwner) {
	const pages = 4096
	o := &fileOwner{file: map[pagemeta.PageID]pagemeta.Page{}}
	open := func(memory int64) *pagemeta.Table {
		table, err := pagemeta.New(pagemeta.Config{Pages: pages, Memory: memory, Owner: o})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { table.Close() })
		return table
	}
	table := open(0)
	tr, err := New(table)
	if err != nil {
		t.Fatal(err)
	}
	for i := range aheadKeys {
		if _, err := tr.Put(&Op{}, aheadKey(i*7919%aheadKeys), make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	o.keep(t, table)
	table = open(int64(inMemory)*pagemeta.PageBytes + pages*pagemeta.TableBytes)
	tr, err = Open(table, tr.State())
	if err != nil {
		t.Fatal(err)
	}
	o.alone = nil
	return tr, o
}

// arrive returns when all that c has asked for is there.
func (c *Cursor) arrive() {
	for c.ahead != nil && c.ahead.reading.Load() > 0 {
		runtime.Gosched()
	}
}

// TestReadAhead walks over a tree that is many times larger than memory, either way.
// The first leaves are read alone and all others ahead, over the borders of their
// parents, and each must still be there when the cursor comes: none is read twice.
func TestReadAhead(t *testing.T) {
	for _, inMemory := range []int{100, 400, 2000} {
		for _, dir := range []int{+1, -1} {
			t.Run(fmt.Sprintf("pages=%d/dir=%+d", inMemory, dir), func(t *testing.T) {
				tr, o := farTree(t, inMemory)
				c, n := tr.NewCursor(), 0
				first, next, at := c.First, c.Next, 0
				if dir < 0 {
					first, next, at = c.Last, c.Prev, aheadKeys-1
				}
				for ok := first(); ok; ok = next() {
					if want := aheadKey(at + n*dir); string(c.Key()) != string(want) {
						t.Fatalf("key %d is %q, want %q", n, c.Key(), want)
					}
					n++
					c.arrive()
				}
				if n != aheadKeys || c.Err() != nil {
					t.Fatalf("%d keys, %v", n, c.Err())
				}
				alone, ahead := o.leaves(o.alone), o.leaves(o.ahead)
				if len(alone) > aheadAfter+1 {
					t.Errorf("%d leaves were read alone, %d ahead", len(alone), len(ahead))
				}
				all := slices.Concat(alone, ahead)
				slices.Sort(all)
				if twice := len(all) - len(slices.Compact(all)); twice > 0 {
					t.Errorf("%d leaves were read twice", twice)
				}
				if most := min(aheadAtATime, inMemory/12); o.largest > most {
					t.Errorf("%d pages were asked for at a time, want %d and less", o.largest, most)
				}
				t.Logf("%d leaves alone, %d ahead, up to %d", len(alone), len(ahead), o.largest)
			})
		}
	}
}

// TestReadAheadShort makes short walks from everywhere: they read few leaves that they
// do not come to.
func TestReadAheadShort(t *testing.T) {
	for leaves, most := range []int{1, 2, 3 + 4, 4 + 8} {
		tr, o := farTree(t, 2000)
		c, went := tr.NewCursor(), 1
		for ok := c.SeekGE(aheadKey(aheadKeys / 2)); ok && went <= leaves; ok = c.Next() {
			went = c.steps + 1
			c.arrive()
		}
		if n := len(o.leaves(o.alone)) + len(o.leaves(o.ahead)); n > most || n < leaves {
			t.Errorf("%d leaves were read for a walk over %d, want %d and less", n, leaves, most)
		}
	}
}

// TestReadAheadChanged splits and empties leaves between the cursor and the scout: it
// must go on to find the leaves.
func TestReadAheadChanged(t *testing.T) {
	tr, o := farTree(t, 2000)
	c, n, want := tr.NewCursor(), 0, aheadKeys
	for ok := c.First(); ok; ok = c.Next() {
		c.arrive()
		if n++; n%1000 != 0 || n > aheadKeys/2 {
			continue
		}
		for i := range 200 {
			key := aheadKey(n + 400 + i) // behind the leaf that the cursor has a copy of
			if n%2000 != 0 {
				existed, err := tr.Delete(&Op{}, key)
				if err != nil {
					t.Fatal(err)
				}
				if existed {
					want--
				}
				continue
			}
			if _, err := tr.Put(&Op{}, append(key, '+'), make([]byte, 200)); err != nil {
				t.Fatal(err)
			}
			want++
		}
		o.keep(t, tr.pages)
	}
	if err := c.Err(); err != nil || n != want {
		t.Fatalf("%d keys, %v, want %d", n, err, want)
	}
	if alone := len(o.leaves(o.alone)); alone > 40 {
		t.Errorf("%d leaves were read alone, %d ahead", alone, len(o.leaves(o.ahead)))
	}
	t.Logf("%d leaves alone, %d ahead", len(o.leaves(o.alone)), len(o.leaves(o.ahead)))
}
