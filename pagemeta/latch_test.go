package pagemeta

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestLatch has writers give every word of a page the same number, one higher
// each time, and readers copy the page. A copy that the version lets them
// believe must be all one number, and no smaller than the one before; the number
// at the end must be how often the latch was taken. Copies that are not believed
// are compared too, and the test goes on until torn ones were among them: so they
// would have been seen.
func TestLatch(t *testing.T) {
	watchdog(t)
	const writers, readers, changes = 4, 4, 3000
	table := newTable(t, Config{Pages: 1, Owner: newOwner()})
	reach(t, table, 0, Dirty)
	p := table.Page(0)
	words := p[HeaderBytes:]
	var over atomic.Bool
	var torn, believed, total atomic.Int64
	var wg, rg sync.WaitGroup
	pause := func() { // now and then, so that others come between
		if rand.IntN(16) == 0 {
			runtime.Gosched()
		}
	}
	for range readers {
		rg.Go(func() {
			image, last := make([]byte, len(words)), uint64(0)
			for !over.Load() {
				v := table.Version(0)
				pause()
				copy(image, words)
				ok := table.Unchanged(0, v)
				first := binary.LittleEndian.Uint64(image)
				same := true
				for i := 0; i < len(image); i += 8 {
					same = same && binary.LittleEndian.Uint64(image[i:]) == first
				}
				switch {
				case !ok && !same:
					torn.Add(1)
				case ok && (!same || first < last):
					t.Errorf("believed a page that is not one: %d after %d", first, last)
					return
				case ok:
					believed.Add(1)
					last = first
				}
			}
		})
	}
	for range writers {
		wg.Go(func() {
			for done := 0; done < changes || torn.Load() == 0 || believed.Load() == 0; {
				v := table.Version(0)
				if !table.Latch(0, v) {
					continue
				}
				if done%5 == 0 {
					table.Unlatch(0, false) // nothing changed: readers may believe
					if v = table.Version(0); !table.Latch(0, v) {
						continue
					}
				}
				n := binary.LittleEndian.Uint64(words) + 1
				for i := 0; i < len(words); i += 8 {
					binary.LittleEndian.PutUint64(words[i:], n)
					if i == 2048 {
						pause()
					}
				}
				table.Unlatch(0, true)
				pause()
				done++
				total.Add(1)
			}
		})
	}
	wg.Wait()
	over.Store(true)
	rg.Wait()
	if n := int64(binary.LittleEndian.Uint64(words)); n != total.Load() {
		t.Errorf("%d changes, want %d", n, total.Load())
	}
}
