package flusher

import (
	"sync"

	"faultline/internal/disk"
	"faultline/pagemeta"
)

const (
	// batchPages is how many pages ReadPages has in memory at a time: 512 KiB.
	batchPages = 128

	// spanPages is how many of them one read has at most: several go in parallel.
	spanPages = 32

	// gapPages is how many unwanted pages one read may have between two wanted
	// ones: to read 4 of them takes the disk as long as one call more.
	gapPages = 4
)

// A batch is what ReadPages reads at a time.
type batch struct {
	memory []pagemeta.Page  // batchPages of them
	images []*pagemeta.Page // of each wanted page, in memory
	spans  []span
	reads  []disk.Access // of each span
}

// A span is the wanted pages from to to, of those of a call, which one read brings.
type span struct{ from, to int }

var batches = sync.Pool{New: func() any { return &batch{memory: pagemeta.NewPages(batchPages)} }}

// ReadPages is ReadPage of each of ids, which ascend, for who wants many: it reads
// neighbours in one call, also over small gaps, and makes several calls at a time.
// It hands each to take, in order, with its index in ids: an image that take may
// change and not keep, or what ReadPage has to say of the page, which is no reason
// to end.
//
// As with ReadPage the caller holds the locks of all of them. An image that was
// read without may have been overtaken by a round when it is used, and no check
// tells.
func (f *Flusher) ReadPages(ids []pagemeta.PageID, take func(i int, image *pagemeta.Page, err error)) {
	b := batches.Get().(*batch)
	defer batches.Put(b)
	for done := 0; done < len(ids); done += len(b.images) {
		b.plan(ids[done:])
		disk.ReadMany(f.data, b.reads, func(s int) {
			for i := b.spans[s].from; i < b.spans[s].to; i++ {
				id, image := ids[done+i], b.images[i]
				take(done+i, image, f.finishRead(id, image, b.reads[s].Err))
			}
		})
	}
}

// plan makes the reads for as many of ids as there is memory for.
func (b *batch) plan(ids []pagemeta.PageID) {
	b.images, b.spans, b.reads = b.images[:0], b.spans[:0], b.reads[:0]
	free := b.memory
	for from := 0; from < len(ids); {
		to := spanEnd(ids, from, len(free))
		if to == from {
			return
		}
		first, pages := ids[from], int(ids[to-1]-ids[from])+1
		for _, id := range ids[from:to] {
			b.images = append(b.images, &free[id-first])
		}
		b.spans = append(b.spans, span{from, to})
		b.reads = append(b.reads, disk.Access{Mem: pagemeta.BytesOf(free[:pages]), Off: int64(first) * pagemeta.PageBytes})
		from, free = to, free[pages:]
	}
}

// spanEnd returns where the span ends that begins with ids[from]: it has no more
// than room pages, those of gaps included.
func spanEnd(ids []pagemeta.PageID, from, room int) int {
	to := from
	for to < len(ids) && int(ids[to]-ids[from]) < min(room, spanPages) &&
		(to == from || ids[to]-ids[to-1] <= gapPages+1) {
		to++
	}
	return to
}

// finishRead checks an image that was read with others. If their read has failed,
// the page is read alone: the error may be of another.
func (f *Flusher) finishRead(id pagemeta.PageID, image *pagemeta.Page, err error) error {
	if _, replayed := f.replay[id]; replayed || err != nil {
		return f.ReadPage(id, image)
	}
	if err := f.checkImage(id, image); err != nil {
		return err
	}
	return f.checkRound(id, image)
}
