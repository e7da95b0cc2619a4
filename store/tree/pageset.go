package tree

import (
	"math/bits"

	"faultline/pagemeta"
)

// A pageSet is a set of pages in memory: for each 64 pages of which one is in it,
// a word with a bit a page, as in a bitmap.
type pageSet map[pagemeta.PageID]uint64

// masks calls fn for each word that e reaches into, with the bits of e.
func (e Extent) masks(fn func(word pagemeta.PageID, mask uint64)) {
	for at := e.Page; at < e.End(); {
		first := at % 64
		n := min(64-first, e.End()-at)
		fn(at/64, ^uint64(0)>>(64-n)<<first)
		at += n
	}
}

func (s pageSet) add(e Extent) {
	e.masks(func(word pagemeta.PageID, mask uint64) { s[word] |= mask })
}

func (s pageSet) remove(e Extent) {
	e.masks(func(word pagemeta.PageID, mask uint64) {
		if s[word] &^= mask; s[word] == 0 {
			delete(s, word)
		}
	})
}

// meets tells whether a page of e is in s.
func (s pageSet) meets(e Extent) (meets bool) {
	e.masks(func(word pagemeta.PageID, mask uint64) { meets = meets || s[word]&mask != 0 })
	return meets
}

func (s pageSet) count() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// end is the first page behind all of s.
func (s pageSet) end() (end int) {
	for word, mask := range s {
		end = max(end, int(word)*64+64-bits.LeadingZeros64(mask))
	}
	return end
}
