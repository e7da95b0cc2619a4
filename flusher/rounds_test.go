package flusher

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"faultline/internal/disk"
	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

// TestLostWrites puts every page of the data file and of rounds back to each of
// its older versions, which a checksum cannot tell from the newest: what a disk
// leaves that has lost a write. It must be reported, with file and offset, when
// the store is opened or the page read, if the version is another one at all. The
// pages are so many that rounds has two pages.
func TestLostWrites(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.pages, r.capacity = 7, 2*perRoundsPage
	far := pagemeta.PageID(perRoundsPage + 3)
	r.open()
	r.f.Pages.Fresh(far)
	files := []string{"data", "rounds"}
	var older []map[string][]byte
	keep := func() {
		r.checkpoint()
		m := map[string][]byte{}
		for _, name := range files {
			m[name] = slices.Clone(r.fs.Bytes(r.path(name)))
		}
		older = append(older, m)
	}
	r.writeAll()
	r.write(far)
	keep()
	r.write(1, 2)
	keep()
	r.write(2, far)
	keep()
	r.write(4)
	r.close()

	reported, same := 0, 0
	for _, name := range files {
		newest := r.fs.Bytes(r.path(name))
		for _, old := range older {
			for off := 0; off < len(old[name]); off += pagemeta.PageBytes {
				was, now := old[name][off:][:pagemeta.PageBytes], newest[off:][:pagemeta.PageBytes]
				if string(was) == string(now) {
					same++
					continue
				}
				m := r.fs.Crash(memdisk.Kill, nil)
				copy(m.Bytes(r.path(name))[off:], was)
				err := r.reopened(m).readAll(far)
				var corrupt *disk.CorruptError
				if !errors.As(err, &corrupt) || corrupt.File != r.path(name) && !strings.HasSuffix(name, "rounds") || corrupt.Offset != int64(off) && name == "data" {
					t.Errorf("%s, byte %d: an older version, and: %v", name, off, err)
				}
				reported++
			}
		}
	}
	t.Logf("%d pages put back, %d of them the same as the newest", reported+same, same)
	if reported == 0 || same == 0 {
		t.Error("the test shows nothing")
	}
}

// readAll opens the Flusher and reads every page and far, and returns the first error.
func (r *rig) readAll(far pagemeta.PageID) error {
	err := r.tryOpen(false)
	if err != nil {
		return err
	}
	defer r.abandon()
	for id := range pagemeta.PageID(r.pages) {
		if _, err := r.load(id); err != nil {
			return err
		}
	}
	_, err = r.load(far)
	return err
}

// TestRoundsAfterCrash loses the journal of a round that was cut off before page 0
// was written. Its other pages are newer than page 0 says: reported, not served.
func TestRoundsAfterCrash(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.open()
	r.writeAll()
	r.checkpoint()
	r.write(3)
	left := r.crashAt("write", "rounds", memdisk.Kill)
	clear(left.Bytes(r.path("journal")))
	r = r.reopened(left)
	r.open() // page 0 and rounds are of the old cut
	if _, err := r.load(3); !errors.Is(err, disk.ErrCorrupt) || !strings.Contains(err.Error(), "page 3") {
		t.Errorf("page 3 of a round that was cut off: %v", err)
	}
	if stamp, err := r.load(4); err != nil || stamp == 0 {
		t.Errorf("page 4, which it did not write: %d, %v", stamp, err)
	}
	r.abandon()
}

// TestOutdatedJournal puts back a whole journal of an earlier round, as a disk
// leaves that has lost what was written to it since. It must not be applied to the
// data file of a later round. The control is the same journal and the data file
// that it belongs to.
func TestOutdatedJournal(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.open()
	r.writeAll()
	r.checkpoint()
	r.write(2, 3)
	m := r.crashAt("write", "data", memdisk.Kill)
	journal := slices.Clone(m.Bytes(r.path("journal")))
	r = r.reopened(m)
	r.open()
	if lsn := r.check("journal applied"); lsn != r.cuts[len(r.cuts)-1] {
		t.Errorf("cut %d, want %d: the test shows nothing", lsn, r.cuts[len(r.cuts)-1])
	}
	r.write(3, 4)
	r.checkpoint()
	r.close()
	copy(r.fs.Bytes(r.path("journal")), journal)
	r = r.reopened(r.fs)
	r.open()
	if lsn := r.check("outdated journal"); lsn != r.cuts[len(r.cuts)-1] {
		t.Errorf("cut %d, want %d", lsn, r.cuts[len(r.cuts)-1])
	}
	r.close()
}

// TestRoundsImage draws the pages of rounds for a cut and compares them with what
// a map of the rounds says. The data file becomes longer and shorter meanwhile: pages
// of rounds that come back have forgotten what they were.
func TestRoundsImage(t *testing.T) {
	const pages = 3*perRoundsPage - 5
	var r rounds
	if err := r.init(pages); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	want := map[pagemeta.PageID]uint32{}
	for round, c := range []struct {
		end int
		ids []pagemeta.PageID
	}{
		1: {3, []pagemeta.PageID{0, 1, 2}},
		2: {perRoundsPage + 1, []pagemeta.PageID{0, perRoundsPage - 1, perRoundsPage}},
		3: {pages, []pagemeta.PageID{0, 2, pages - 1}},
		4: {5, []pagemeta.PageID{0, 3}},
		5: {pages, []pagemeta.PageID{0}},
		6: {2, []pagemeta.PageID{0}},
		7: {pages, []pagemeta.PageID{0, pages - 2}},
	} {
		ids := c.ids
		cut := cutOf(ids...)
		images := r.cover(cut, c.end)
		if n := r.n; n < roundsPages(c.end) && len(images)-len(cut) < roundsPages(c.end)-n {
			t.Errorf("round %d: %d pages of rounds, want those from %d to %d", round, len(images)-len(cut), n, roundsPages(c.end))
		}
		rest := cut
		for _, p := range images[len(cut):] {
			var image pagemeta.Page
			rest = r.draw(&image, p.ID, uint32(round), rest)
			if err := image.Check(p.ID); err != nil || image.Round() != uint32(round) {
				t.Fatalf("round %d: image of page %#x: %v, of round %d", round, p.ID, err, image.Round())
			}
			for _, id := range ids {
				want[id] = uint32(round)
			}
			first := (p.ID - firstRoundsPage) * perRoundsPage
			for i := range pagemeta.PageID(perRoundsPage) {
				if got := binary.LittleEndian.Uint32(image[pagemeta.HeaderBytes+4*i:]); got != want[first+i] {
					t.Fatalf("round %d: page %d is of round %d, want %d", round, first+i, got, want[first+i])
				}
			}
		}
		if len(rest) > 0 {
			t.Fatalf("round %d: pages %v in no image", round, rest)
		}
		sum := r.sum(images[len(cut):], uint32(round), roundsPages(c.end))
		r.wrote(images, uint32(round), c.end)
		for id := range want {
			if int(id) >= c.end {
				delete(want, id)
			}
		}
		if got := r.sum(nil, 0, r.n); got != sum {
			t.Errorf("round %d: sum %#x before, %#x after", round, sum, got)
		}
		for id, round := range want {
			if got := r.of(id); got != round {
				t.Errorf("page %d: round %d, want %d", id, got, round)
			}
		}
	}
}
