package flusher

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"faultline/internal/campaign"
	"faultline/internal/disk"
	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

// TestReadPages reads random sets of pages, dense and sparse, of a store in which
// some pages are damaged and some are older versions of themselves, and compares
// each page and each error with what ReadPage says.
func TestReadPages(t *testing.T) {
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 1))
	r := newRig(t, memdisk.New())
	r.pages, r.capacity = 1200, 3000
	r.open()
	r.writeAll()
	r.checkpoint()
	defer r.close()
	older := slices.Clone(r.fs.Bytes(r.path("data")))
	r.writeAll()
	r.checkpoint()
	data := r.fs.Bytes(r.path("data"))
	for range 5 {
		data[rng.IntN(r.pages)*pagemeta.PageBytes+100]++
		at := (1 + rng.IntN(r.pages-1)) * pagemeta.PageBytes
		copy(data[at:at+pagemeta.PageBytes], older[at:])
	}
	want := pagemeta.NewPage()
	for _, share := range []float64{0.01, 0.1, 0.3, 0.8, 1} {
		var ids []pagemeta.PageID
		for id := range pagemeta.PageID(r.capacity) { // the last are not in the file
			if rng.Float64() < share {
				ids = append(ids, id)
			}
		}
		next := 0
		r.f.ReadPages(ids, func(i int, image *pagemeta.Page, err error) {
			if i != next {
				t.Fatalf("page %d of %d, want %d", i, len(ids), next)
			}
			next++
			wantErr := r.f.ReadPage(ids[i], want)
			if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
				t.Fatalf("page %d: %v, want %v", ids[i], err, wantErr)
			}
			if err == nil && *image != *want {
				t.Fatalf("page %d is another", ids[i])
			}
		})
		if next != len(ids) {
			t.Fatalf("%d pages, want %d", next, len(ids))
		}
	}
}

// TestReadPagesReplayed reads from a journal that is not written back.
func TestReadPagesReplayed(t *testing.T) {
	r, left := wholeJournal(t)
	n := r.reopened(left)
	n.fs.SetHook(nil)
	f, _, err := Open(Config{FS: left, Dir: rigDir, Capacity: n.capacity, Credits: 100, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.closeFiles(); err != nil {
			t.Error(err)
		}
	}()
	if len(f.replay) == 0 {
		t.Fatal("no journal")
	}
	var ids []pagemeta.PageID
	for id := range f.replay {
		if id < firstRoundsPage {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	f.ReadPages(ids, func(i int, image *pagemeta.Page, err error) {
		if err != nil {
			t.Error(err)
		} else if *image != *f.journal.image(f.replay[ids[i]]) {
			t.Errorf("page %d is not that of the journal", ids[i])
		}
	})
}

// TestBatchPlan checks the reads for random sets of pages: they bring every page
// once, to the place where its image is said to be, do not overlap, and are within
// the bounds.
func TestBatchPlan(t *testing.T) {
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 2))
	b := batches.Get().(*batch)
	for range 200 {
		step := 1 + rng.IntN(12)
		var ids []pagemeta.PageID
		for id := rng.IntN(100); len(ids) < 500; id += 1 + rng.IntN(step) {
			ids = append(ids, pagemeta.PageID(id))
		}
		b.plan(ids)
		at, pages := 0, 0
		for s, span := range b.spans {
			read := b.reads[s]
			if span.from != at || span.to <= span.from {
				t.Fatalf("span %d is %v, want it from %d on", s, span, at)
			}
			at = span.to
			pages += len(read.Mem) / pagemeta.PageBytes
			if len(read.Mem) > spanPages*pagemeta.PageBytes {
				t.Fatalf("a read of %d bytes", len(read.Mem))
			}
			for i := span.from; i < span.to; i++ {
				off := int64(ids[i])*pagemeta.PageBytes - read.Off
				if &b.images[i][0] != &read.Mem[off] {
					t.Fatalf("page %d is not where its image is", ids[i])
				}
				if i > span.from && ids[i]-ids[i-1] > gapPages+1 {
					t.Fatalf("a gap from %d to %d", ids[i-1], ids[i])
				}
			}
		}
		if at != len(b.images) || at == 0 || pages > batchPages {
			t.Fatalf("%d pages in spans, %d images, %d pages read", at, len(b.images), pages)
		}
	}
}

// A sickFile fails reads that touch one page.
type sickFile struct {
	disk.File
	page int64
}

func (f sickFile) ReadAt(p []byte, off int64) (int, error) {
	if at := f.page * pagemeta.PageBytes; off <= at && at < off+int64(len(p)) {
		return 0, errSick
	}
	return f.File.ReadAt(p, off)
}

var errSick = errors.New("medium error")

// TestReadPagesSick has the disk fail to read one page: its neighbours, which are
// read in the same call, must be there.
func TestReadPagesSick(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.open()
	r.writeAll()
	r.checkpoint()
	defer r.close()
	healthy := r.f.data
	r.f.data = sickFile{healthy, 3}
	r.f.ReadPages([]pagemeta.PageID{1, 2, 3, 4}, func(i int, image *pagemeta.Page, err error) {
		if sick := i == 2; sick != errors.Is(err, errSick) || !sick && err != nil {
			t.Errorf("page %d: %v", i+1, err)
		}
		if errors.Is(err, io.EOF) {
			t.Error("EOF")
		}
	})
	r.f.data = healthy
}
