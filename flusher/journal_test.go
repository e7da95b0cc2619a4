package flusher

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"faultline/pagemeta"
)

// cutOf is a cut of pages, without heads.
func cutOf(ids ...pagemeta.PageID) (cut []pagemeta.FrozenPage) {
	for _, id := range ids {
		cut = append(cut, pagemeta.FrozenPage{ID: id})
	}
	return cut
}

// TestHead writes the head of a journal and reads it back, for none, few and
// many pages, and around the counts where it grows by a page. Then each of its
// bits is flipped in turn: those that the crc covers must be found out, those of
// the version must be an error of its own, the others mean nothing.
func TestHead(t *testing.T) {
	perPage := (pagemeta.PageBytes - jNumbersAt) / 4
	for _, n := range []int{0, 1, 2, 100, perPage - 1, perPage, perPage + 1, 3*perPage + 5} {
		var ids []pagemeta.PageID
		for i := range n {
			ids = append(ids, pagemeta.PageID(i*i+i))
		}
		cut := cutOf(ids...)
		b := appendHead([]byte("before"), 7, 9, cut)[len("before"):]
		if len(b) != headBytes(n) || len(b)%pagemeta.PageBytes != 0 {
			t.Fatalf("%d pages: head of %d bytes, headBytes says %d", n, len(b), headBytes(n))
		}
		round, images, got, err := parseHead(b)
		if err != nil || round != 7 || images != 9 || !slices.Equal(got, cut) {
			t.Fatalf("%d pages: round %d, %d pages, %v", n, round, len(got), err)
		}
		covered := jNumbersAt + 4*n
		step := 1
		if len(b) > pagemeta.PageBytes {
			step = 37 // a prime: all bits of a byte come, and not all bytes
		}
		for bit := 0; bit < len(b)*8; bit += step {
			b[bit/8] ^= 1 << (bit % 8)
			_, _, _, err := parseHead(b)
			b[bit/8] ^= 1 << (bit % 8)
			inVersion := bit/8 >= jVersionAt && bit/8 < jVersionAt+4
			if covers := bit/8 < covered; covers != (err != nil) || covers && inVersion == errors.Is(err, errTorn) {
				t.Fatalf("%d pages, bit %d of byte %d of %d: %v", n, bit%8, bit/8, covered, err)
			}
		}
		for short := range min(covered, 3000) {
			if _, _, _, err := parseHead(b[:short]); !errors.Is(err, errTorn) {
				t.Fatalf("%d pages, %d bytes of the head: %v", n, short, err)
			}
		}
	}
}

// TestHeadVersion makes a head of a version that this program does not know: it
// must be an error, and not a torn journal, which would be ignored.
func TestHeadVersion(t *testing.T) {
	b := appendHead(nil, 7, 9, cutOf(0, 5))
	le.PutUint32(b[jVersionAt:], journalVersion+1)
	if _, _, _, err := parseHead(b); err == nil || errors.Is(err, errTorn) {
		t.Errorf("unknown version: %v", err)
	}
}

// FuzzParseHead gives parseHead any bytes. It must not panic, nor return more
// pages than there is room for; and what it takes must be what appendHead makes
// of it, byte for byte.
func FuzzParseHead(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte(journalMagic))
	f.Add(appendHead(nil, 0, 0, nil))
	f.Add(appendHead(nil, 3, 4, cutOf(0, 1, 7)))
	long := make([]pagemeta.PageID, 2000)
	for i := range long {
		long[i] = pagemeta.PageID(i)
	}
	f.Add(appendHead(nil, 1<<31, 1<<32-1, cutOf(long...)))
	huge := appendHead(nil, 3, 4, cutOf(0, 1, 7))
	le.PutUint32(huge[jCountAt:], 1<<32-1)
	f.Add(huge)
	f.Fuzz(func(t *testing.T, b []byte) {
		round, images, pages, err := parseHead(b)
		if err != nil {
			return
		}
		if len(pages) > len(b)/4 {
			t.Fatalf("%d pages of %d bytes", len(pages), len(b))
		}
		covered := jNumbersAt + 4*len(pages)
		if again := appendHead(nil, round, images, pages); !slices.Equal(again[:covered], b[:covered]) {
			t.Fatalf("another head:\n%x\n%x", b[:covered], again[:covered])
		}
	})
}

// TestJournalDamage flips a bit in every byte of a whole journal of a few images,
// at random which. Open must either ignore the journal, and leave the data file as
// it was, or restore exactly what it did before; the latter only for bytes that
// mean nothing.
func TestJournalDamage(t *testing.T) {
	r, m := wholeJournal(t)
	journal := m.Bytes(r.path("journal"))
	end := headBytes(4) + 4*pagemeta.PageBytes
	rng := rand.New(rand.NewPCG(5, 6))
	ignored, restored := 0, 0
	for at := 0; at < end+10; at += 1 + rng.IntN(8) {
		was := journal[at]
		journal[at] ^= 1 << rng.IntN(8)
		r2 := r.reopened(m)
		r2.openReadOnly()
		if lsn := r2.check("journal damaged"); lsn == r.cuts[len(r.cuts)-1] {
			restored++
			if at < jNumbersAt+4*4 || at >= headBytes(4) && at < end {
				t.Fatalf("byte %d is damaged, and the journal passes", at)
			}
		} else {
			ignored++
		}
		r2.close()
		journal[at] = was
	}
	if ignored == 0 || restored == 0 {
		t.Errorf("%d journals ignored, %d restored: the test shows nothing", ignored, restored)
	}
}
