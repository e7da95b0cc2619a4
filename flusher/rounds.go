package flusher

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"faultline/internal/disk"
	"faultline/internal/offheap"
	"faultline/pagemeta"
)

// The file rounds says of every page of the data file which round wrote it last,
// as a block pointer of ZFS has the birth of its block. A checksum cannot tell an
// older version of a page, one whose newest write the disk has lost, from the
// newest; this can. Page i of rounds has pages 1020*i to 1020*i+1019:
//
//	0        16        20        24           4096
//	+--------+---------+---------+---- ... ---+
//	| header | round 0 | round 1 |            |   0: never written
//	+--------+---------+---------+---- ... ---+
//
// Its pages are written by rounds as those of the data file are, through the
// journal, and have numbers of their own, from 1<<31 on. Of themselves the last
// eight bytes of page 0 tell how many there are, and the newest: a crc over the rounds
// of all of them.
//
//	page 0 ---- sum ----> pages of rounds ---- round ----> pages of data
//
// There are as many as the data file needs. When that becomes shorter they become
// fewer, and count for nothing: those that come back are written anew.
const (
	perRoundsPage = (pagemeta.PageBytes - pagemeta.HeaderBytes) / 4

	firstRoundsPage pagemeta.PageID = 1 << 31

	kindRounds = 0xff // the other kinds are the tree's

	roundsCountAt = pagemeta.PageBytes - 8 // in page 0
	roundsSumAt   = pagemeta.PageBytes - 4
)

// roundsPages is how many pages of the file rounds there are for pages of data.
func roundsPages(pages int) int { return (pages + perRoundsPage - 1) / perRoundsPage }

// rounds is the file in memory. Who reads the round of a page holds the page's
// lock, and it changes only while the page is in Flight; or holds inPlace.
type rounds struct {
	file disk.File
	mem  []byte   // the contents of all pages of the file, one after the other
	own  []uint32 // the round of each page of the file, 0 beyond count
	n    int      // pages of the file that count
}

// init reserves the memory for pages of data.
func (r *rounds) init(pages int) (err error) {
	n := roundsPages(pages)
	r.own = make([]uint32, n)
	r.mem, err = offheap.Reserve(n * perRoundsPage * 4)
	return err
}

func (r *rounds) close() error { return offheap.Release(&r.mem) }

// of is the round that wrote page id last, 0 if none did.
func (r *rounds) of(id pagemeta.PageID) uint32 {
	if id >= firstRoundsPage {
		return r.own[id-firstRoundsPage]
	}
	if int(id) >= len(r.mem)/4 {
		return 0
	}
	return le.Uint32(r.mem[4*int(id):])
}

// part is the memory of page i of the file.
func (r *rounds) part(i int) []byte { return r.mem[i*perRoundsPage*4 : (i+1)*perRoundsPage*4] }

// cover appends to cut the pages of the file that change with it, in a data file of
// pages: those of the cut, and those that did not count before.
func (r *rounds) cover(cut []pagemeta.FrozenPage, pages int) []pagemeta.FrozenPage {
	next := firstRoundsPage // not appended yet
	add := func(id pagemeta.PageID) {
		if id >= next {
			cut = append(cut, pagemeta.FrozenPage{ID: id})
			next = id + 1
		}
	}
	for _, p := range cut {
		id := firstRoundsPage + p.ID/perRoundsPage
		for came := max(next, firstRoundsPage+pagemeta.PageID(r.n)); came < id; came++ {
			add(came)
		}
		add(id)
	}
	for came := max(next, firstRoundsPage+pagemeta.PageID(r.n)); came < firstRoundsPage+pagemeta.PageID(roundsPages(pages)); came++ {
		add(came)
	}
	return cut
}

// draw makes the image of page id of the file as round leaves it: of pages, which
// are in order, it takes those that belong to it, and returns the others.
func (r *rounds) draw(image *pagemeta.Page, id pagemeta.PageID, round uint32, pages []pagemeta.FrozenPage) []pagemeta.FrozenPage {
	i := id - firstRoundsPage
	clear(image[:pagemeta.HeaderBytes])
	image.SetKind(kindRounds)
	body := image[pagemeta.HeaderBytes:]
	copy(body, r.part(int(i)))
	for len(pages) > 0 && pages[0].ID/perRoundsPage == i {
		le.PutUint32(body[pages[0].ID%perRoundsPage*4:], round)
		pages = pages[1:]
	}
	image.Seal(id, round)
	return pages
}

