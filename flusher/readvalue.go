package flusher

import (
	"errors"
	"fmt"
	"io"

	"faultline/pagemeta"
)

// A part is what is still to be read of a value.
type part struct {
	dst   []byte
	at    pagemeta.PageID // of the first page with it
	id    uint64          // of the value
	index int             // of that page in the value
	skip  int             // bytes of that page
}

// pages is how many pages the part is in.
func (p *part) pages() int { return (p.skip + len(p.dst) + ValuePageBytes - 1) / ValuePageBytes }

// take fills dst from page, the first with the part, and goes on to the next.
func (p *part) take(page *pagemeta.Page) {
	p.dst = p.dst[copy(p.dst, page[contentAt+p.skip:]):]
	p.at, p.index, p.skip = p.at+1, p.index+1, 0
}

// wrong says what page is, if it is not the first with the part, or nil.
func (p *part) wrong(page *pagemeta.Page) error {
	switch {
	case page.Kind() != kindValue:
		return fmt.Errorf("page %d: kind %d, want one of a value", p.at, page.Kind())
	case le.Uint64(page[valueIDAt:]) != p.id:
		return fmt.Errorf("page %d: of value %#x, want %#x", p.at, le.Uint64(page[valueIDAt:]), p.id)
	case page.Round() != uint32(p.index):
		return fmt.Errorf("page %d: place %d of its value, want %d", p.at, page.Round(), p.index)
	}
	return nil
}

// ReadValue fills dst with what value id has from byte skip of the page at place
// index on; that is page at, the next place is the page behind it. A page that is
// not what it should be is ErrCorrupt: it is damaged or, if the value is none any
// more, it was used again.
//
// Pages that are read are guests of the arena from then on, as are those that were
// written last.
func (f *Flusher) ReadValue(dst []byte, at pagemeta.PageID, id uint64, index, skip int) error {
	p := part{dst, at, id, index, skip}
	for len(p.dst) > 0 {
		rest, trap := f.readGuests(p)
		if !trap.Hit() {
			p = rest
		}
		if len(p.dst) > 0 {
			if err := f.readFile(&p); err != nil {
				return err
			}
		}
	}
	return nil
}

// readGuests reads p as far as its pages are guests, and returns the rest.
func (f *Flusher) readGuests(p part) (rest part, trap pagemeta.Trap) {
	defer f.Pages.Catch(&trap, pagemeta.Arm())
	for len(p.dst) > 0 {
		version, ok := f.Pages.Guest(p.at)
		if !ok {
			break
		}
		page, next := f.Pages.Page(p.at), p
		if p.wrong(page) != nil {
			break // it is still as before a write, which went on without it
		}
		next.take(page)
		if !f.Pages.StillGuest(p.at, version) {
			break
		}
		p = next
	}
	return p, trap
}

// readFile reads p from the file, as far as its pages follow each other and are not in
// memory, but one at least. They are guests then, unless a value so large would leave
// little room for anything else.
func (f *Flusher) readFile(p *part) (err error) {
	buf := valueBuffers.Get().(*[]pagemeta.Page)
	defer valueBuffers.Put(buf)
	read := func(n int) []pagemeta.Page {
		var good int
		good, err = f.readPart(p, (*buf)[:n])
		return (*buf)[:good]
	}
	pages := min(p.pages(), chunkPages)
	if p.pages() > f.Pages.Window() || f.Pages.Bring(p.at, pages, read) == 0 {
		read(pages)
	}
	return err
}

// CheckValue reads the pages of value id from page at on, which is at place index, from
// the file, whether or not they are in memory, and checks them. Errors as of ReadValue.
func (f *Flusher) CheckValue(at pagemeta.PageID, pages int, id uint64, index int) error {
	buf := valueBuffers.Get().(*[]pagemeta.Page)
	defer valueBuffers.Put(buf)
	p := part{at: at, id: id, index: index}
	for pages > 0 {
		n := min(pages, chunkPages)
		if _, err := f.readPart(&p, (*buf)[:n]); err != nil {
			return err
		}
		pages -= n
	}
	return nil
}

// readPart reads p as far as it is in so many pages. It returns how many of them are
// good.
func (f *Flusher) readPart(p *part, pages []pagemeta.Page) (good int, err error) {
	if err := f.readValuePages(p.at, pages); err != nil {
		return 0, err
	}
	for i := range pages {
		err := pages[i].Check(p.at)
		if err == nil {
			err = p.wrong(&pages[i])
		}
		if err != nil {
			return i, f.corrupt(p.at, err)
		}
		p.take(&pages[i])
	}
	return len(pages), nil
}

func (f *Flusher) readValuePages(at pagemeta.PageID, pages []pagemeta.Page) error {
	if f.ReadOnly && f.values.has(at, pages) {
		return nil
	}
	_, err := f.data.ReadAt(pagemeta.BytesOf(pages), int64(at)*pagemeta.PageBytes)
	if errors.Is(err, io.EOF) {
		return f.corrupt(at, fmt.Errorf("page %d: the file ends before it, or soon after", at))
	}
	if err != nil {
		return fmt.Errorf("read %d pages from page %d on: %w", len(pages), at, err)
	}
	return nil
}
