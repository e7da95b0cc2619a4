package flusher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"faultline/internal/disk"
	"faultline/pagemeta"
)

// A cachedFS is the real file system without direct access.
type cachedFS struct{ disk.FS }

type cachedFile struct{ disk.File }

func (c cachedFS) Open(name string, create bool) (disk.File, error) {
	f, err := c.FS.Open(name, create)
	return cachedFile{f}, err
}

// A benchLog is a Log that holds nothing.
type benchLog struct{}

func (benchLog) Sync(context.Context, uint64) error { return nil }
func (benchLog) Trim(uint64) error                  { return nil }

// A benchStore is a Flusher over files in TMPDIR, with pages that were all written.
type benchStore struct {
	b     *testing.B
	f     *Flusher
	pages int
	lsn   uint64
}

func newBenchStore(b *testing.B, fs disk.FS, pages int) *benchStore {
	f, _, err := Open(Config{FS: fs, Dir: b.TempDir(), Capacity: pages, Credits: 2 * pages})
	if errors.Is(err, errors.ErrUnsupported) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	s := &benchStore{b: b, f: f, pages: pages}
	var all []pagemeta.PageID
	for id := range pagemeta.PageID(pages) {
		f.Pages.Fresh(id)
		all = append(all, id)
	}
	f.Start(benchLog{}, func() (Cut, error) { return Cut{s.lsn, s.lsn, pages}, nil }, func() {})
	s.dirty(all)
	s.checkpoint()
	b.Cleanup(func() {
		if err := f.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return s
}

// dirty stores to pages ids.
func (s *benchStore) dirty(ids []pagemeta.PageID) {
	s.lsn++
	n, err := s.f.Begin(context.Background(), len(ids), 0)
	if err != nil {
		s.b.Fatal(err)
	}
	defer s.f.End(n, 0)
	for _, id := range ids {
		if err := s.f.Pages.Prepare(id); err != nil {
			s.b.Fatal(err)
		}
		s.f.Pages.Page(id).SetKind(1)
	}
}

func (s *benchStore) checkpoint() {
	if err := s.f.Checkpoint(context.Background()); err != nil {
		s.b.Fatal(err)
	}
}

// some returns every step-th page on average, with page 0, in order.
func (s *benchStore) some(step int) []pagemeta.PageID {
	ids := []pagemeta.PageID{0}
	for id := 1; id < s.pages; id++ {
		if rand.IntN(step) == 0 {
			ids = append(ids, pagemeta.PageID(id))
		}
	}
	return ids
}

const benchPages = 64 << 10

// BenchmarkRound is a round of 4096 scattered pages of 65536, past the cache and
// through it.
//
//	TMPDIR=/on/the/disk go test ./flusher -run '^$' -bench Round -benchtime 20x
func BenchmarkRound(b *testing.B) {
	for _, fs := range []struct {
		name string
		disk.FS
	}{{"direct", disk.OS}, {"cached", cachedFS{disk.OS}}} {
		b.Run(fs.name, func(b *testing.B) {
			s := newBenchStore(b, fs.FS, benchPages)
			for range b.N {
				b.StopTimer()
				s.dirty(s.some(16))
				b.StartTimer()
				s.checkpoint()
			}
		})
	}
}

// BenchmarkReadPages reads every step-th page of 65536, all with ReadPages or each
// with ReadPage.
func BenchmarkReadPages(b *testing.B) {
	s := newBenchStore(b, disk.OS, benchPages)
	image := pagemeta.NewPage()
	fail := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	for _, step := range []int{1, 2, 4, 16, 256} {
		for _, many := range []bool{true, false} {
			b.Run(fmt.Sprintf("step=%d/many=%t", step, many), func(b *testing.B) {
				pages := 0
				for range b.N {
					for ids := range slices.Chunk(s.some(step), 1024) {
						pages += len(ids)
						if many {
							s.f.ReadPages(ids, func(_ int, _ *pagemeta.Page, err error) { fail(err) })
							continue
						}
						for _, id := range ids {
							fail(s.f.ReadPage(id, image))
						}
					}
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(pages)/b.Elapsed().Seconds(), "pages/s")
			})
		}
	}
}
