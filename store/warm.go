package store

import (
	"sync"
	"sync/atomic"

	"faultline/pagemeta"
)

// A warmup reads the data file beside a replay, in the order of its pages, and many at a
// time. The writes of a long log need most of the leaves, each for a few changes more
// than can be kept beside it; read one by one, as they are needed, they took most of the
// time of a recovery.
type warmup struct {
	over    atomic.Bool
	readers sync.WaitGroup
	begun   bool
}

const (
	// warmShare is how long a log makes it worth while to read all pages: this part of
	// the data file. A page that is read with its neighbours takes a twentieth of the
	// time of one that is read alone.
	warmShare = 64
	// warmPages are read together.
	warmPages = 256
)

// replayed is told how many bytes of the log have been replayed. It begins to read when
// these are enough, and all pages have room in memory beside images of them.
func (w *warmup) replayed(db *DB, bytes uint64) {
	s := &db.super.tree
	if w.begun || bytes < uint64(s.Pages)*pagemeta.PageBytes/warmShare {
		return
	}
	w.begun = true
	if db.opts.noHelper || int64(s.Pages-s.Values)*pagemeta.PageBytes > db.opts.roomMemory()/2 || s.Values > s.Pages/2 {
		return
	}
	pages := pagemeta.PageID(s.Pages)
	w.readers.Go(func() {
		ids := make([]pagemeta.PageID, warmPages)
		for from := pagemeta.PageID(0); from < pages && !w.over.Load(); from += warmPages {
			for i := range ids {
				ids[i] = from + pagemeta.PageID(i)
			}
			db.tree.AskMany(ids[:min(warmPages, pages-from)])
		}
	})
}

// end returns when nothing is read any more.
func (w *warmup) end() {
	w.over.Store(true)
	w.readers.Wait()
}
