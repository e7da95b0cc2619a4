package flusher

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"unsafe"

	"faultline/pagemeta"
)

// Pages of long values are no part of a round. They are written at once, to pages
// of the data file that neither the cut on disk nor the round under way has
// anything to do with (the caller knows which), and read from there: they never
// come into the arena or the journal. Behind the header of every page:
//
//	0        16         24                    4096
//	+--------+----------+-------- ... ---------+
//	| header | value id | content              |
//	+--------+----------+-------- ... ---------+
//
// Of the header, round is the place of the page in its value, from 0 on. So a page
// that the disk has not written is found out by the id, which no other value ever
// has, or by the place.
//
// The cut of a round may refer to values, so what was written of them is made
// durable before its journal is whole: step A' of the round.
const (
	// ValuePageBytes is how much of a value a page holds.
	ValuePageBytes = pagemeta.PageBytes - contentAt

	valueIDAt = pagemeta.HeaderBytes
	contentAt = valueIDAt + 8

	kindValue = 0xfe // the other kinds are the tree's, but for kindRounds
)

// values is what the Flusher keeps for long values.
type values struct {
	written atomic.Uint64 // pages, since Open
	dirty   atomic.Bool   // some were written since the data file was synced

	// ReadOnly: pages that are in no file.
	kept struct {
		sync.RWMutex
		pages map[pagemeta.PageID]*pagemeta.Page
	}
}

// valueBuffers are for one call to the file each: page-aligned, for files that are
// opened for direct access.
var valueBuffers = sync.Pool{New: func() any {
	b := make([]byte, (chunkPages+1)*pagemeta.PageBytes)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % pagemeta.PageBytes
	b = b[skip:][:chunkPages*pagemeta.PageBytes]
	return &b
}}

// WriteValue writes content, which begins at place index of value id, to page at
// and those behind it. When it has returned nil, the next round that begins makes
// it durable. After an error the pages hold anything.
func (f *Flusher) WriteValue(at pagemeta.PageID, id uint64, index int, content []byte) error {
	if err := f.Err(); err != nil {
		return err
	}
	buf := valueBuffers.Get().(*[]byte)
	defer valueBuffers.Put(buf)
	for len(content) > 0 {
		n := 0
		for ; n < chunkPages && len(content) > 0; n++ {
			page := (*pagemeta.Page)((*buf)[n*pagemeta.PageBytes:])
			clear(page[:])
			le.PutUint64(page[valueIDAt:], id)
			content = content[copy(page[contentAt:], content):]
			page.SetKind(kindValue)
			page.Seal(at+pagemeta.PageID(n), uint32(index+n))
		}
		if err := f.writeValuePages(at, (*buf)[:n*pagemeta.PageBytes]); err != nil {
			return fmt.Errorf("write %d pages from page %d on: %w", n, at, err)
		}
		f.values.written.Add(uint64(n))
		at += pagemeta.PageID(n)
		index += n
	}
	return nil
}

func (f *Flusher) writeValuePages(at pagemeta.PageID, pages []byte) error {
	if f.ReadOnly {
		f.values.keep(at, pages)
		return nil
	}
	_, err := f.data.WriteAt(pages, int64(at)*pagemeta.PageBytes)
	f.values.dirty.Store(true) // after the write: a round that begins now has it
	return err
}

// ReadValue fills dst with what value id has from byte skip of the page at place
// index on; that is page at, the next place is the page behind it. A page that is
// not what it should be is ErrCorrupt: it is damaged or, if the value is none any
// more, it was used again.
func (f *Flusher) ReadValue(dst []byte, at pagemeta.PageID, id uint64, index, skip int) error {
	buf := valueBuffers.Get().(*[]byte)
	defer valueBuffers.Put(buf)
	for len(dst) > 0 {
		n := min(chunkPages, (skip+len(dst)+ValuePageBytes-1)/ValuePageBytes)
		if err := f.readValuePages(at, (*buf)[:n*pagemeta.PageBytes]); err != nil {
			return err
		}
		for i := range n {
			page := (*pagemeta.Page)((*buf)[i*pagemeta.PageBytes:])
			if err := f.checkValuePage(at, page, id, index); err != nil {
				return err
			}
			dst = dst[copy(dst, page[contentAt+skip:]):]
			skip = 0
			at++
			index++
		}
	}
	return nil
}

func (f *Flusher) readValuePages(at pagemeta.PageID, pages []byte) error {
	if f.ReadOnly && f.values.has(at, pages) {
		return nil
	}
	_, err := f.data.ReadAt(pages, int64(at)*pagemeta.PageBytes)
	if errors.Is(err, io.EOF) {
		return f.corrupt(at, fmt.Errorf("page %d: the file ends before it, or soon after", at))
	}
	if err != nil {
		return fmt.Errorf("read %d pages from page %d on: %w", len(pages)/pagemeta.PageBytes, at, err)
	}
	return nil
}

// checkValuePage says what is wrong with page at as the one at place index of
// value id.
func (f *Flusher) checkValuePage(at pagemeta.PageID, page *pagemeta.Page, id uint64, index int) error {
	err := page.Check(at)
	switch {
	case err != nil:
	case page.Kind() != kindValue:
		err = fmt.Errorf("page %d: kind %d, want one of a value", at, page.Kind())
	case le.Uint64(page[valueIDAt:]) != id:
		err = fmt.Errorf("page %d: of value %#x, want %#x", at, le.Uint64(page[valueIDAt:]), id)
	case page.Round() != uint32(index):
		err = fmt.Errorf("page %d: place %d of its value, want %d", at, page.Round(), index)
	default:
		return nil
	}
	return f.corrupt(at, err)
}

// syncValues is step A': values that the cut may refer to are durable.
func (f *Flusher) syncValues() error {
	if !f.values.dirty.Swap(false) {
		return nil
	}
	return f.data.Sync()
}

// keep keeps pages, from page at on, in memory.
func (v *values) keep(at pagemeta.PageID, pages []byte) {
	v.kept.Lock()
	defer v.kept.Unlock()
	if v.kept.pages == nil {
		v.kept.pages = map[pagemeta.PageID]*pagemeta.Page{}
	}
	for ; len(pages) > 0; pages = pages[pagemeta.PageBytes:] {
		p := pagemeta.Page(pages)
		v.kept.pages[at] = &p
		at++
	}
}

// has fills pages, from page at on, if all of them are kept.
func (v *values) has(at pagemeta.PageID, pages []byte) bool {
	v.kept.RLock()
	defer v.kept.RUnlock()
	for ; len(pages) > 0; pages = pages[pagemeta.PageBytes:] {
		p := v.kept.pages[at]
		if p == nil {
			return false
		}
		copy(pages, p[:])
		at++
	}
	return true
}

// keeps tells whether page id is kept.
func (v *values) keeps(id pagemeta.PageID) bool {
	v.kept.RLock()
	defer v.kept.RUnlock()
	return v.kept.pages[id] != nil
}
