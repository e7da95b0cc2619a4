package tree

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Writes is a list of writes that PutMany is to make. The zero Writes is empty; it keeps
// its memory from one use to the next.
type Writes struct {
	List  []Write
	ranks []rank
	other []Write
}

// Reset empties w.
func (w *Writes) Reset() { w.List = w.List[:0] }

// Add appends a write. Its key and value must stay as they are until it is made.
func (w *Writes) Add(c Change) { w.List = append(w.List, Write{Change: c}) }

// A rank stands for a write while all are sorted.
type rank struct {
	head  uint64 // what comes behind the bytes that all keys share
	index int
}

// Sort puts the writes into the order of their keys, and those of one key into that in which
// they were added: then PutMany makes as many of them together as there can be.
func (w *Writes) Sort() {
	shared, sorted := w.look()
	if sorted {
		return
	}
	w.ranks = w.ranks[:0]
	for i := range w.List {
		w.ranks = append(w.ranks, rank{wideHead(w.List[i].Key[shared:]), i})
	}
	slices.SortFunc(w.ranks, func(a, b rank) int {
		if a.head != b.head {
			if a.head < b.head {
				return -1
			}
			return 1
		}
		if c := bytes.Compare(w.List[a.index].Key[shared:], w.List[b.index].Key[shared:]); c != 0 {
			return c
		}
		return a.index - b.index
	})
	w.other = w.other[:0]
	for _, r := range w.ranks {
		w.other = append(w.other, w.List[r.index])
	}
	w.List, w.other = w.other, w.List
}

// look tells whether the writes are sorted, and if not, how many bytes all keys share.
func (w *Writes) look() (shared int, sorted bool) {
	from := 1
	for ; from < len(w.List); from++ {
		if bytes.Compare(w.List[from-1].Key, w.List[from].Key) > 0 {
			break
		}
	}
	if from >= len(w.List) {
		return 0, true
	}
	first := w.List[0].Key
	shared = common(first, w.List[from-1].Key)
	for i := from; i < len(w.List); i++ {
		shared = common(first[:shared], w.List[i].Key)
	}
	return shared, false
}

// wideHead is headOf with eight bytes.
func wideHead(suffix []byte) uint64 {
	if len(suffix) >= 8 {
		return binary.BigEndian.Uint64(suffix)
	}
	var b [8]byte
	copy(b[:], suffix)
	return binary.BigEndian.Uint64(b[:])
}