// sum is the crc over the rounds of the first n pages of the file, as they are once
// round has written those in changed.
func (r *rounds) sum(changed []pagemeta.FrozenPage, round uint32, n int) uint32 {
	own := slices.Clone(r.own[:n])
	for _, p := range changed {
		own[p.ID-firstRoundsPage] = round
	}
	b := make([]byte, 0, 4*n)
	for _, n := range own {
		b = le.AppendUint32(b, n)
	}
	return crc32.Checksum(b, castagnoli)
}

// wrote notes that round has written images, those of the file among them, to a data
// file of pages. What is beyond is forgotten.
func (r *rounds) wrote(images []pagemeta.FrozenPage, round uint32, pages int) {
	for _, p := range images {
		if p.ID < firstRoundsPage {
			le.PutUint32(r.mem[4*int(p.ID):], round)
		} else {
			r.own[p.ID-firstRoundsPage] = round
		}
	}
	for n := roundsPages(pages); r.n > n; r.n-- {
		r.own[r.n-1] = 0
		clear(r.part(r.n - 1))
	}
	r.n = roundsPages(pages)
	clear(r.mem[4*pages : r.n*perRoundsPage*4])
}

// readRounds learns from page 0 which round was the last, and from the file
// rounds which one wrote each page. What contradicts page 0 is corrupt.
func (f *Flusher) readRounds() error {
	super := pagemeta.NewPage()
	if err := f.readImage(0, super); err != nil {
		return err
	}
	f.round.Store(super.Round())
	r := &f.rounds
	count := int(le.Uint32(super[roundsCountAt:]))
	r.n = min(count, len(r.own))
	images := pagemeta.NewPages(min(r.n, batchPages))
	for i := 0; i < r.n; i += len(images) {
		err := f.readRoundsPages(i, images[:min(len(images), r.n-i)])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	// With more of them than there can be, the store is too large for its budget.
	if count == r.n && r.sum(nil, 0, r.n) != le.Uint32(super[roundsSumAt:]) {
		return f.corrupt(firstRoundsPage, errors.New("one of its pages is an older version of itself"))
	}
	return f.checkRound(0, super)
}

// readRoundsPages reads the pages of the file rounds from page first on into images.
// io.EOF says that the file ends before the last of them.
func (f *Flusher) readRoundsPages(first int, images []pagemeta.Page) error {
	n, _ := f.rounds.file.ReadAt(pagemeta.BytesOf(images), int64(first)*pagemeta.PageBytes)
	for i := range images {
		id := firstRoundsPage + pagemeta.PageID(first+i)
		if _, replayed := f.replay[id]; replayed || n < (i+1)*pagemeta.PageBytes {
			if err := f.readRaw(id, &images[i]); err != nil { // which is about this page alone
				return err
			}
		}
		if err := f.takeRoundsPage(first+i, &images[i]); err != nil {
			return err
		}
	}
	return nil
}

// takeRoundsPage learns what page i of the file rounds says, of which image was read. It is
// all zeros if no round has written it.
func (f *Flusher) takeRoundsPage(i int, image *pagemeta.Page) error {
	id := firstRoundsPage + pagemeta.PageID(i)
	if *image == (pagemeta.Page{}) {
		return nil
	}
	if err := f.checkImage(id, image); err != nil {
		return err
	}
	if last := f.round.Load(); image.Round() > last {
		return f.corrupt(0, fmt.Errorf("page 0: of round %d, but one of the pages beside it is of round %d", last, image.Round()))
	}
	f.rounds.own[i] = image.Round()
	copy(f.rounds.part(i), image[pagemeta.HeaderBytes:])
	return nil
}

// checkRound compares the round of an image of page id with the one that wrote
// it last.
func (f *Flusher) checkRound(id pagemeta.PageID, image *pagemeta.Page) error {
	got, want := image.Round(), f.rounds.of(id)
	switch {
	case got < want:
		return f.corrupt(id, fmt.Errorf("page %d: an older version, of round %d: round %d wrote it last", id, got, want))
	case got > want:
		return f.corrupt(id, fmt.Errorf("page %d: of round %d, but round %d wrote it last", id, got, want))
	}
	return nil
}
