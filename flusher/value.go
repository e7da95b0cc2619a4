package flusher

import (
	"fmt"
	"sync"
	"sync/atomic"

	"faultline/pagemeta"
)

// Pages of long values are no part of a round. They are written at once, to pages
// of the data file that neither the cut on disk nor the round under way has
// anything to do with (the caller knows which). They never come into the journal,
// and into the arena as guests: see readvalue.go. Behind the header of every page:
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

// valueBuffers are for one call to the file each.
var valueBuffers = sync.Pool{New: func() any {
	b := pagemeta.NewPages(chunkPages)
	return &b
}}

// WriteValue writes content, which begins at place index of value id, to page at
// and those behind it. When it has returned nil, the next round that begins makes
// it durable. After an error the pages hold anything.
func (f *Flusher) WriteValue(at pagemeta.PageID, id uint64, index int, content []byte) error {
	if err := f.Err(); err != nil {
		return err
	}
	buf := valueBuffers.Get().(*[]pagemeta.Page)
	defer valueBuffers.Put(buf)
	for len(content) > 0 {
		n := 0
		for ; n < chunkPages && len(content) > 0; n++ {
			page := &(*buf)[n]
			clear(page[:])
			le.PutUint64(page[valueIDAt:], id)
			content = content[copy(page[contentAt:], content):]
			page.SetKind(kindValue)
			page.Seal(at+pagemeta.PageID(n), uint32(index+n))
		}
		if err := f.writeValuePages(at, (*buf)[:n]); err != nil {
			return fmt.Errorf("write %d pages from page %d on: %w", n, at, err)
		}
		f.values.written.Add(uint64(n))
		at += pagemeta.PageID(n)
		index += n
	}
	return nil
}

func (f *Flusher) writeValuePages(at pagemeta.PageID, pages []pagemeta.Page) error {
	if f.ReadOnly {
		f.values.keep(at, pages)
		return nil
	}
	_, err := f.data.WriteAt(pagemeta.BytesOf(pages), int64(at)*pagemeta.PageBytes)
	f.values.dirty.Store(true) // after the write: a round that begins now has it
	if err == nil {
		f.Pages.Refresh(at, pages)
	}
	return err
}

// syncValues is step A': values that the cut may refer to are durable.
func (f *Flusher) syncValues() error {
	if !f.values.dirty.Swap(false) {
		return nil
	}
	return f.data.Sync()
}

// keep keeps pages, from page at on, in memory.
func (v *values) keep(at pagemeta.PageID, pages []pagemeta.Page) {
	v.kept.Lock()
	defer v.kept.Unlock()
	if v.kept.pages == nil {
		v.kept.pages = map[pagemeta.PageID]*pagemeta.Page{}
	}
	for i := range pages {
		p := pages[i]
		v.kept.pages[at+pagemeta.PageID(i)] = &p
	}
}

// has fills pages, from page at on, if all of them are kept.
func (v *values) has(at pagemeta.PageID, pages []pagemeta.Page) bool {
	v.kept.RLock()
	defer v.kept.RUnlock()
	for i := range pages {
		p := v.kept.pages[at+pagemeta.PageID(i)]
		if p == nil {
			return false
		}
		pages[i] = *p
	}
	return true
}

// keeps tells whether page id is kept.
func (v *values) keeps(id pagemeta.PageID) bool {
	v.kept.RLock()
	defer v.kept.RUnlock()
	return v.kept.pages[id] != nil
}
