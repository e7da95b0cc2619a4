package flusher

import (
	"testing"
	"time"

	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

// What FuzzJournal does with a journal after it has changed some of its bytes.
const (
	sealImages = 1 << iota // every image gets the checksum, number and round that it needs
	sealHead               // the sums over images and head are made right
	cutJournal             // only its first bytes are there
	forReading             // the store is opened read-only
)

// reseal makes the checksums of journal right, as far as how says: so a change
// that is not only noise reaches what comes behind them.
func reseal(b []byte, how byte) {
	n := int(le.Uint32(b[jCountAt:]))
	if headBytes(n)+n*pagemeta.PageBytes > len(b) {
		return
	}
	j := journal{mem: b[headBytes(n):]}
	var cut []pagemeta.FrozenPage
	round := le.Uint32(b[jRoundAt:])
	for i := range n {
		id := pagemeta.PageID(le.Uint32(b[jNumbersAt+4*i:]))
		cut = append(cut, pagemeta.FrozenPage{ID: id})
		if how&sealImages != 0 {
			j.image(i).Seal(id, round)
		}
	}
	if how&sealHead != 0 {
		copy(b, appendHead(nil, round, j.sum(0, 0, n), cut)[:jNumbersAt+4*n])
	}
}

// FuzzJournal opens good files beside a journal with any bytes: that of a round
// which a crash has cut off, changed, with checksums that are right again or not.
// Nothing may panic or hang. A journal that was damaged, and no more than that, must
// leave the pages of one of the two cuts.
func FuzzJournal(f *testing.F) {
	r, left := wholeJournal(f)
	whole := left.Bytes(r.path("journal"))

	f.Add([]byte{}, byte(0), uint16(0))
	for _, at := range []int{jVersionAt, jRoundAt, jCountAt, jImagesAt, jNumbersAt, jNumbersAt + 4, jNumbersAt + 8} {
		for _, value := range [][]byte{{0, 0, 0}, {1, 0, 0}, {0xff, 0xff, 0xff}, {0, 0, 0x80}} {
			patch := append([]byte{byte(at), byte(at >> 8)}, value...)
			f.Add(patch, byte(0), uint16(0))
			f.Add(patch, byte(sealImages|sealHead), uint16(0))
			f.Add(patch, byte(sealImages|sealHead|forReading), uint16(0))
		}
	}
	f.Fuzz(func(t *testing.T, patches []byte, how byte, size uint16) {
		if len(patches) > 500 {
			t.Skip()
		}
		watchdog := time.AfterFunc(20*time.Second, func() { panic("recovery hangs") })
		defer watchdog.Stop()
		b := append([]byte(nil), whole...)
		for p := patches; len(p) >= 5; p = p[5:] {
			copy(b[int(le.Uint16(p))%len(b):], p[2:5])
		}
		version := le.Uint32(b[jVersionAt:])
		if how&cutJournal != 0 {
			b = b[:int(size)%len(b)]
		}
		if len(b) >= jNumbersAt {
			reseal(b, how)
		}
		m := left.Crash(memdisk.Kill, nil)
		m.Put(r.path("journal"), b)
		m.Settle()

		r := r.reopened(m)
		r.t = t
		readOnly := how&forReading != 0
		err := r.tryOpen(readOnly)
		if noise := how&(sealImages|sealHead) == 0; noise && version == journalVersion {
			if err != nil {
				t.Fatalf("damaged journal: %v", err)
			}
			r.check("damaged journal")
		}
		if err != nil {
			return
		}
		defer r.abandon()
		for id := range pagemeta.PageID(r.capacity) {
			_, _ = r.load(id)
		}
		if !readOnly {
			r.start()
			_ = r.tryWrite(1, 2)
			_ = r.f.Checkpoint(t.Context())
		}
	})
}
